package x509cert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

func revokedLines(n int, at time.Time) []storage.Revoked {
	reasons := []identity.RevocationReason{0, 1, 3, 4, 5, 9}
	lines := make([]storage.Revoked, n)
	for i := range lines {
		lines[i] = storage.Revoked{Serial: identity.NewSerial(at), Reason: reasons[i%len(reasons)], At: at}
	}
	return lines
}

// testIssuer is an issuer with the sort of key that issuers mostly have.
func testIssuer(t testing.TB) *Issuer {
	t.Helper()
	is, _ := newIssuer(t, newECDSA(t), identity.Names{})
	return is
}

// TestCRL: each sort of key, complete and of a shard; openssl reads it as meant.
func TestCRL(t *testing.T) {
	now := time.Date(2049, 12, 31, 23, 59, 0, 500, time.UTC) // nextUpdate is GeneralizedTime
	for _, url := range []string{"", "http://ca.test:8080/crl/issuing/3.crl"} {
		for _, n := range []int{0, 1, 300} {
			is := testIssuer(t)
			var urls []string
			if url != "" {
				urls = []string{"http://old.test/crl/issuing/3.crl", url}
			}
			list := CRL{Number: 1<<41 + 5, ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour), URLs: urls, Revoked: revokedLines(n, now)}
			der, err := newLinter(t).SignCRL(is, list)
			if err != nil {
				t.Fatalf("%q, %d: %v", url, n, err)
			}
			parsed, err := x509.ParseRevocationList(der)
			if err != nil {
				t.Fatal(err)
			}
			critical := 0
			for _, e := range parsed.Extensions {
				if e.Critical {
					critical++
					if !e.Id.Equal(oidIssuingPoint) || !bytes.Contains(e.Value, []byte(url)) {
						t.Errorf("critical extension %s", e.Id)
					}
				}
			}
			if (critical == 1) != (url != "") {
				t.Errorf("%q: %d critical extensions", url, critical)
			}
			shape, err := ReadCRL(der)
			if err != nil || shape.Number != list.Number || len(shape.Serials) != n || !shape.NextUpdate.Equal(list.NextUpdate.Truncate(time.Second)) {
				t.Errorf("%+v %v", shape, err)
			}
			text := opensslCRL(t, der)
			for _, want := range []string{"CRL Number", "Authority Key Identifier"} {
				if !strings.Contains(text, want) {
					t.Errorf("openssl does not show %q:\n%s", want, text)
				}
			}
			if url != "" && (!strings.Contains(text, "Issuing Distribution Point: critical") || !strings.Contains(text, "Only User Certificates") || !strings.Contains(text, url)) {
				t.Errorf("distribution point:\n%s", text)
			}
			if n == 300 && strings.Count(text, "Key Compromise") != 50 {
				t.Errorf("%d times Key Compromise", strings.Count(text, "Key Compromise"))
			}
		}
	}
}

func opensslCRL(t *testing.T, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "crl", "-in", file, "-noout", "-text").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl crl: %v\n%s", err, out)
	}
	return string(out)
}

// TestCRLLint: what breaks RFC 5280 is not returned.
func TestCRLLint(t *testing.T) {
	now := time.Now()
	is := testIssuer(t)
	for name, list := range map[string]CRL{
		"it ends before it begins": {Number: 1, ThisUpdate: now, NextUpdate: now.Add(-time.Hour)},
		"revoked in the future":    {Number: 1, ThisUpdate: now, NextUpdate: now.Add(time.Hour), Revoked: revokedLines(1, now.Add(time.Minute))},
	} {
		if _, err := newLinter(t).SignCRL(is, list); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// BenchmarkCRL signs, verifies and lints the 16 shards of 100,000 revocations.
func BenchmarkCRL(b *testing.B) {
	l, is, now := newLinter(b), testIssuer(b), time.Now()
	lines := revokedLines(100_000/16, now)
	for b.Loop() {
		for range 16 {
			if _, err := l.SignCRL(is, CRL{Number: 1, ThisUpdate: now, NextUpdate: now.Add(time.Hour), URLs: []string{"http://ca.test/crl/a/1.crl"}, Revoked: lines}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
