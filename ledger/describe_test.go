package ledger_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
)

func field(d ledger.Description, name string) string {
	for _, f := range d.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// TestDescribeGolden: every kind has fields and a summary.
func TestDescribeGolden(t *testing.T) {
	files, err := filepath.Glob("../merkle/entry/testdata/*.hex")
	if err != nil || len(files) < 11 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(err)
		}
		d, err := ledger.Describe(raw)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(d.Fields) == 0 || d.Summary == "" || d.Actor == "" || d.Version != 1 || !d.Time.Equal(time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)) {
			t.Errorf("%s: %+v", file, d)
		}
		seen := map[string]bool{}
		for _, f := range d.Fields {
			if seen[f.Name] || f.Value == "" {
				t.Errorf("%s: field %q twice or empty", file, f.Name)
			}
			seen[f.Name] = true
		}
		for n := range raw {
			if _, err := ledger.Describe(raw[:n]); err == nil {
				t.Errorf("%s: the first %d octets are described", file, n)
			}
		}
	}
}

func TestDescribeIntent(t *testing.T) {
	a := newAuthority(t)
	cert, reserve := a.successor(t, "svc.example", [32]byte{31: 7})
	raw, err := reserve.Entry.Marshal(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ledger.Describe(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"serial": reserve.Serial.String(), "names": "dns:svc.example ip:10.0.0.1 uri:spiffe://example/x email:a@b.example", "owner": "team-a",
		"profile": "server", "grant": "admins", "issuer": a.id.String(), "key": a.id.String(), "not_after": cert.NotAfter.Format(time.RFC3339),
		"not_before": cert.NotBefore.Format(time.RFC3339), "policy": "", "request_key": "", "replaces": strings.Repeat("0", 63) + "7",
	} {
		if got := field(d, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if d.Kind != entry.IssuanceIntent || d.Actor != "token:0a0b" || !strings.Contains(d.Summary, "dns:svc.example") {
		t.Errorf("%+v", d)
	}
}

func TestDescribeUnknownKind(t *testing.T) {
	raw, err := entry.Draft{Kind: 11, Actor: "system:server", Body: []byte{1}, Ext: []byte{2}}.Marshal(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ledger.Describe(raw)
	if err != nil || field(d, "body") != "01" || field(d, "ext") != "02" || d.Kind.String() != "kind-11" {
		t.Errorf("%+v, %v", d, err)
	}
}

// FuzzDescribe: no bytes make it panic.
func FuzzDescribe(f *testing.F) {
	a := newAuthority(f)
	_, reserve := a.leaf(f, "svc.example")
	raw, err := reserve.Entry.Marshal(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = ledger.Describe(raw) })
}
