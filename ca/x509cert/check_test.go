package x509cert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

// TestCheckRefusesDifference: a draft of something else than what was asked and
// decided is refused, whichever field differs.
func TestCheckRefusesDifference(t *testing.T) {
	linter := newLinter(t)
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	other, _ := newIssuer(t, newECDSA(t), identity.Names{})
	rsaIssuer, _ := newIssuer(t, newRSA(t, 2048), identity.Names{})
	names := func(ids ...identity.Identifier) func(*Want) {
		return func(w *Want) { w.Request.Identifiers = ids }
	}
	dns := func(v string) identity.Identifier { return identity.Identifier{Type: identity.DNS, Value: v} }
	ip := identity.Identifier{Type: identity.IP, Value: "10.0.0.1"}
	tests := map[string]func(*Want){
		"serial":              func(w *Want) { w.Serial = identity.NewSerial(epoch) },
		"issuer":              func(w *Want) { w.Issuer = other },
		"issuer's algorithm":  func(w *Want) { w.Issuer = rsaIssuer },
		"key":                 func(w *Want) { w.Request.PublicKey = newECDSA(t).Public() },
		"kind of key":         func(w *Want) { w.Request.PublicKey = newRSA(t, 2048).Public() },
		"begins earlier":      func(w *Want) { w.Decision.NotBefore = w.Decision.NotBefore.Add(-time.Second) },
		"ends later":          func(w *Want) { w.Decision.NotAfter = w.Decision.NotAfter.Add(time.Second) },
		"one name less":       names(dns("svc.internal")),
		"one name more":       names(dns("svc.internal"), dns("t.internal"), ip),
		"another name":        names(dns("svc.internap"), ip),
		"another order":       names(ip, dns("svc.internal")),
		"a name twice":        names(dns("svc.internal"), dns("svc.internal"), ip),
		"a name's case":       names(dns("Svc.internal"), ip),
		"another type":        names(identity.Identifier{Type: identity.Email, Value: "svc.internal"}, ip),
		"key usage":           func(w *Want) { w.Decision.Profile.KeyUsage = []string{"digital_signature", "key_agreement"} },
		"no key usage":        func(w *Want) { w.Decision.Profile.KeyUsage = nil },
		"purpose":             func(w *Want) { w.Decision.Profile.ExtKeyUsage = []string{"server_auth", "code_signing"} },
		"purpose more":        func(w *Want) { w.Decision.Profile.ExtKeyUsage = []string{"server_auth", "client_auth", "code_signing"} },
		"purpose less":        func(w *Want) { w.Decision.Profile.ExtKeyUsage = []string{"server_auth"} },
		"no purpose":          func(w *Want) { w.Decision.Profile.ExtKeyUsage = nil },
		"OCSP":                func(w *Want) { w.URLs.OCSP = "http://evil.test/ocsp" },
		"CA issuers":          func(w *Want) { w.URLs.CAIssuers = "http://evil.test/ca.crt" },
		"CRL shard":           func(w *Want) { w.URLs.CRL = "http://ca.test/crl/issuing/4.crl" },
		"no authority access": func(w *Want) { w.URLs.OCSP, w.URLs.CAIssuers = "", "" },
		"no CRL":              func(w *Want) { w.URLs.CRL = "" },
	}
	want := newWant(t, is)
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			drawn := want
			change(&drawn)
			tbs, err := Draft(drawn)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, linter, tbs, want)
		})
	}
	tbs, err := Draft(want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linter.Check(tbs, want); err != nil {
		t.Errorf("the draft itself: %v", err)
	}
	if n := changedBytes(linter, tbs, want); n > 0 {
		t.Errorf("%d drafts with one changed byte passed", n)
	}
}

func refused(t *testing.T, linter *Linter, tbs []byte, w Want) {
	t.Helper()
	_, err := linter.Check(tbs, w)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Internal || p.Reason != "DRAFT_DIFFERS" {
		t.Errorf("%v", err)
	}
}

// changedBytes counts the drafts with one byte changed that pass; where the
// byte is part of the common name's text or its string type, the subject is not
// what was drawn either.
func changedBytes(linter *Linter, tbs []byte, w Want) int {
	passed := 0
	for i := range tbs {
		changed := bytes.Clone(tbs)
		changed[i] ^= 1
		if _, err := linter.Check(changed, w); err == nil {
			passed++
		}
	}
	return passed
}

// TestCheckRefusesBounds: what the decision itself must not allow.
func TestCheckRefusesBounds(t *testing.T) {
	linter := newLinter(t)
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	tests := map[string]func(*Want){
		"a second longer than the profile": func(w *Want) { w.Decision.NotAfter = w.Decision.NotAfter.Add(time.Second) },
		"ends before it begins":            func(w *Want) { w.Decision.NotAfter = w.Decision.NotBefore.Add(-time.Second) },
		"outlives its issuer": func(w *Want) {
			w.Decision.Profile.Validity.Max = policy.Duration(100 * 365 * 24 * time.Hour)
			w.Decision.NotAfter = is.cert.NotAfter.Add(time.Second)
		},
		"begins more than an hour ago": func(w *Want) {
			w.Decision.NotBefore = w.Decision.NotBefore.Add(-time.Hour - time.Second)
			w.Decision.NotAfter = w.Decision.NotBefore.Add(time.Hour)
		},
		"no names": func(w *Want) { w.Request.Identifiers = nil },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWant(t, is)
			change(&w)
			tbs, err := Draft(w)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, linter, tbs, w)
		})
	}
}

// TestCheckRefusesExtra: what Draft never writes.
func TestCheckRefusesExtra(t *testing.T) {
	linter := newLinter(t)
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	w := newWant(t, is)
	extensions := map[string]cryptobyte.BuilderContinuation{
		"unknown, not critical": func(b *cryptobyte.Builder) {
			addExtension(b, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, false, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
		},
		"subject key identifier": func(b *cryptobyte.Builder) {
			addExtension(b, asn1.ObjectIdentifier{2, 5, 29, 14}, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString([]byte{1}) })
		},
		"a second key usage": func(b *cryptobyte.Builder) { addKeyUsage(b, x509.KeyUsageCertSign) },
	}
	for name, extra := range extensions {
		t.Run(name, func(t *testing.T) { refused(t, linter, withExtension(t, w, extra), w) })
	}
	t.Run("a unique identifier", func(t *testing.T) {
		tbs, err := Draft(w)
		if err != nil {
			t.Fatal(err)
		}
		var raw asn1.RawValue
		if _, err := asn1.Unmarshal(tbs, &raw); err != nil {
			t.Fatal(err)
		}
		body := raw.Bytes
		at := bytes.LastIndex(body, []byte{0xa3, 0x82})
		body = append(append(bytes.Clone(body[:at]), 0x81, 2, 0, 1), body[at:]...)
		changed, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
		if err != nil {
			t.Fatal(err)
		}
		refused(t, linter, changed, w)
	})
}

// withExtension is the draft of w with one extension more.
func withExtension(t *testing.T, w Want, extra cryptobyte.BuilderContinuation) []byte {
	t.Helper()
	tbs, err := Draft(w)
	if err != nil {
		t.Fatal(err)
	}
	b := cryptobyte.NewBuilder(nil)
	extra(b)
	ext, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(tbs, &outer); err != nil {
		t.Fatal(err)
	}
	var all []asn1.RawValue
	for rest := outer.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	var list asn1.RawValue
	if _, err := asn1.Unmarshal(all[len(all)-1].Bytes, &list); err != nil {
		t.Fatal(err)
	}
	list = asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(bytes.Clone(list.Bytes), ext...)}
	inner, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	all[len(all)-1] = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 3, IsCompound: true, Bytes: inner}
	var body []byte
	for _, v := range all {
		one, err := asn1.Marshal(asn1.RawValue{Class: v.Class, Tag: v.Tag, IsCompound: v.IsCompound, Bytes: v.Bytes})
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, one...)
	}
	out, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
