// Package agenttest has a CA for the agent's tests: one that signs whatever it is
// told to, so that a server in a test can be hostile.
package agenttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/folder"
)

// CA is a root with an intermediate that signs.
type CA struct {
	t            testing.TB
	Root, Issuer *x509.Certificate
	key          *ecdsa.PrivateKey
	serial       int64
}

// New makes a CA whose certificates last ten years around the present of t.
func New(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t, serial: 1000}
	rootKey, issuerKey := Key(t), Key(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-10 * 365 * 24 * time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca.Root = ca.make(root, root, rootKey.Public(), rootKey)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Test Issuing"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.Issuer, ca.key = ca.make(issuer, ca.Root, issuerKey.Public(), rootKey), issuerKey
	return ca
}

// Key is a new private key.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *CA) make(template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by) //nolint:forbidigo // a CA for tests
	if err != nil {
		ca.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return c
}

// Sign makes a certificate of an hour for the DNS names; change makes it wrong, nil:
// not.
func (ca *CA) Sign(public crypto.PublicKey, change func(*x509.Certificate), names ...string) *x509.Certificate {
	ca.t.Helper()
	ca.serial++
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial), DNSNames: names, NotBefore: now.Add(-time.Minute).Truncate(time.Second), NotAfter: now.Add(time.Hour).Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	return ca.make(template, ca.Issuer, public, ca.key)
}

// Held is a certificate with a key of its own and its chain.
func (ca *CA) Held(names ...string) *folder.Held {
	ca.t.Helper()
	key := Key(ca.t)
	return &folder.Held{Key: key, Chain: []*x509.Certificate{ca.Sign(key.Public(), nil, names...), ca.Issuer}}
}

// RootFile writes the root's certificate into a folder.
func (ca *CA) RootFile(dir string) string {
	ca.t.Helper()
	file := filepath.Join(dir, "root.crt")
	if err := os.WriteFile(file, PEM(ca.Root), 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return file
}

// Pool has the root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return pool
}

// PEM is certificates in PEM.
func PEM(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// SignFor is Sign for a time.
func (ca *CA) SignFor(public crypto.PublicKey, notBefore, notAfter time.Time, names ...string) *x509.Certificate {
	ca.t.Helper()
	return ca.Sign(public, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = notBefore.Truncate(time.Second), notAfter.Truncate(time.Second)
	}, names...)
}
