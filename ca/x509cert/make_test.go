package x509cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
)

// epoch is whole seconds, as certificates know time.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newIssuer makes a root and an issuing CA under it, with name constraints if
// permit holds some.
func newIssuer(t testing.TB, signer crypto.Signer, permit identity.Names) (*Issuer, *x509.Certificate) {
	t.Helper()
	rootKey := newECDSA(t)
	root, err := Root(CAConfig{CommonName: "Test Root", NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(10, 0, 0), MaxPathLen: 1}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := Intermediate(CAConfig{
		CommonName: "Test Issuing CA", NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(5, 0, 0), Permit: permit,
		URLs: URLs{CAIssuers: "http://ca.test/ca/root.crt", CRL: "http://ca.test/crl/root.crl"},
	}, signer.Public(), root, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	is, err := NewIssuer(cert, signer)
	if err != nil {
		t.Fatal(err)
	}
	return is, root
}

// newWant is a common certificate: two names, 90 days.
func newWant(t testing.TB, is *Issuer, names ...identity.Identifier) Want {
	t.Helper()
	if len(names) == 0 {
		names = []identity.Identifier{{Type: identity.DNS, Value: "svc.internal"}, {Type: identity.IP, Value: "10.0.0.1"}}
	}
	profile := policy.Profile{
		Name: "server", Kind: identity.X509, Issuer: "issuing", KeyUsage: []string{"digital_signature"},
		ExtKeyUsage: []string{"server_auth", "client_auth"}, Lints: []string{LintRFC5280, LintCertwright},
		Validity: policy.Validity{Max: policy.Duration(90 * 24 * time.Hour)},
	}
	return Want{
		Request: identity.Request{Kind: identity.X509, Profile: "server", Identifiers: names, PublicKey: newECDSA(t).Public()},
		Decision: policy.Decision{
			Profile: profile, Issuer: "issuing", Grant: "g", Owner: "team",
			NotBefore: epoch, NotAfter: epoch.Add(90*24*time.Hour - time.Second),
		},
		Serial: identity.NewSerial(epoch), Issuer: is,
		URLs: URLs{OCSP: "http://ca.test/ocsp", CAIssuers: "http://ca.test/ca/issuing.crt", CRL: "http://ca.test/crl/issuing/3.crl"},
	}
}

func newLinter(t testing.TB) *Linter {
	t.Helper()
	l, err := NewLinter()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
