package x509cert

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

func newCSR(t testing.TB, signer crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// sanExtension is a subjectAltName with these GeneralNames.
func sanExtension(t testing.TB, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidSubjectAltName, Value: value}
}

func general(tag int, value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
}

func TestParseCSR(t *testing.T) {
	key := newECDSA(t)
	spiffe := &url.URL{Scheme: "spiffe", Host: "corp.internal", Path: "/a"}
	all := newCSR(t, key, x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "B.internal", Organization: []string{"ignored"}},
		DNSNames: []string{"A.internal", "a.internal"}, IPAddresses: []net.IP{net.ParseIP("::ffff:10.0.0.1"), net.ParseIP("fd00::1")},
		URIs: []*url.URL{spiffe}, EmailAddresses: []string{"a@X.internal"},
		ExtraExtensions: []pkix.Extension{{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}},
	})
	const want = "[dns:a.internal dns:b.internal email:a@x.internal ip:10.0.0.1 ip:fd00::1 uri:spiffe://corp.internal/a]"
	for name, data := range map[string][]byte{
		"DER": all, "PEM": inPEM("CERTIFICATE REQUEST", all), "old PEM": inPEM("NEW CERTIFICATE REQUEST", all),
		"PEM after text": append([]byte("Certificate Request:\n"), inPEM("CERTIFICATE REQUEST", all)...),
	} {
		t.Run(name, func(t *testing.T) {
			csr, err := ParseCSR(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(csr.Identifiers); got != want {
				t.Errorf("names %s", got)
			}
			if !bytes.Equal(csr.Raw, all) || csr.PublicKey == nil || csr.Hash == ([32]byte{}) {
				t.Error("fields are missing")
			}
		})
	}
	for cn, want := range map[string]string{"only.internal": "[dns:only.internal]", "10.1.2.3": "[ip:10.1.2.3]"} {
		csr, err := ParseCSR(newCSR(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}}))
		if err != nil || fmt.Sprint(csr.Identifiers) != want {
			t.Errorf("common name %s: %v, %v", cn, csr.Identifiers, err)
		}
	}
	for _, signer := range []crypto.Signer{newEd25519(t), newRSA(t, 2048)} {
		if _, err := ParseCSR(newCSR(t, signer, x509.CertificateRequest{DNSNames: []string{"a.internal"}})); err != nil {
			t.Errorf("%T: %v", signer, err)
		}
	}
}

func TestParseCSRRefuses(t *testing.T) {
	key := newECDSA(t)
	a := []string{"a.internal"}
	good := newCSR(t, key, x509.CertificateRequest{DNSNames: a})
	broken := bytes.Clone(good)
	broken[len(broken)-1] ^= 1
	hundred := make([]string, MaxNames+1)
	for i := range hundred {
		hundred[i] = fmt.Sprintf("n%d.internal", i)
	}
	san := func(names ...asn1.RawValue) x509.CertificateRequest {
		return x509.CertificateRequest{ExtraExtensions: []pkix.Extension{sanExtension(t, names...)}}
	}
	otherName := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{6, 3, 42, 3, 4, 0xa0, 2, 5, 0}}
	dirName := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}
	twice := x509.CertificateRequest{ExtraExtensions: []pkix.Extension{
		sanExtension(t, general(2, "a.internal")), sanExtension(t, general(2, "b.internal")),
	}}
	email := pkix.AttributeTypeAndValue{Type: oidEmailAddress, Value: "x@a.internal"}
	tests := []struct {
		name   string
		data   []byte
		reason string
	}{
		{"empty", nil, "CSR_UNREADABLE"},
		{"garbage", []byte("garbage"), "CSR_UNREADABLE"},
		{"huge", make([]byte, 1<<20), "CSR_TOO_LARGE"},
		{"too large DER", append([]byte{0x30}, make([]byte, MaxCSR)...), "CSR_TOO_LARGE"},
		{"too large in PEM", inPEM("CERTIFICATE REQUEST", make([]byte, MaxCSR+1)), "CSR_TOO_LARGE"},
		{"a certificate's PEM", inPEM("CERTIFICATE", good), "CSR_UNREADABLE"},
		{"two blocks", append(inPEM("CERTIFICATE REQUEST", good), inPEM("CERTIFICATE REQUEST", good)...), "CSR_UNREADABLE"},
		{"trailing data", append(bytes.Clone(good), 0), "CSR_UNREADABLE"},
		{"truncated", good[:len(good)-1], "CSR_UNREADABLE"},
		{"broken signature", broken, "CSR_SIGNATURE"},
		{"SHA-1", sha1CSR(t), "CSR_SIGNATURE_ALGORITHM"},
		{"RSA 1024", newCSR(t, newRSA(t, 1024), x509.CertificateRequest{DNSNames: a}), "KEY_SIZE"},
		{"no names", newCSR(t, key, x509.CertificateRequest{}), "CSR_NO_NAMES"},
		{"an empty SAN", newCSR(t, key, san()), "CSR_NO_NAMES"},
		{"101 names", newCSR(t, key, x509.CertificateRequest{DNSNames: hundred}), "TOO_MANY_NAMES"},
		{"100 and a common name", newCSR(t, key, x509.CertificateRequest{DNSNames: hundred[1:], Subject: pkix.Name{CommonName: "x.internal"}}), "TOO_MANY_NAMES"},
		{"otherName", newCSR(t, key, san(general(2, "a.internal"), otherName)), "NAME_TYPE"},
		{"directoryName", newCSR(t, key, san(dirName)), "NAME_TYPE"},
		{"registeredID", newCSR(t, key, san(general(8, "*"))), "NAME_TYPE"},
		{"two SANs", newCSR(t, key, twice), "CSR_UNREADABLE"},
		{"address of 5 octets", newCSR(t, key, san(general(7, "12345"))), "CSR_UNREADABLE"},
		{"common name with a space", newCSR(t, key, x509.CertificateRequest{DNSNames: a, Subject: pkix.Name{CommonName: "My Server"}}), "NAME_FORM"},
		{"email in the subject", newCSR(t, key, x509.CertificateRequest{DNSNames: a, Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{email}}}), "NAME_FORM"},
		{"underscore", newCSR(t, key, x509.CertificateRequest{DNSNames: []string{"a_b.internal"}}), "NAME_FORM"},
		{"NUL", newCSR(t, key, x509.CertificateRequest{DNSNames: []string{"a.internal\x00.b"}}), "NAME_FORM"},
		{"address as a DNS name", newCSR(t, key, x509.CertificateRequest{DNSNames: []string{"10.0.0.1"}}), "NAME_FORM"},
		{"inner wildcard", newCSR(t, key, x509.CertificateRequest{DNSNames: []string{"a.*.internal"}}), "NAME_FORM"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseCSR(test.data)
			var p *problem.Problem
			if !errors.As(err, &p) || p.Reason != test.reason {
				t.Errorf("%v, want %s", err, test.reason)
			}
		})
	}
}

// sha1CSR signs a request as crypto/x509 no longer would.
func sha1CSR(t *testing.T) []byte {
	t.Helper()
	key := newRSA(t, 2048)
	der := newCSR(t, key, x509.CertificateRequest{DNSNames: []string{"a.internal"}})
	var csr struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &csr); err != nil {
		t.Fatal(err)
	}
	digest := sha1.Sum(csr.TBS.FullBytes)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	csr.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	csr.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	out, err := asn1.Marshal(csr)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzParseCSR: whatever comes in, there is a problem for the caller or names
// that are canonical; never a panic.
func FuzzParseCSR(f *testing.F) {
	key := newECDSA(f)
	good := newCSR(f, key, x509.CertificateRequest{DNSNames: []string{"a.internal"}, Subject: pkix.Name{CommonName: "a.internal"}})
	f.Add(good)
	f.Add(inPEM("CERTIFICATE REQUEST", good))
	f.Add(newCSR(f, newEd25519(f), x509.CertificateRequest{EmailAddresses: []string{"a@b.internal"}, IPAddresses: []net.IP{net.IPv4zero}}))
	f.Add(newCSR(f, key, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{sanExtension(f, general(0, "x"))}}))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		csr, err := ParseCSR(data)
		if err != nil {
			var p *problem.Problem
			if !errors.As(err, &p) || p.Kind == problem.Internal {
				t.Errorf("%v is not for the caller", err)
			}
			return
		}
		again, err := identity.CanonicalSet(csr.Identifiers)
		if err != nil || len(again) != len(csr.Identifiers) || len(again) == 0 {
			t.Errorf("%v, %v", csr.Identifiers, err)
		}
	})
}

// FuzzParseSAN reaches the names without a signature in the way.
func FuzzParseSAN(f *testing.F) {
	f.Add(sanExtension(f, general(2, "a.internal"), general(7, "\x0a\x00\x00\x01"), general(6, "spiffe://a/b"), general(1, "a@b.c")).Value)
	f.Add(sanExtension(f, general(0, "x")).Value)
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseSAN(data)
		if err == nil && len(names) > MaxNames {
			t.Errorf("%d names", len(names))
		}
	})
}
