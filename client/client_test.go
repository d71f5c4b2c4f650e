package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for server, want := range map[string]string{
		"ca.internal": "ca.internal:8444", "ca.internal:1": "ca.internal:1", "https://ca.internal": "ca.internal:8444",
		"https://ca.internal:9/": "ca.internal:9", "::1": "[::1]:8444", "[::1]": "[::1]:8444", "[::1]:5": "[::1]:5", "127.0.0.1": "127.0.0.1:8444",
		"http://ca.internal": "", "": "", "ftp://x": "", "https://u:p@x": "", "https://x/path": "", "https://x?q": "", "a b": "", "a:b:c": "", ":1": "",
	} {
		got, err := Address(server)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", server, got, err, want)
		}
	}
}

func TestDialRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{Server: "http://x"}, "is not https://"},
		{Config{Server: "unix:"}, "names no socket"},
		{Config{Server: "x", CAFile: empty}, "no certificate in PEM"},
		{Config{Server: "x", CAFile: empty + "x"}, "no such file"},
		{Config{Server: "x", Fingerprint: "sha256:12"}, "64 hexadecimal digits"},
		{Config{Server: "x", Fingerprint: strings.Repeat("0", 64)}, "64 hexadecimal digits"},
		{Config{Server: "x", CAFile: empty, Fingerprint: "sha256:" + strings.Repeat("0", 64)}, "give one of them"},
	} {
		if _, err := Dial(t.Context(), test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ended, Config{Server: "x"}); err == nil {
		t.Error("dialled under a context that had ended")
	}
}

func TestCSR(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := CSR(key, ParseNames([]string{"svc.internal", "10.0.0.1", "::1", "spiffe://x/y", "a@b.internal"}))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		t.Fatal(err)
	}
	if len(csr.DNSNames) != 1 || len(csr.IPAddresses) != 2 || len(csr.URIs) != 1 || len(csr.EmailAddresses) != 1 || csr.Subject.String() != "" {
		t.Errorf("%+v", csr)
	}
	if _, err := CSR(key, Names{IP: []string{"x"}}); err == nil {
		t.Error("an address that is none")
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("https://ca.internal:8444")
	f.Add("[::1]:5")
	f.Add("http://x")
	f.Fuzz(func(t *testing.T, server string) {
		address, err := Address(server)
		if err != nil {
			return
		}
		if again, err := Address(address); err != nil || again != address {
			t.Fatalf("%q gave %q, which gave %q, %v", server, address, again, err)
		}
	})
}
