package acme_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
)

// csrFrom is a CSR made of a template.
func csrFrom(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sanOf is a subjectAltName of raw general names.
func sanOf(t testing.TB, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}

func dnsName(value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(value)}
}

// hostileCSRs ask for more, for other names, or by keys that are not good enough.
func hostileCSRs(t *testing.T) map[string][]byte {
	t.Helper()
	const name = "a.acme.internal"
	key := newKey(t)
	with := func(change func(*x509.CertificateRequest)) []byte {
		template := x509.CertificateRequest{DNSNames: []string{name}}
		change(&template)
		return csrFrom(t, key, template)
	}
	raw := func(names ...asn1.RawValue) []byte {
		return csrFrom(t, key, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{sanOf(t, names...)}})
	}
	uri, err := url.Parse("spiffe://internal/x")
	if err != nil {
		t.Fatal(err)
	}
	other := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{6, 1, 42, 0xa0, 3, 12, 1, 'a'}}
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}
	many := make([]string, 600)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.acme.internal", i)
	}
	hundred := append([]string{name}, many[:100]...)
	good := csrFrom(t, key, x509.CertificateRequest{DNSNames: []string{name}})
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	return map[string][]byte{
		"common name of another":  with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "b.acme.internal" }),
		"common name no name":     with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "Bob's <laptop>" }),
		"common name an address":  with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "127.0.0.1" }),
		"two common names":        with(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{ExtraNames: twoNames(name, "b.acme.internal")} }),
		"an email address":        with(func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"root@acme.internal"} }),
		"an email in the subject": with(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{ExtraNames: emailName("root@acme.internal")} }),
		"a URI":                   with(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{uri} }),
		"an IP address":           with(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }),
		"otherName":               raw(dnsName(name), other),
		"directoryName":           raw(dnsName(name), directory),
		"trailing dot":            raw(dnsName(name + ".")),
		"null octet":              raw(dnsName(name + "\x00.evil.example")),
		"wildcard":                raw(dnsName("*." + name)),
		"and a wildcard":          raw(dnsName(name), dnsName("*."+name)),
		"address as dNSName":      raw(dnsName(name), dnsName("127.0.0.1")),
		"odd iPAddress":           raw(dnsName(name), asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 7, Bytes: []byte{127, 0, 0}}),
		"an address with a mask":  raw(dnsName(name), asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 7, Bytes: make([]byte, 8)}),
		"no names":                csrFrom(t, key, x509.CertificateRequest{}),
		"two subjectAltNames": csrFrom(t, key, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{
			sanOf(t, dnsName(name)), sanOf(t, dnsName("b.acme.internal")),
		}}),
		"600 names":       csrFrom(t, key, x509.CertificateRequest{DNSNames: many}),
		"101 names":       csrFrom(t, key, x509.CertificateRequest{DNSNames: hundred}),
		"16 KiB and more": with(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{strings.Repeat("x", 17<<10)} }),
		"trailing octets": append(bytes.Clone(good), 0),
		"truncated":       good[:len(good)-5],
		"forged":          forged,
		"deep nesting":    bytes.Repeat([]byte{0x30, 0x80}, 4000),
		"RSA of 1024":     csrFrom(t, rsaKey(t, 1024), x509.CertificateRequest{DNSNames: []string{name}}),
		"RSA of 3072":     csrFrom(t, rsaKey(t, 3072), x509.CertificateRequest{DNSNames: []string{name}}), // not in the profile
		"P-521":           csrFrom(t, curveKey(t, elliptic.P521()), x509.CertificateRequest{DNSNames: []string{name}}),
		"P-224":           csrFrom(t, curveKey(t, elliptic.P224()), x509.CertificateRequest{DNSNames: []string{name}}),
		"Ed25519":         csrFrom(t, edKey(t), x509.CertificateRequest{DNSNames: []string{name}}),
		"exponent 3":      weakRSA(t, good, big.NewInt(3)),
	}
}

func twoNames(names ...string) []pkix.AttributeTypeAndValue {
	var out []pkix.AttributeTypeAndValue
	for _, name := range names {
		out = append(out, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name})
	}
	return out
}

func emailName(address string) []pkix.AttributeTypeAndValue {
	return []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: address}}
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // to have a key that is too short
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func curveKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// weakRSA is a CSR whose key has another exponent; its signature is of no account.
func weakRSA(t testing.TB, good []byte, exponent *big.Int) []byte {
	t.Helper()
	parsed, err := x509.ParseCertificateRequest(good)
	if err != nil {
		t.Fatal(err)
	}
	modulus := make([]byte, 256)
	_, _ = rand.Read(modulus)
	modulus[0], modulus[255] = modulus[0]|0x80, modulus[255]|1
	key, err := asn1.Marshal(struct{ N, E *big.Int }{new(big.Int).SetBytes(modulus), exponent})
	if err != nil {
		t.Fatal(err)
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}
	spki, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{algorithm, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}})
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Replace(parsed.RawTBSCertificateRequest, parsed.RawSubjectPublicKeyInfo, spki, 1)
	var tbs asn1.RawValue
	if _, err := asn1.Unmarshal(parsed.RawTBSCertificateRequest, &tbs); err != nil {
		t.Fatal(err)
	}
	tbs.Bytes = body[len(parsed.RawTBSCertificateRequest)-len(tbs.Bytes):]
	tbs.FullBytes = nil
	algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{tbs, algorithm, asn1.BitString{Bytes: make([]byte, 256), BitLength: 2048}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestHostileCSR sends them all: badCSR, and nothing is issued.
func TestHostileCSR(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.ready("a.acme.internal")
	for name, der := range hostileCSRs(t) {
		r := c.post(o.Finalize, map[string]any{"csr": b64(der)})
		if r.problem() != "badCSR" || r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if o := c.getOrder(o.url); o.Status != "ready" {
		t.Errorf("the order is %s", o.Status)
	}
	if n := w.certificates(); n != 0 {
		t.Errorf("%d certificates", n)
	}
	// The same name in other case is the same; a common name may repeat it.
	csr := csrFrom(t, newKey(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: "A.acme.internal"}, DNSNames: []string{"A.Acme.Internal"}})
	if r := c.post(o.Finalize, map[string]any{"csr": b64(csr)}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
