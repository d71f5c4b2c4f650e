package x509cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"encoding/pem"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

func TestSignWithEveryKey(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuers := map[string]crypto.Signer{
		"ecdsa-p256": newECDSA(t), "ecdsa-p384": p384, "ed25519": newEd25519(t), "rsa-2048": newRSA(t, 2048),
	}
	linter := newLinter(t)
	for name, signer := range issuers {
		t.Run(name, func(t *testing.T) {
			is, root := newIssuer(t, signer, identity.Names{})
			w := newWant(t, is)
			tbs, err := Draft(w)
			if err != nil {
				t.Fatal(err)
			}
			checked, err := linter.Check(tbs, w)
			if err != nil {
				t.Fatal(err)
			}
			der, err := checked.Sign()
			if err != nil {
				t.Fatal(err)
			}
			if err := checked.Verify(der); err != nil {
				t.Error(err)
			}
			if name == "ecdsa-p256" && len(der) > 700 {
				t.Errorf("certificate of %d octets", len(der))
			}
			verifyChain(t, der, is.cert, root)
			opensslVerify(t, der, is.cert, root)
		})
	}
}

func verifyChain(t *testing.T, der []byte, issuer, root *x509.Certificate) {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	between.AddCert(issuer)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: epoch.Add(time.Hour), DNSName: "svc.internal"})
	if err != nil {
		t.Error(err)
	}
}

func opensslVerify(t *testing.T, der []byte, issuer, root *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-attime", "1772370000",
		"-CAfile", write("root", root.Raw), "-untrusted", write("issuer", issuer.Raw), write("leaf", der)).CombinedOutput()
	if err != nil {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
}

// TestSignedOnce: of many signers of one draft, one gets a signature.
func TestSignedOnce(t *testing.T) {
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	w := newWant(t, is)
	tbs, err := Draft(w)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := newLinter(t).Check(tbs, w)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]error, 32)
	for i := range results {
		wg.Go(func() { _, results[i] = checked.Sign() })
	}
	wg.Wait()
	signed := 0
	for _, err := range results {
		if err == nil {
			signed++
		} else if !errors.Is(err, ErrSigned) {
			t.Error(err)
		}
	}
	if signed != 1 {
		t.Errorf("signed %d times", signed)
	}
}

// TestVerifyRefuses: another certificate of the issuer, and a name that the
// issuer's constraints exclude.
func TestVerifyRefuses(t *testing.T) {
	linter := newLinter(t)
	checkedOf := func(is *Issuer, names ...identity.Identifier) *Checked {
		w := newWant(t, is, names...)
		tbs, err := Draft(w)
		if err != nil {
			t.Fatal(err)
		}
		c, err := linter.Check(tbs, w)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	is, _ := newIssuer(t, newECDSA(t), identity.Names{DNS: []string{"corp.internal"}})
	dns := func(n string) identity.Identifier { return identity.Identifier{Type: identity.DNS, Value: n} }
	good, other, outside := checkedOf(is, dns("a.corp.internal")), checkedOf(is, dns("a.corp.internal")), checkedOf(is, dns("a.other.internal"))
	der, err := good.Sign()
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Verify(der); err != nil {
		t.Error(err)
	}
	if err := other.Verify(der); err == nil {
		t.Error("another draft's certificate passed")
	}
	der[len(der)-1] ^= 1
	if err := good.Verify(der); err == nil {
		t.Error("a broken signature passed")
	}
	if der, err = outside.Sign(); err != nil {
		t.Fatal(err)
	}
	if err := outside.Verify(der); err == nil {
		t.Error("a name outside of the issuer's constraints passed")
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	is, root := newIssuer(t, newECDSA(t), identity.Names{})
	if _, err := NewIssuer(is.cert, newECDSA(t)); err == nil {
		t.Error("another key passed")
	}
	w := newWant(t, is)
	tbs, err := Draft(w)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newLinter(t).Check(tbs, w)
	if err != nil {
		t.Fatal(err)
	}
	der, err := c.Sign()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewIssuer(leaf, nil); err == nil {
		t.Error("a leaf passed as issuer")
	}
	if _, err := Intermediate(CAConfig{CommonName: "x", NotBefore: epoch, NotAfter: epoch.AddDate(1, 0, 0)}, newECDSA(t).Public(), is.cert, is.signer); err == nil {
		t.Error("a CA below path length 0")
	}
	if _, err := Intermediate(CAConfig{CommonName: "x", NotBefore: epoch, NotAfter: epoch.AddDate(30, 0, 0)}, newECDSA(t).Public(), root, newECDSA(t)); err == nil {
		t.Error("a CA that outlives its root")
	}
}

func TestRootCRL(t *testing.T) {
	key := newECDSA(t)
	root, err := Root(CAConfig{CommonName: "Root", NotBefore: epoch, NotAfter: epoch.AddDate(10, 0, 0), MaxPathLen: 1}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := RootCRL(root, key, 1, epoch, epoch.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := crl.CheckSignatureFrom(root); err != nil || crl.Number.Int64() != 1 || len(crl.RevokedCertificateEntries) != 0 {
		t.Errorf("CRL %v, %v", crl.Number, err)
	}
}

func TestLints(t *testing.T) {
	linter := newLinter(t)
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	tests := map[string]struct {
		change func(*Want)
		lint   string
	}{
		"purpose open":            {func(w *Want) { w.Decision.Profile.ExtKeyUsage = nil }, "e_certwright_purpose_open"},
		"encipherment with ECDSA": {func(w *Want) { w.Decision.Profile.KeyUsage = []string{"key_encipherment"} }, "e_certwright_encipherment_without_rsa"},
		"no revocation":           {func(w *Want) { w.URLs = URLs{} }, "e_certwright_no_revocation_pointer"},
		"short serial":            {func(w *Want) { w.Serial = identity.Serial{15: 9} }, "e_certwright_serial_short"},
		"baseline and internal":   {func(w *Want) { w.Decision.Profile.Lints = []string{LintBaseline} }, "e_dnsname_not_valid_tld"},
		"everything fine":         {func(*Want) {}, ""},
		"SPIFFE ID":               {uris("spiffe://internal/ci/build"), ""},
		"SPIFFE ID, underscore":   {uris("spiffe://corp_1/ci"), ""},
		"host of another URI":     {uris("https://internal/x"), lintURIHost},
		"SPIFFE ID and another":   {uris("https://internal/x", "spiffe://internal/ci"), lintURIHost},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWant(t, is)
			test.change(&w)
			tbs, err := Draft(w)
			if err != nil {
				t.Fatal(err)
			}
			_, err = linter.Check(tbs, w)
			if test.lint == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var p *problem.Problem
			if !errors.As(err, &p) || p.Kind != problem.Denied || p.Code() != "POLICY_DENIED" {
				t.Fatalf("%v", err)
			}
			for _, v := range p.Violations {
				if v.Value == test.lint {
					return
				}
			}
			t.Errorf("%s is not among %v", test.lint, p.Violations)
		})
	}
}

// uris asks for these URIs and no other names.
func uris(all ...string) func(*Want) {
	return func(w *Want) {
		w.Request.Identifiers = nil
		for _, uri := range all {
			w.Request.Identifiers = append(w.Request.Identifiers, identity.Identifier{Type: identity.URI, Value: uri})
		}
	}
}

func BenchmarkDraftCheck(b *testing.B) {
	linter := newLinter(b)
	is, _ := newIssuer(b, newECDSA(b), identity.Names{})
	w := newWant(b, is)
	tbs, err := Draft(w)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("draft", func(b *testing.B) {
		for b.Loop() {
			_, _ = Draft(w)
		}
	})
	for _, lints := range [][]string{nil, {LintCertwright}, {LintRFC5280}, {LintRFC5280, LintCertwright}, {LintBaseline}} {
		w.Decision.Profile.Lints = lints
		name := "check"
		for _, l := range lints {
			name += "+" + l
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = linter.Check(tbs, w)
			}
		})
	}
	key := newECDSA(b)
	digest := make([]byte, 32)
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("V", func(b *testing.B) {
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, digest, sig)
		}
	})
}
