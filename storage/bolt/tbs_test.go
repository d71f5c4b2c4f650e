package bolt

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage/storagetest"
)

func specs() []storagetest.Spec {
	return []storagetest.Spec{
		{},
		{Names: storagetest.DNS("a.internal", "*.b.internal", "xn--bcher-kva.internal")},
		{Names: []identity.Identifier{
			{Type: identity.IP, Value: "10.1.2.3"}, {Type: identity.IP, Value: "fd00::1"},
			{Type: identity.Email, Value: "a@internal"}, {Type: identity.URI, Value: "spiffe://internal/ns/a"},
		}},
		{NotBefore: time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

// TestParseTBSAgrees compares with crypto/x509.
func TestParseTBSAgrees(t *testing.T) {
	issuer := storagetest.NewIssuer(t)
	for n, spec := range specs() {
		i := issuer.Issue(t, spec)
		f, err := parseTBS(i.Intent.TBS)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		checkAgainstX509(t, f, i.Complete.Certificate)
		tbs, tail, err := splitCertificate(i.Complete.Certificate)
		if err != nil || !bytes.Equal(tbs, i.Intent.TBS) {
			t.Fatalf("%d: split: %v", n, err)
		}
		if again, err := joinCertificate(tbs, tail); err != nil || !bytes.Equal(again, i.Complete.Certificate) {
			t.Errorf("%d: the joined certificate differs (%v)", n, err)
		}
	}
}

func checkAgainstX509(t *testing.T, f facts, der []byte) {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := identity.SerialFromBig(c.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	var names []identity.Identifier
	names = append(names, storagetest.DNS(c.DNSNames...)...)
	for _, ip := range c.IPAddresses {
		names = append(names, identity.Identifier{Type: identity.IP, Value: ip.String()})
	}
	for _, u := range c.URIs {
		names = append(names, identity.Identifier{Type: identity.URI, Value: u.String()})
	}
	for _, m := range c.EmailAddresses {
		names = append(names, identity.Identifier{Type: identity.Email, Value: m})
	}
	if f.serial != serial || !f.notBefore.Equal(c.NotBefore) || !f.notAfter.Equal(c.NotAfter) ||
		f.spki != sha256.Sum256(c.RawSubjectPublicKeyInfo) || !sameNames(f.names, names) {
		t.Errorf("facts %+v are not those of the certificate (names %v)", f, names)
	}
}

func FuzzParseTBS(f *testing.F) {
	issuer := storagetest.NewIssuer(f)
	for _, spec := range specs() {
		i := issuer.Issue(f, spec)
		f.Add(i.Intent.TBS)
		f.Add(i.Complete.Certificate)
		f.Add(i.Intent.TBS[:len(i.Intent.TBS)-7])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if read, err := parseTBS(data); err == nil && read.serial == (identity.Serial{}) {
			t.Error("facts without a serial")
		}
		tbs, tail, err := splitCertificate(data)
		if err != nil {
			return
		}
		// Only DER is joined to the same bytes again; CompleteIssuance refuses
		// the rest. A join never fails.
		if _, err := joinCertificate(tbs, tail); err != nil {
			t.Errorf("join: %v", err)
		}
	})
}

func FuzzParseRows(f *testing.F) {
	key := []byte("key")
	f.Add(row{state: 1, index: 7, deadline: 9, revocation: &revocation{index: 8, reason: 1, at: 3}}.marshal(key))
	f.Add(row{state: 3, abandoned: 4}.marshal(key))
	record, err := recordRow{version: 3, body: []byte("body")}.marshal(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Fuzz(func(t *testing.T, data []byte) {
		sealed := seal(key, bytes.Clone(data))
		if r, err := parseRow(key, sealed); err == nil && !bytes.Equal(r.marshal(key), sealed) {
			t.Errorf("row %x changes when it is parsed", data)
		}
		if r, err := parseRecordRow(key, sealed); err == nil {
			if _, err := r.marshal(key); err != nil {
				t.Errorf("record %x: %v", data, err)
			}
		}
		if _, err := parseRow(key, data); err == nil && !bytes.Equal(data, seal(key, bytes.Clone(data[1:len(data)-sealSize]))) {
			t.Error("a row with a wrong checksum is read")
		}
	})
}
