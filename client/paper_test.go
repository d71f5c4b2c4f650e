package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// paper is a CA without a network, for what takes hours: it signs in this process, and
// is down or refuses when it is told to. The real one is in the tests that run the
// program.
type paper struct {
	t    testing.TB
	root *x509.Certificate
	key  crypto.Signer
	life time.Duration
	mu   sync.Mutex
	made int64
	// What the next calls say; nil: a certificate.
	signErr, renewErr, windowErr error
	suggests                     *certwrightv1.RenewalInfo
	signs, renewals, asked       int
	ids                          []string // request IDs
	twist                        func(*x509.Certificate)
	lose                         bool // sign, and answer that it was not available
	answers                      map[string]*certwrightv1.Certificate
}

func newPaper(t testing.TB, life time.Duration) *paper {
	t.Helper()
	p := &paper{t: t, life: life, answers: map[string]*certwrightv1.Certificate{}}
	p.root, p.key = newRoot(t, "Paper Root")
	return p
}

func newRoot(t testing.TB, name string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(50 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// file is the root as a file.
func (p *paper) file() string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "root.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.root.Raw}), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// set changes what the CA does.
func (p *paper) set(change func(*paper)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *paper) issue(csr, id string) (*certwrightv1.Certificate, error) {
	p.ids = append(p.ids, id)
	if answer := p.answers[id]; answer != nil {
		return answer, nil
	}
	block, _ := pem.Decode([]byte(csr))
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || req.CheckSignature() != nil {
		p.t.Errorf("the CSR: %v", err)
		return nil, status.Error(codes.InvalidArgument, "bad CSR")
	}
	p.made++
	now := time.Now().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(p.made + 1), NotBefore: now, NotAfter: now.Add(p.life), DNSNames: req.DNSNames, IPAddresses: req.IPAddresses, URIs: req.URIs,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if p.twist != nil {
		p.twist(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.root, req.PublicKey, p.key)
	if err != nil {
		return nil, err
	}
	answer := &certwrightv1.Certificate{Pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	p.answers[id] = answer
	if p.lose {
		p.lose = false
		return nil, status.Error(codes.Unavailable, "the answer was lost")
	}
	return answer, nil
}

func (p *paper) sign(_ context.Context, req *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signs++
	if p.signErr != nil {
		return nil, p.signErr
	}
	return p.issue(req.GetCsr(), req.GetRequestId())
}

func (p *paper) renew(_ context.Context, current *tls.Certificate, req *certwrightv1.RenewCertificateRequest) (*certwrightv1.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewals++
	if p.renewErr != nil {
		return nil, p.renewErr
	}
	if req.GetId() != idOf(current) || time.Now().After(current.Leaf.NotAfter) {
		p.t.Errorf("%s is renewed by %s, which ends %s", req.GetId(), idOf(current), current.Leaf.NotAfter)
	}
	return p.issue(req.GetCsr(), req.GetRequestId())
}

func (p *paper) window(_ context.Context, current *tls.Certificate) (*certwrightv1.RenewalInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	switch {
	case p.windowErr != nil:
		return nil, p.windowErr
	case p.suggests != nil:
		return p.suggests, nil
	}
	start := current.Leaf.NotBefore.Add(p.life * 2 / 3)
	return &certwrightv1.RenewalInfo{
		StartTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(p.life / 12)), RetryAfter: durationpb.New(p.life / 20),
	}, nil
}

func (p *paper) roots(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{p.root}, nil
}
