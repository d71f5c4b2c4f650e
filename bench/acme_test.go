package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/egress/egresstest"
)

// BenchmarkACME measures a certificate over ACME by http-01 (RFC 8555), from
// newOrder to the download, on kept-alive connections and with a new one for each
// order.
func BenchmarkACME(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("fresh=%t/callers=%d", fresh, callers), func(b *testing.B) {
				w := newACMEWorld(b)
				clients := w.clients(callers)
				before, all := w.server.size(), 0
				report(b, w.server, callers, func(n int) int64 {
					all += n
					return inFlight(b, callers, n, func(c, _ int) error { return clients[c].obtain(b.Context(), fresh) })
				})
				b.ReportMetric(float64(w.server.size()-before)/float64(all), "bytes/op")
			})
		}
	}
}

// acmeWorld is an ACME server, and the name server and web server that its validation
// asks.
type acmeWorld struct {
	tb        testing.TB
	server    *server // nil: it is another's
	directory string
	roots     *x509.CertPool
	zone      *egresstest.DNS
	proofs    sync.Map // token → key authorization
	names     atomic.Int64
}

func newACMEWorld(tb testing.TB, settings ...string) *acmeWorld {
	tb.Helper()
	w, port := newProofs(tb)
	w.server = startServer(tb, append(settings,
		"CERTWRIGHT_ACME_RESOLVER="+w.zone.Addr, "CERTWRIGHT_ACME_HTTP01_PORT="+strconv.Itoa(port),
	)...)
	w.directory, w.roots = w.server.directory(), w.server.roots()
	return w
}

// newProofs is a world without its ACME server; port is that of the web server.
func newProofs(tb testing.TB) (w *acmeWorld, port int) {
	tb.Helper()
	w = &acmeWorld{tb: tb, zone: egresstest.NewDNS(tb)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(tb, err)
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if proof, ok := w.proofs.Load(path.Base(r.URL.Path)); ok {
			_, _ = rw.Write([]byte(proof.(string)))
			return
		}
		http.NotFound(rw, r)
	})}
	go func() { _ = web.Serve(l) }()
	tb.Cleanup(func() { _ = web.Close() })
	return w, l.Addr().(*net.TCPAddr).Port
}

// acmeClient is an account with its connections and a key for its certificates.
type acmeClient struct {
	*acme.Client
	world     *acmeWorld
	transport *http.Transport
	key       crypto.Signer
}

func (w *acmeWorld) clients(n int) []*acmeClient {
	w.tb.Helper()
	out := make([]*acmeClient, n)
	for i := range out {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS13, ServerName: "localhost"}}
		w.tb.Cleanup(transport.CloseIdleConnections)
		account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(w.tb, err)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(w.tb, err)
		c := &acmeClient{
			world: w, transport: transport, key: key,
			Client: &acme.Client{Key: account, DirectoryURL: w.directory, HTTPClient: &http.Client{Transport: transport, Timeout: time.Minute}},
		}
		_, err = c.Register(w.tb.Context(), &acme.Account{}, acme.AcceptTOS)
		check(w.tb, err)
		out[i] = c
	}
	return out
}

// directory is where the server says its ACME directory is.
func (s *server) directory() string {
	s.tb.Helper()
	_, port, err := net.SplitHostPort(s.https)
	check(s.tb, err)
	return "https://localhost:" + port + "/acme/directory"
}

// obtain has one certificate issued, for a name that is new.
func (c *acmeClient) obtain(ctx context.Context, fresh bool) error {
	if fresh {
		c.transport.CloseIdleConnections()
	}
	name := fmt.Sprintf("bench-h%d.internal", c.world.names.Add(1))
	c.world.zone.Set(c.world.tb, name, "A 127.0.0.1")
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		if err := c.prove(ctx, url); err != nil {
			return err
		}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, c.key)
	if err != nil {
		return err
	}
	_, _, err = c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	return err
}

func (c *acmeClient) prove(ctx context.Context, url string) error {
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		proof, err := c.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		c.world.proofs.Store(challenge.Token, proof)
		defer c.world.proofs.Delete(challenge.Token)
		if _, err := c.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = c.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("no challenge http-01")
}

// TestMeasureACME runs the flow a few times: it judges no figure.
func TestMeasureACME(t *testing.T) {
	w := newACMEWorld(t)
	clients := w.clients(4)
	if failed := inFlight(t, 4, 16, func(c, i int) error { return clients[c].obtain(t.Context(), i%2 == 0) }); failed > 0 {
		t.Errorf("%d of 16 orders failed", failed)
	}
	if issued := w.server.metric("certwright_certificates_issued_total"); issued < 16 {
		t.Errorf("the server counts %v certificates", issued)
	}
}
