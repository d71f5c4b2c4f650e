package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// errRevoked: a relying party has refused a certificate as revoked.
var errRevoked = errors.New("the certificate is revoked")

// askOCSP is the answer for a certificate at the address that it names, as Go's
// library asks, reads and verifies it: the octets and what they say.
func askOCSP(ctx context.Context, cert, issuer *x509.Certificate) ([]byte, *xocsp.Response, error) {
	question, err := xocsp.CreateRequest(cert, issuer, &xocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cert.OCSPServer[0], bytes.NewReader(question))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	der, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return nil, nil, err
	}
	answer, err := xocsp.ParseResponseForCert(der, cert, issuer)
	return der, answer, err
}

// handshake is what a Go client says of a Go server with the certificate in a
// folder and a stapled answer: the client wants one, and good.
func (s *server) handshake(dir, name string, staple []byte) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		return err
	}
	issuer := parsePEM(s.t, readAll(s.t, filepath.Join(dir, name+".chain.pem")))
	pair.Certificate, pair.OCSPStaple = append(pair.Certificate, issuer.Raw), staple
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	for _, end := range []net.Conn{near, far} {
		if err := end.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
	}
	served := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	go func() { _ = served.Handshake() }() // the client's word counts
	client := tls.Client(near, &tls.Config{
		RootCAs: s.roots(), ServerName: name, MinVersion: tls.VersionTLS13,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.VerifiedChains[0]
			answer, err := xocsp.ParseResponseForCert(state.OCSPResponse, chain[0], chain[1])
			switch {
			case err != nil:
				return err
			case answer.Status == xocsp.Revoked:
				return errRevoked
			case answer.Status != xocsp.Good || !answer.NextUpdate.After(time.Now()):
				return fmt.Errorf("status %d until %s", answer.Status, answer.NextUpdate)
			}
			return nil
		},
	})
	return client.Handshake()
}

// judgedByGo wants Go's own programs to take or refuse a certificate: a client by the
// stapled answer, and a verifier by the list that the certificate names.
func (s *server) judgedByGo(dir, name string, revoked bool) {
	s.t.Helper()
	cert := parsePEM(s.t, readAll(s.t, filepath.Join(dir, name+".crt")))
	issuer := parsePEM(s.t, readAll(s.t, filepath.Join(dir, name+".chain.pem")))
	staple, _, err := askOCSP(s.t.Context(), cert, issuer)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.handshake(dir, name, staple); revoked != errors.Is(err, errRevoked) || !revoked && err != nil {
		s.t.Errorf("%s: Go's client says: %v", name, err)
	}
	between := x509.NewCertPool()
	between.AddCert(issuer)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: s.roots(), Intermediates: between, DNSName: name}); err != nil {
		s.t.Errorf("%s: its chain: %v", name, err)
	}
	if listed := isListed(cert, issuer); listed != revoked {
		s.t.Errorf("%s: Go reads it in the list: %v", name, listed)
	}
}

// TestAnswerLifetime: how long a good answer outlives a revocation is configured, and
// stated in it.
func TestAnswerLifetime(t *testing.T) {
	t.Setenv("CERTWRIGHT_OCSP_LIFETIME", "5m")
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	s.must(dir, "cert", "issue", "a.internal")
	cert, issuer := parsePEM(t, readAll(t, filepath.Join(dir, "a.internal.crt"))), parsePEM(t, readAll(t, filepath.Join(dir, "a.internal.chain.pem")))
	_, answer, err := askOCSP(t.Context(), cert, issuer)
	if err != nil || answer.NextUpdate.Sub(answer.ThisUpdate) != 5*time.Minute {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestOCSPWhileSigning: the responder answers, from its cache and newly signed, while
// more callers than the machine can serve have certificates signed.
func TestOCSPWhileSigning(t *testing.T) {
	const answers = 200
	s := newServer(t)
	s.start()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fresh := make(chan *x509.Certificate, answers)
	var signed atomic.Int64
	var callers sync.WaitGroup
	for range 128 {
		csr := csrPEM(t, newKey(t), "w.internal")
		callers.Go(func() {
			for {
				c, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
				if status.Code(err) == codes.ResourceExhausted { // that is what saturated means
					continue
				}
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				signed.Add(1)
				select {
				case fresh <- parsePEM(t, c.Pem): // what is asked for is new
				default:
				}
			}
		})
	}
	issuer := s.issuingCertificate()
	first := <-fresh
	for n := range answers {
		cert := first
		if n%2 == 0 {
			cert = <-fresh
		}
		limit, done := context.WithTimeout(ctx, 15*time.Second)
		_, answer, err := askOCSP(limit, cert, issuer)
		done()
		if err != nil || answer.Status != xocsp.Good {
			t.Errorf("question %d: %+v, %v", n, answer, err)
		}
	}
	cancel()
	callers.Wait()
	t.Logf("%d certificates were signed beside %d answers", signed.Load(), answers)
	if signed.Load() < 128 {
		t.Errorf("the signers were not busy: %d certificates", signed.Load())
	}
}
