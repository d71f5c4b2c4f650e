package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/problem"
)

// faults are "LINE REASON path" of what is wrong in a document.
func faults(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Malformed {
		t.Fatalf("not a malformed document: %v", err)
	}
	var all []string
	for _, v := range p.Violations {
		place := strings.TrimPrefix(v.Rule, "p.yaml")
		line, path, _ := strings.Cut(place, ": ")
		all = append(all, strings.TrimSpace(strings.TrimPrefix(line, ":")+" "+v.Reason+" "+path))
	}
	return all
}

func TestParseFaults(t *testing.T) {
	_, err := Parse("p.yaml", []byte(`version: 2
issuers:
  - {name: issuing, key: "file:k", certificate: c, keys: x}
  - {name: issuing, key: 7}
profiles:
  - name: Server
    issuer: isuing
    keys: [ecdsa-p265, ed25519]
    validity: {default: 3d, max: 2d, backdate: 2h}
    ext_key_usage: [serverauth]
    wildcards: "yes"
    max_names: 0
    lints: [zlint]
  - name: a
    issuer: issuing
    validty: {default: 1h, max: 1h}
    validity: {default: soon, max: 1h}
    keys: ecdsa-p256
grants:
  - name: g
    principals: [{local_socket: root}, {tls: any}, {role: admin, acme: any}, {oidc: "http://x", claims: {a: b}}]
    profiles: [b]
    allow: {dns: ["*", a.x, "*.*.x"], ip: [10.0.0.1/8]}
    owner: o
    owners: [p]
  - name: g
    name: h
    principals: []
    profiles: []
    allow: {}
  - name: system
    principals: [{acme: account}]
    profiles: [a]
    allow: {uri: ["spiffe://{claims.x}/a"]}
    owner: "{claims x}"
conditions:
  - {name: c, require: "request.ower == 'a'", message: m, profiles: [z]}
  - {name: c, when: "1", require: "true"}
extra: true
`))
	want := []string{
		"1 INVALID_VALUE version",
		"3 UNKNOWN_KEY issuers[0].keys",
		"4 WRONG_TYPE issuers[1].key",
		"4 INVALID_VALUE issuers[1].name",
		"4 INVALID_VALUE issuers[1].certificate",
		"6 INVALID_VALUE profiles[0].name",
		"7 INVALID_VALUE profiles[0].issuer",
		"8 INVALID_VALUE profiles[0].keys[0]",
		"9 INVALID_VALUE profiles[0].validity.default",
		"10 INVALID_VALUE profiles[0].ext_key_usage[0]",
		"11 WRONG_TYPE profiles[0].wildcards",
		"12 INVALID_VALUE profiles[0].max_names",
		"13 INVALID_VALUE profiles[0].lints[0]",
		"14 INVALID_VALUE profiles[1].ext_key_usage",
		"16 UNKNOWN_KEY profiles[1].validty",
		"17 INVALID_VALUE profiles[1].validity.default",
		"18 WRONG_TYPE profiles[1].keys",
		"20 INVALID_VALUE grants[0]",
		"21 UNKNOWN_KEY grants[0].principals[1].tls",
		"21 INVALID_VALUE grants[0].principals[0].local_socket",
		"21 INVALID_VALUE grants[0].principals[2]",
		"21 INVALID_VALUE grants[0].principals[3].oidc",
		"22 INVALID_VALUE grants[0].profiles[0]",
		"23 INVALID_VALUE grants[0].allow.dns[0]",
		"23 INVALID_VALUE grants[0].allow.dns[2]",
		"23 INVALID_VALUE grants[0].allow.ip[0]",
		"26 INVALID_VALUE grants[1].name",
		"27 DUPLICATE_KEY grants[1].name",
		"26 INVALID_VALUE grants[1]",
		"28 INVALID_VALUE grants[1].principals",
		"29 INVALID_VALUE grants[1].profiles",
		"30 INVALID_VALUE grants[1].allow",
		"31 INVALID_VALUE grants[2].name",
		"32 INVALID_VALUE grants[2].principals[0].acme",
		"34 INVALID_VALUE grants[2].allow.uri[0]",
		"35 INVALID_VALUE grants[2].owner",
		"37 INVALID_VALUE conditions[0].require",
		"37 INVALID_VALUE conditions[0].profiles[0]",
		"38 INVALID_VALUE conditions[1].message",
		"38 INVALID_VALUE conditions[1].name",
		"38 INVALID_VALUE conditions[1].when",
		"39 UNKNOWN_KEY extra",
	}
	got := faults(t, err)
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("too much: %s", f)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("missing: %s", f)
		}
	}
	for _, text := range []string{`did you mean "validity"?`, `did you mean "issuing"?`, `did you mean "ecdsa-p256"?`, `did you mean "server_auth"?`, `did you mean "mtls"?`,
		`did you mean \"10.0.0.0/8\"?`, "column 8: undefined field 'ower'"} {
		if !strings.Contains(err.Error(), strings.ReplaceAll(text, `\"`, `"`)) {
			t.Errorf("nothing says %s", text)
		}
	}
	if t.Failed() {
		t.Log(strings.ReplaceAll(err.Error(), "; ", "\n"))
	}
}

func TestParseRefuses(t *testing.T) {
	bomb := "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "INVALID_VALUE version"},
		{"comment", "# nothing\n", "INVALID_VALUE version"},
		{"null", "null\n", "1 WRONG_TYPE"},
		{"list", "- a\n", "1 WRONG_TYPE"},
		{"text", "policy\n", "1 WRONG_TYPE"},
		{"syntax", "version: 1\n  issuers: [\n", "2 SYNTAX"},
		{"tab", "version: 1\nissuers:\n\t- a\n", "3 SYNTAX"},
		{"two documents", base + "---\nversion: 1\n", "23 SYNTAX"},
		{"binary", "\x00\x01", "SYNTAX"},
		{"bomb", bomb, "1 UNKNOWN_KEY a"},
		{"alias", base + "grants: &g []\nconditions: *g\n", "23 ALIAS grants"},
		{"merge", base + "<<: {grants: []}\n", "23 KEY"},
		{"tag", base + "grants: !!seq []\n", "23 TAG grants"},
		{"custom tag", base + "grants: !x []\n", "23 TAG grants"},
		{"doubled", base + "version: 1\n", "23 DUPLICATE_KEY version"},
		{"null grants", base + "grants:\n", "23 WRONG_TYPE grants"},
		{"complex key", base + "? [a]\n: b\n", "23 KEY"},
		{"too large", base + "#" + strings.Repeat("x", MaxSize), "TOO_LARGE"},
		{"deep", strings.Repeat("[", 20000), "SYNTAX"},
	}
	for _, test := range tests {
		_, err := Parse("p.yaml", []byte(test.text))
		if got := faults(t, err); !slices.ContainsFunc(got, func(f string) bool {
			return f == test.want || strings.HasSuffix(f, test.want) && !strings.Contains("0123456789", test.want[:1])
		}) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseFills(t *testing.T) {
	doc, err := Parse("p.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	p := doc.Profiles[1]
	if p.Kind != "x509" || p.MaxNames != 100 || p.Validity.Backdate.String() != "1m" ||
		!slices.Equal(p.KeyUsage, []string{"digital_signature"}) || !slices.Equal(p.Lints, []string{"rfc5280", "certwright"}) {
		t.Errorf("defaults: %+v", p)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte(base + grants))
	f.Add(Default())
	f.Add([]byte("version: 1\ngrants: [{principals: [{oidc: x, claims: {a: 1}}], allow: {uri: ['spiffe://a/{claims.b}/**']}}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("conditions: [{name: c, require: 'request.dns.all(n, n == \"\")', message: m}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := New(Config{File: "p.yaml", Data: data, WithoutIssuers: true})
		if err != nil {
			if problem.KindOf(err) != problem.Malformed {
				t.Errorf("%v", err)
			}
			return
		}
		for _, p := range e.Profiles() {
			if _, err := e.Decide(ask(t, p.Name, "dns:nobody.grants.this.example"), now); err == nil && len(e.Document().Grants) == 0 {
				t.Error("something is allowed without a grant")
			}
		}
	})
}
