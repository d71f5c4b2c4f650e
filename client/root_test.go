package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIsRoot(t *testing.T) {
	other, otherKey := newRoot(t, "Other")
	key, err := NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		by     *x509.Certificate
		want   string
	}{
		"a root":         {func(*x509.Certificate) {}, nil, ""},
		"a leaf":         {func(c *x509.Certificate) { c.IsCA = false }, nil, "not the certificate of a CA"},
		"other purposes": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, nil, "may not sign"},
		"an issuing CA":  {func(*x509.Certificate) {}, other, "another CA has signed it"},
		"a look-alike":   {func(c *x509.Certificate) { c.Subject.CommonName = "Other" }, other, "another CA has signed it"},
		"expired":        {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, nil, "has expired"},
		"not yet":        {func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, nil, "is not valid before"},
	} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		test.change(template)
		parent, signer := template, key
		if test.by != nil {
			parent, signer = test.by, otherKey
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := IsRoot(cert); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	read := TokenFile(file)
	if _, err := read(context.Background()); err == nil {
		t.Error("a file that is not there")
	}
	for text, want := range map[string]string{
		"cwt_x\n": "cwt_x", " ey.a.b \r\n": "ey.a.b", "": "", "\n": "", "two words": "", "tab\tbed": "", "ümlaut": "", "\x00": "",
		strings.Repeat("x", maxToken): strings.Repeat("x", maxToken), strings.Repeat("x", maxToken+1): "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := read(context.Background())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %.20q %v", text, got, err)
		}
		if err != nil && strings.TrimSpace(text) != "" && strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("the error shows what was read: %v", err)
		}
	}
}

func FuzzParseRoots(f *testing.F) {
	root, _ := newRoot(f, "Root")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	f.Add(text)
	f.Add(append(bytes.Clone(text), text...))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		roots, err := ParseRoots(text)
		if (err == nil) != (len(roots) > 0) {
			t.Fatalf("%d roots, %v", len(roots), err)
		}
		for _, root := range roots {
			_ = IsRoot(root)
		}
	})
}

func FuzzFingerprint(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0a", 32))
	f.Add("SHA256:" + strings.Repeat("0A:", 31) + "0a")
	f.Fuzz(func(t *testing.T, text string) {
		if sum, err := ParseFingerprint(text); err == nil && len(sum) != 32 {
			t.Fatalf("%q: %d bytes", text, len(sum))
		}
	})
}

func FuzzReadToken(f *testing.F) {
	f.Add("cwt_x\n")
	f.Add("two words")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ReadToken(strings.NewReader(text))
		if err == nil && (token == "" || strings.ContainsAny(token, " \t\r\n\x00")) {
			t.Fatalf("%q gave %q", text, token)
		}
	})
}
