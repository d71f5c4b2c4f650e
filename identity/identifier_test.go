package identity

import (
	"net/url"
	"strings"
	"testing"
)

// refused is what a name that is never issued comes out as in tables.
const refused = ""

func long(n int) string { return strings.Repeat("a", n) }

func TestCanonical(t *testing.T) {
	tests := []struct {
		kind IdentifierType
		in   string
		want string
	}{
		{DNS, "svc.internal", "svc.internal"},
		{DNS, "SVC.Internal", "svc.internal"},
		{DNS, "localhost", "localhost"},
		{DNS, "*.svc.internal", "*.svc.internal"},
		{DNS, "1a.2b", "1a.2b"},
		{DNS, "1.internal", "1.internal"},
		{DNS, "xn--bcher-kva.internal", "xn--bcher-kva.internal"},
		{DNS, "XN--BCHER-KVA.internal", "xn--bcher-kva.internal"},
		{DNS, long(63) + ".x", long(63) + ".x"},
		{DNS, strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a"},
		{DNS, "", refused},
		{DNS, ".", refused},
		{DNS, "svc.internal.", refused},
		{DNS, ".svc.internal", refused},
		{DNS, "svc..internal", refused},
		{DNS, "-svc.internal", refused},
		{DNS, "svc-.internal", refused},
		{DNS, "a_b.internal", refused},
		{DNS, "a b.internal", refused},
		{DNS, "a\x00.internal", refused},
		{DNS, "a.internal\n", refused},
		{DNS, "a/b.internal", refused},
		{DNS, "a@b.internal", refused},
		{DNS, "bücher.internal", refused},
		{DNS, "\u212aube.internal", refused}, // the Kelvin sign, whose lower case is k
		{DNS, "ab--cd.internal", refused},
		{DNS, "xn--.internal", refused},
		{DNS, "xn--a.internal", refused},
		{DNS, "xn--abc.internal", refused}, // decodes to nothing that encodes to it
		{DNS, "xn--bcher-kva-.internal", refused},
		{DNS, "*", refused},
		{DNS, "*.", refused},
		{DNS, "*.*.internal", refused},
		{DNS, "a.*.internal", refused},
		{DNS, "a*.internal", refused},
		{DNS, "**.internal", refused},
		{DNS, "*internal", refused},
		{DNS, long(64) + ".x", refused},
		{DNS, strings.Repeat("a.", 126) + "aa", refused},
		{DNS, "10.0.0.1", refused},
		{DNS, "*.10.0.0.1", refused},
		{DNS, "10.1", refused},
		{DNS, "a.1", refused},
		{DNS, "0x7f000001", refused},
		{DNS, "a.0X1F", refused},
		{DNS, "::1", refused},
		{DNS, "[::1]", refused},

		{IP, "10.0.0.1", "10.0.0.1"},
		{IP, "::FFFF:10.0.0.1", "10.0.0.1"},
		{IP, "::ffff:a00:1", "10.0.0.1"},
		{IP, "2001:DB8:0:0::1", "2001:db8::1"},
		{IP, "0:0:0:0:0:0:0:1", "::1"},
		{IP, "::10.0.0.1", "::a00:1"},
		{IP, "fe80::1%eth0", refused},
		{IP, "010.0.0.1", refused},
		{IP, "10.1", refused},
		{IP, "10.0.0.1/32", refused},
		{IP, "10.0.0.1:80", refused},
		{IP, "[::1]", refused},
		{IP, " ::1", refused},
		{IP, "", refused},

		{Email, "a@svc.internal", "a@svc.internal"},
		{Email, "First.Last+tag@SVC.Internal", "First.Last+tag@svc.internal"},
		{Email, "@svc.internal", refused},
		{Email, "a@", refused},
		{Email, "a", refused},
		{Email, "a@b@svc.internal", refused},
		{Email, ".a@svc.internal", refused},
		{Email, "a.@svc.internal", refused},
		{Email, "a..b@svc.internal", refused},
		{Email, `"a b"@svc.internal`, refused},
		{Email, `a\@svc.internal`, refused},
		{Email, "a@*.internal", refused},
		{Email, "a@10.0.0.1", refused},
		{Email, "a@[10.0.0.1]", refused},
		{Email, "ä@svc.internal", refused},
		{Email, "a\r\n@svc.internal", refused},
		{Email, long(65) + "@svc.internal", refused},
		{Email, long(64) + "@" + strings.Repeat("a.", 95) + "a", refused},

		{"", "svc.internal", refused},
		{"DNS", "svc.internal", refused},
		{"other", "svc.internal", refused},
	}
	for _, test := range tests {
		checkCanonical(t, test.kind, test.in, test.want)
	}
}

func TestCanonicalURI(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://svc.internal", "https://svc.internal"},
		{"HTTPS://SVC.Internal/Path", "https://svc.internal/Path"},
		{"https://svc.internal/", "https://svc.internal/"},
		{"https://svc.internal:443/a", "https://svc.internal/a"},
		{"https://svc.internal:80/a", "https://svc.internal:80/a"},
		{"http://svc.internal:80", "http://svc.internal"},
		{"https://svc.internal/%61%7e%2d", "https://svc.internal/a~-"},
		{"https://svc.internal/a%3fb%20c", "https://svc.internal/a%3Fb%20c"},
		{"https://svc.internal/a?B=%3c", "https://svc.internal/a?B=%3C"},
		{"https://svc.internal/a;v=1/*", "https://svc.internal/a;v=1/*"},
		{"https://10.0.0.1/a", "https://10.0.0.1/a"},
		{"https://[2001:DB8::0:1]:8443/a", "https://[2001:db8::1]:8443/a"},
		{"tag-x.1://svc.internal/a", "tag-x.1://svc.internal/a"},
		{"https:///a", refused},
		{"/a", refused},
		{"svc.internal/a", refused},
		{"urn:uuid:0", refused},
		{"https:svc.internal", refused},
		{"https://svc.internal:/a", refused},
		{"https://svc.internal:0/a", refused},
		{"https://svc.internal:0443/a", refused},
		{"https://svc.internal:65536/a", refused},
		{"https://svc.internal./a", refused},
		{"https://svc..internal/a", refused},
		{"https://*.internal/a", refused},
		{"https://a_b.internal/a", refused},
		{"https://svc%2einternal/a", refused},
		{"https://10.1/a", refused},
		{"https://[fe80::1%25eth0]/a", refused},
		{"https://[::ffff:10.0.0.1]/a", refused},
		{"https://user@svc.internal/a", refused},
		{"https://@svc.internal/a", refused},
		{"https://user:secret@svc.internal/a", refused},
		{"https://svc.internal/a#b", refused},
		{"https://svc.internal/a#", refused},
		{"https://svc.internal/a?", refused},
		{"https://svc.internal/a/../b", refused},
		{"https://svc.internal/a/.", refused},
		{"https://svc.internal/a/%2e%2E/b", refused},
		{"https://svc.internal/a//b", refused},
		{"https://svc.internal//", refused},
		{"https://svc.internal/a%2fb", refused},
		{"https://svc.internal/a%5cb", refused},
		{"https://svc.internal/a%00", refused},
		{"https://svc.internal/a%0d%0a", refused},
		{"https://svc.internal/a%25b", refused},
		{"https://svc.internal/a%", refused},
		{"https://svc.internal/a%zz", refused},
		{"https://svc.internal/a?b=%2", refused},
		{`https://svc.internal/a\b`, refused},
		{`https://svc.internal/"`, refused},
		{"https://svc.internal/[", refused},
		{"https://svc.internal/ü", refused},
		{"https://svc.internal/a b", refused},
		{"https://svc.internal/\n", refused},
		{"https://svc.internal/" + long(2048), refused},
		{"", refused},

		{"spiffe://corp.internal", "spiffe://corp.internal"},
		{"SPIFFE://Corp.internal/ci/Build_1.2", "spiffe://corp.internal/ci/Build_1.2"},
		{"spiffe://corp_x/ci", "spiffe://corp_x/ci"},
		{"spiffe://corp.internal/", refused},
		{"spiffe://corp.internal/a/", refused},
		{"spiffe://corp.internal//a", refused},
		{"spiffe://corp.internal/a/../b", refused},
		{"spiffe://corp.internal/./b", refused},
		{"spiffe://corp.internal:8443/a", refused},
		{"spiffe://corp.internal:/a", refused},
		{"spiffe://corp.internal/a?b", refused},
		{"spiffe://corp.internal/a?", refused},
		{"spiffe://corp.internal/%61", refused},
		{"spiffe://corp.internal/*", refused},
		{"spiffe://corp.internal/a~b", refused},
		{"spiffe://*.internal/a", refused},
		{"spiffe://user@corp.internal/a", refused},
		{"spiffe:///a", refused},
		{"spiffe://[::1]/a", refused},
		{"spiffe://" + long(256) + "/a", refused},
	}
	for _, test := range tests {
		checkCanonical(t, URI, test.in, test.want)
	}
}

func checkCanonical(t *testing.T, kind IdentifierType, in, want string) {
	t.Helper()
	got, err := Identifier{Type: kind, Value: in}.Canonical()
	switch {
	case want == refused && err == nil:
		t.Errorf("%s %q is taken as %q", kind, in, got.Value)
	case want != refused && err != nil:
		t.Errorf("%s %q is refused: %v", kind, in, err)
	case want != refused && got != (Identifier{Type: kind, Value: want}):
		t.Errorf("%s %q is %q, want %q", kind, in, got.Value, want)
	}
}

func TestCanonicalSet(t *testing.T) {
	got, err := CanonicalSet([]Identifier{{IP, "::ffff:10.0.0.1"}, {DNS, "B.x"}, {DNS, "a.x"}, {IP, "10.0.0.1"}, {DNS, "b.x"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Identifier{{DNS, "a.x"}, {DNS, "b.x"}, {IP, "10.0.0.1"}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if _, err := CanonicalSet([]Identifier{{DNS, "a.x"}, {DNS, "a_b"}}); err == nil {
		t.Error("a set with a name that is refused is taken")
	}
}

func TestWildcard(t *testing.T) {
	for id, want := range map[Identifier]bool{
		{DNS, "*.x"}: true, {DNS, "a.x"}: false, {URI, "*.x"}: false, {Email, "*.x"}: false,
	} {
		if id.Wildcard() != want {
			t.Errorf("%s: wildcard is %t", id, !want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []struct {
		kind IdentifierType
		text string
	}{
		{DNS, "*.SVC.internal"}, {DNS, "xn--bcher-kva.x"}, {DNS, "\u212aube.x"}, {IP, "::ffff:10.0.0.1"}, {IP, "2001:DB8::1"},
		{URI, "HTTPS://a.X:443/%61?b=%3c"}, {URI, "spiffe://A.x/b"}, {URI, "https://[::1]:1/"}, {Email, "A.b+c@X.y"},
	} {
		f.Add(string(seed.kind), seed.text)
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		once, err := Identifier{Type: IdentifierType(kind), Value: text}.Canonical()
		if err != nil {
			return
		}
		if twice, err := once.Canonical(); err != nil || twice != once {
			t.Errorf("%s is canonical, and its canonical form is %s (%v)", once, twice, err)
		}
		if strings.ContainsFunc(once.Value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q has characters that are not printable ASCII", once)
		}
		if once.Type == URI {
			if u, err := url.Parse(once.Value); err != nil || u.String() != once.Value {
				t.Errorf("%s is written %s in a certificate (%v)", once, u, err)
			}
		}
	})
}
