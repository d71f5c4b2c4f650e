package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/config"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// hostile is a gRPC server that answers whatever the test wants.
type hostile struct {
	certwrightv1.UnimplementedCertificateServiceServer
	ca      *agenttest.CA
	address string

	// turned: it refuses connections that show a certificate.
	turned atomic.Bool

	mu       sync.Mutex
	requests []asked
	// answer overrides what an honest server would answer; nil: does not.
	answer func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error)
}

// asked is one request as the server saw it.
type asked struct {
	renewal    bool
	id         string // of the certificate that is renewed
	token      string
	shown      *x509.Certificate
	requestID  string
	csr        *x509.CertificateRequest
	text       string // everything
	owner      string
	labels     map[string]string
	hasLength  bool
	profile    string
	csrPEMText string
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{ca: agenttest.New(t)}
	own := h.ca.Held("localhost")
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{*own.TLS()}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(state tls.ConnectionState) error {
			if h.turned.Load() && len(state.PeerCertificates) > 0 {
				return errors.New("the certificate is revoked")
			}
			return nil
		},
	})))
	certwrightv1.RegisterCertificateServiceServer(s, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	h.address = "localhost:" + port
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return h
}

func (h *hostile) take(ctx context.Context, a asked) (*certwrightv1.Certificate, error) {
	block, _ := pem.Decode([]byte(a.csrPEMText))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	a.csr = csr
	md, _ := metadata.FromIncomingContext(ctx)
	a.token = strings.TrimPrefix(strings.Join(md.Get("authorization"), ""), "Bearer ")
	if p, ok := peer.FromContext(ctx); ok {
		if certs := p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates; len(certs) > 0 {
			a.shown = certs[0]
		}
	}
	h.mu.Lock()
	h.requests = append(h.requests, a)
	answer := h.answer
	h.mu.Unlock()
	c := &certwrightv1.Certificate{
		Pem: string(agenttest.PEM(h.ca.Sign(csr.PublicKey, nil, csr.DNSNames...))), ChainPem: string(agenttest.PEM(h.ca.Issuer)),
	}
	if answer != nil {
		return answer(a, c)
	}
	return c, nil
}

// SignCertificate implements certwrightv1.CertificateServiceServer.
func (h *hostile) SignCertificate(ctx context.Context, r *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	return h.take(ctx, asked{
		requestID: r.GetRequestId(), csrPEMText: r.GetCsr(), text: r.String(), owner: r.GetOwner(), labels: r.GetLabels(), hasLength: r.Validity != nil, profile: r.GetProfile(),
	})
}

// RenewCertificate implements certwrightv1.CertificateServiceServer.
func (h *hostile) RenewCertificate(ctx context.Context, r *certwrightv1.RenewCertificateRequest) (*certwrightv1.Certificate, error) {
	return h.take(ctx, asked{renewal: true, id: r.GetId(), requestID: r.GetRequestId(), csrPEMText: r.GetCsr(), text: r.String(), hasLength: r.Validity != nil})
}

// set changes the answer.
func (h *hostile) set(answer func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// last is the latest request, of n.
func (h *hostile) last(t *testing.T, n int) asked {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) != n {
		t.Fatalf("%d requests, want %d", len(h.requests), n)
	}
	return h.requests[n-1]
}

// file is an agent's file for this server with one certificate, web; more is YAML of
// the certificate.
func (h *hostile) file(t *testing.T, more string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	h.ca.RootFile(dir)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("join-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(dir, "agent.yaml"), []byte(fmt.Sprintf(`
state: state
server: %s
ca_file: root.crt
auth: {token_file: token}
tries_per_hour: 60
certificates:
  - name: web
    names: [web.internal]
    folder: web
%s
`, h.address, more)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, c *config.Config) *Agent {
	t.Helper()
	a, err := Open(Options{Config: c, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// obtain asks for web once, by force.
func obtain(t *testing.T, a *Agent) Result {
	t.Helper()
	results, err := a.Obtain(t.Context(), nil, true)
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	return results[0]
}

func refuse(code codes.Code, text string) func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
	return func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
		return nil, status.Error(code, text)
	}
}
