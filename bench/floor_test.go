package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// floorName is the name that the floor validates.
const floorName = "bench-floor.internal"

// BenchmarkFloor measures the floor on this machine, by the ways in which the server
// is measured: what is to reach here, where system calls and cold memory have a
// price that V does not see.
func BenchmarkFloor(b *testing.B) {
	for _, callers := range []int{16, 64} {
		for _, fresh := range []bool{false, true} {
			b.Run(fmt.Sprintf("acme/fresh=%t/callers=%d", fresh, callers), func(b *testing.B) {
				s, account := startFloor(b)
				clients := floorClients(b, s, account, callers)
				report(b, s, callers, func(n int) int64 {
					return inFlight(b, callers, n, func(c, _ int) error { return clients[c].obtain(b.Context(), fresh) })
				})
			})
		}
	}
	for _, door := range []struct {
		name string
		open func(*server) signer
	}{{"grpc", grpcSigner}, {"rest", restSigner}} {
		b.Run(door.name+"/callers=64", func(b *testing.B) {
			s, _ := startFloor(b)
			sign, csrs := door.open(s), newCSRs(b, 64)
			report(b, s, 64, func(n int) int64 {
				return inFlight(b, 64, n, func(c, _ int) error { return sign(b.Context(), "", csrs[c]) })
			})
		})
	}
	for _, way := range []struct{ name, query string }{{"cached", ""}, {"signed", "?now"}} {
		b.Run("ocsp/"+way.name, func(b *testing.B) {
			s, _ := startFloor(b)
			issuer := s.root()
			report(b, s, ocspConnections, func(n int) int64 {
				ask(b, issuer, http.MethodPost, "http://"+s.http+"/ocsp"+way.query, make([]byte, 90), n)
				return 0
			})
		})
	}
}

// startFloor starts a floor, and makes the account whose signatures it takes.
func startFloor(tb testing.TB) (*server, *ecdsa.PrivateKey) {
	tb.Helper()
	proofs, port := newProofs(tb)
	proofs.zone.Set(tb, floorName, "A 127.0.0.1")
	proofs.proofs.Store("floor", "floor.floor")
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	point, err := account.PublicKey.Bytes()
	check(tb, err)
	s := newServer(tb)
	check(tb, os.Mkdir(s.data(), 0o700))
	config, err := json.Marshal(floorConfig{
		Data: s.data(), HTTPS: s.https, GRPC: s.grpc, HTTP: s.http, Metrics: s.metrics,
		Resolver: proofs.zone.Addr, Web: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Account: point,
	})
	check(tb, err)
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), floorVariable+"="+string(config))
	s.run()
	return s, account
}

// root is the certificate in root.crt.
func (s *server) root() *x509.Certificate {
	s.tb.Helper()
	text, err := os.ReadFile(filepath.Join(s.data(), "root.crt"))
	check(s.tb, err)
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	check(s.tb, err)
	return cert
}

// floorClient asks what an ACME client asks for a certificate, with signatures made
// before.
type floorClient struct {
	http      *http.Client
	transport *http.Transport
	base      string
	order     signedBody // of any request but the one with the CSR
	csr       signedBody
}

type signedBody struct {
	body      []byte
	signature string
}

func floorClients(tb testing.TB, s *server, account *ecdsa.PrivateKey, n int) []*floorClient {
	tb.Helper()
	sign := func(body []byte) signedBody {
		digest := sha256.Sum256(body)
		signature, err := ecdsa.SignASN1(rand.Reader, account, digest[:])
		check(tb, err)
		return signedBody{body, base64.RawURLEncoding.EncodeToString(signature)}
	}
	out := make([]*floorClient, n)
	for i, csr := range newCSRs(tb, n) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots(), MinVersion: tls.VersionTLS13, ServerName: "localhost"}}
		tb.Cleanup(transport.CloseIdleConnections)
		out[i] = &floorClient{
			http: &http.Client{Transport: transport, Timeout: time.Minute}, transport: transport, base: "https://" + s.https,
			order: sign(make([]byte, 600)), csr: sign([]byte(csr)),
		}
	}
	return out
}

// obtain is the six requests of a certificate: newOrder, authorization, challenge,
// order, finalize, certificate.
func (c *floorClient) obtain(ctx context.Context, fresh bool) error {
	if fresh {
		c.transport.CloseIdleConnections()
	}
	for _, request := range []struct {
		path string
		signedBody
	}{{"/order", c.order}, {"/read", c.order}, {"/challenge", c.order}, {"/read", c.order}, {"/finalize", c.csr}, {"/read", c.order}} {
		if err := c.post(ctx, request.path, request.signedBody); err != nil {
			return err
		}
	}
	return nil
}

func (c *floorClient) post(ctx context.Context, path string, b signedBody) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(b.body))
	if err != nil {
		return err
	}
	req.Header.Set("Signature", b.signature)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}

// TestFloor runs the floor's ways a few times: it judges no figure.
func TestFloor(t *testing.T) {
	s, account := startFloor(t)
	clients := floorClients(t, s, account, 4)
	if failed := inFlight(t, 4, 16, func(c, i int) error { return clients[c].obtain(t.Context(), i%2 == 0) }); failed > 0 {
		t.Errorf("%d of 16 flows failed", failed)
	}
	csrs := newCSRs(t, 1)
	for name, sign := range map[string]signer{"grpc": grpcSigner(s), "rest": restSigner(s)} {
		if err := sign(t.Context(), "", csrs[0]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fsyncs := s.metric("certwright_storage_fsyncs_total"); fsyncs < 1 {
		t.Errorf("the floor counts %v fsyncs", fsyncs)
	}
}
