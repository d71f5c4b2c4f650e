package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{
		"Svc.Internal": "dns:svc.internal", "*.apps.internal": "dns:*.apps.internal", "10.1.2.3": "ip:10.1.2.3", "::1": "ip:::1",
		"spiffe://corp.internal/ci/x": "uri:spiffe://corp.internal/ci/x", "a@corp.internal": "email:a@corp.internal",
	} {
		id, err := parseName(text)
		if err != nil || id.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, id, err, want)
		}
	}
	for _, text := range []string{"", "a_b", "a..b", "../x", "a/b", "*", "a.*.b", "-a", "x\n.internal"} {
		if id, err := parseName(text); err == nil {
			t.Errorf("%q is taken as %v", text, id)
		}
	}
}

func TestFileBase(t *testing.T) {
	long := strings.Repeat("a.", 120) + "internal"
	for _, test := range []struct{ value, want string }{
		{"svc.internal", "svc.internal"},
		{"*.apps.internal", "_wildcard.apps.internal"},
		{"spiffe://corp.internal/../../etc/passwd", "spiffe___corp.internal_.._.._etc_passwd"},
		{"::1", "__1"},
		{".hidden", "_.hidden"},
		{"-rf", "_-rf"},
		{"..", "_.."},
		{"", "_"},
		{"a/b\\c\x00d\ne", "a_b_c_d_e"},
	} {
		if got := fileBase(identity.Identifier{Value: test.value}); got != test.want {
			t.Errorf("%q: %q, want %q", test.value, got, test.want)
		}
	}
	base := fileBase(identity.Identifier{Value: long})
	if len(base) > maxBase || base == fileBase(identity.Identifier{Value: long + "x"}) {
		t.Errorf("a long name gives %q", base)
	}
}

func FuzzFileBase(f *testing.F) {
	for _, seed := range []string{"", "..", "*.x", "a/b", "\x00", "é", strings.Repeat("x", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		base := fileBase(identity.Identifier{Value: value})
		if base == "" || base != filepath.Base(base) || base[0] == '.' || base[0] == '-' || len(base) > maxBase {
			t.Fatalf("%q gives %q", value, base)
		}
	})
}
