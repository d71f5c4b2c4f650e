package policy

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
)

// constrained is a CA certificate with name constraints.
func constrained(t *testing.T) (*x509.Certificate, ed25519.PrivateKey) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cidr := func(s string) *net.IPNet {
		_, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	draft := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "constrained"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"Corp.x", ".below.y"}, ExcludedDNSDomains: []string{"secret.corp.x"},
		PermittedIPRanges: []*net.IPNet{cidr("10.0.0.0/8"), cidr("fd00::/8")}, ExcludedIPRanges: []*net.IPNet{cidr("10.9.0.0/16")},
		PermittedEmailAddresses: []string{"corp.x", ".mail.x", "bob@one.x"}, ExcludedEmailAddresses: []string{"eve@corp.x", "no.mail.x"},
		PermittedURIDomains: []string{"corp.x", ".below.y"}, ExcludedURIDomains: []string{"no.below.y", ".never.below.y"},
	}
	der, err := x509.CreateCertificate(rand.Reader, draft, draft, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// verifies asks crypto/x509 whether a leaf with the name would be accepted.
func verifies(t *testing.T, ca *x509.Certificate, key ed25519.PrivateKey, id identity.Identifier) bool {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour)}
	switch id.Type {
	case identity.DNS:
		leaf.DNSNames = []string{id.Value}
	case identity.IP:
		leaf.IPAddresses = []net.IP{net.ParseIP(id.Value)}
	case identity.Email:
		leaf.EmailAddresses = []string{id.Value}
	case identity.URI:
		u, err := url.Parse(id.Value)
		if err != nil {
			t.Fatal(err)
		}
		leaf.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err = parsed.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// TestNameConstraints holds the rule against crypto/x509: what is let through,
// relying parties accept.
func TestNameConstraints(t *testing.T) {
	ca, key := constrained(t)
	i, err := newIssuer(Issuer{Name: "i", Certificate: ca})
	if err != nil {
		t.Fatal(err)
	}
	// RFC 5280 §4.2.1.10 is stricter than crypto/x509 on hosts of mailboxes and URIs.
	stricter := map[string]bool{"*.corp.x": true, "a@b.corp.x": true, "spiffe://a.corp.x/a": true}
	for text, want := range map[identity.Identifier]bool{
		{Type: identity.DNS, Value: "corp.x"}:                    true,
		{Type: identity.DNS, Value: "a.b.corp.x"}:                true,
		{Type: identity.DNS, Value: "*.corp.x"}:                  false, // it stands for secret.corp.x
		{Type: identity.DNS, Value: "*.a.corp.x"}:                true,
		{Type: identity.DNS, Value: "acorp.x"}:                   false,
		{Type: identity.DNS, Value: "x"}:                         false,
		{Type: identity.DNS, Value: "below.y"}:                   false,
		{Type: identity.DNS, Value: "a.below.y"}:                 true,
		{Type: identity.DNS, Value: "secret.corp.x"}:             false,
		{Type: identity.DNS, Value: "a.secret.corp.x"}:           false,
		{Type: identity.IP, Value: "10.1.2.3"}:                   true,
		{Type: identity.IP, Value: "10.9.2.3"}:                   false,
		{Type: identity.IP, Value: "11.1.2.3"}:                   false,
		{Type: identity.IP, Value: "fd00::1"}:                    true,
		{Type: identity.IP, Value: "::1"}:                        false,
		{Type: identity.Email, Value: "a@corp.x"}:                true,
		{Type: identity.Email, Value: "a@b.corp.x"}:              false,
		{Type: identity.Email, Value: "a@b.mail.x"}:              true,
		{Type: identity.Email, Value: "a@mail.x"}:                false,
		{Type: identity.Email, Value: "bob@one.x"}:               true,
		{Type: identity.Email, Value: "eve@one.x"}:               false,
		{Type: identity.Email, Value: "eve@corp.x"}:              false,
		{Type: identity.URI, Value: "spiffe://corp.x/a"}:         true,
		{Type: identity.URI, Value: "spiffe://a.corp.x/a"}:       false,
		{Type: identity.URI, Value: "https://a.below.y:1/a"}:     true,
		{Type: identity.URI, Value: "https://no.below.y/a"}:      false,
		{Type: identity.URI, Value: "https://a.no.below.y/a"}:    false,
		{Type: identity.URI, Value: "https://a.never.below.y/a"}: false,
		{Type: identity.Email, Value: "a@no.mail.x"}:             false,
		{Type: identity.Email, Value: "a@b.no.mail.x"}:           false,
		{Type: identity.URI, Value: "https://10.0.0.1/a"}:        false,
	} {
		if got := len(i.constraints([]identity.Identifier{text})) == 0; got != want {
			t.Errorf("%s: allowed is %t", text, got)
		}
		if want && !verifies(t, ca, key, text) {
			t.Errorf("%s is let through, and crypto/x509 refuses it", text)
		}
		if !want && !stricter[text.Value] && verifies(t, ca, key, text) {
			t.Errorf("%s is refused, and crypto/x509 accepts it", text)
		}
	}
}

func TestNameConstraintsOfDecision(t *testing.T) {
	ca, _ := constrained(t)
	e, err := New(Config{File: "p", Data: []byte(base + oneName), Issuers: []Issuer{{Name: "issuing", Certificate: ca, NotAfter: now.AddDate(9, 0, 0)}}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, e, ask(t, "server", "dns:a.x"), ReasonConstraint)
	expect(t, e, ask(t, "server", "dns:a.corp.x"), ReasonNameNotAllowed)
}
