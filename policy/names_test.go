package policy

import (
	"testing"

	"github.com/certwright/certwright/identity"
)

func TestURIPatterns(t *testing.T) {
	tests := []struct {
		pattern, uri string
		want         bool
	}{
		{"spiffe://corp.x/ci/*", "spiffe://corp.x/ci/a", true},
		{"spiffe://corp.x/ci/*", "spiffe://corp.x/ci/a/b", false},
		{"spiffe://corp.x/ci/*", "spiffe://corp.x/ci", false},
		{"spiffe://corp.x/ci/*", "spiffe://corp.x/cia/b", false},
		{"spiffe://corp.x/ci/*", "spiffe://sub.corp.x/ci/a", false},
		{"spiffe://corp.x/ci/*", "spiffe://corp.x.evil/ci/a", false},
		{"spiffe://corp.x/ci/*", "https://corp.x/ci/a", false},
		{"spiffe://corp.x/ns/*/sa/*", "spiffe://corp.x/ns/a/sa/b", true},
		{"spiffe://corp.x/ns/*/sa/*", "spiffe://corp.x/ns/a/b/sa/b", false},
		{"spiffe://corp.x/**", "spiffe://corp.x/a", true},
		{"spiffe://corp.x/**", "spiffe://corp.x/a/b/c", true},
		{"spiffe://corp.x/**", "spiffe://corp.x", false},
		{"spiffe://corp.x/a/**", "spiffe://corp.x/a", false},
		{"spiffe://corp.x", "spiffe://corp.x", true},
		{"spiffe://corp.x", "spiffe://corp.x/a", false},
		{"spiffe://corp_x/a", "spiffe://corp_x/a", true},
		{"spiffe://corp.x/A", "spiffe://corp.x/a", false},
		{"https://svc.x/a", "https://svc.x/a", true},
		{"https://svc.x/a", "http://svc.x/a", false},
		{"https://svc.x/a", "https://svc.x:8443/a", false},
		{"https://svc.x:8443/a", "https://svc.x:8443/a", true},
		{"https://svc.x:8443/a", "https://svc.x/a", false},
		{"https://svc.x/a", "https://svc.x/a?b=c", false},
		{"https://svc.x/a", "https://svc.x/a/", false},
		{"https://svc.x/", "https://svc.x/", true},
		{"https://svc.x/", "https://svc.x", false},
		{"https://svc.x/*", "https://svc.x/", false},
		{"https://svc.x/**", "https://svc.x/a/", false},
		{"https://*.x/a", "https://svc.x/a", true},
		{"https://*.x/a", "https://a.svc.x/a", false},
		{"https://.x/a", "https://a.svc.x/a", true},
		{"https://.x/a", "https://x/a", false},
		{"https://.x/a", "https://10.0.0.1/a", false},
	}
	for _, test := range tests {
		checkCovers(t, identity.Names{URI: []string{test.pattern}}, identity.Identifier{Type: identity.URI, Value: test.uri}, test.want)
	}
}

func TestEmailPatterns(t *testing.T) {
	tests := []struct {
		pattern, email string
		want           bool
	}{
		{"bob@x.y", "bob@x.y", true},
		{"bob@x.y", "Bob@x.y", true},
		{"bob@x.y", "bob+a@x.y", false},
		{"bob@x.y", "bob@z.x.y", false},
		{"x.y", "anyone@x.y", true},
		{"@x.y", "anyone@x.y", true},
		{"x.y", "anyone@z.x.y", false},
		{"x.y", "anyone@zx.y", false},
	}
	for _, test := range tests {
		checkCovers(t, identity.Names{Email: []string{test.pattern}}, identity.Identifier{Type: identity.Email, Value: test.email}, test.want)
	}
}

func checkCovers(t *testing.T, names identity.Names, id identity.Identifier, want bool) {
	t.Helper()
	set, err := compile(names)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set.covers(id); err != nil || got != want {
		t.Errorf("%v covers %s: %t (%v)", names, id, got, err)
	}
}

// TestEmptySet holds that a type without a pattern is not covered, whatever
// patterns there are of other types.
func TestEmptySet(t *testing.T) {
	sets := []identity.Names{{}, {DNS: []string{"a.x"}}, {DNS: []string{".x"}}, {IP: []string{"::/0"}}, {Email: []string{"x.y"}}, {URI: []string{"https://a.x/"}}}
	for _, names := range sets {
		set, err := compile(names)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []identity.Identifier{
			{Type: identity.DNS, Value: "b.y"}, {Type: identity.IP, Value: "10.0.0.1"}, {Type: identity.Email, Value: "a@b.y"},
			{Type: identity.URI, Value: "https://b.y/"},
		} {
			if ok, _ := set.covers(id); ok {
				t.Errorf("%v covers %s", names, id)
			}
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	for kind, patterns := range map[identity.IdentifierType][]string{
		identity.DNS: {"", "*", ".", "*.", "*x", "a.*.x", "*.*.x", ".*.x", "..x", "A.x", "a.x.", "a_b.x", " a.x", "10.0.0.1", "{claims.}", "{x}.y", "{claims.a", "a}.x", "{claims.a b}.x"},
		identity.IP:  {"", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "fe80::1%eth0", "*", "{claims.ip}"},
		identity.URI: {"", "*", "spiffe://", "spiffe://*.x/a", "spiffe://.x/a", "spiffe://corp.x/", "spiffe://corp.x/a*", "spiffe://corp.x/**/a", "spiffe://Corp.x/a",
			"spiffe://corp.x/{claims.a}*", "spiffe://{claims.a}/b", "{claims.a}://b/c", "https://a.x:443/b", "https://a.x/b?c", "https://a.x/../b", "https://*/a", "https://a.x/%61", "https://10.0.0.1/a"},
		identity.Email: {"", "@", "*", "*@x.y", "Bob@x.y", "bob@", "a@b@c", "*.x.y", ".x.y", "{claims.a}{@x.y"},
	} {
		for _, p := range patterns {
			if err := checkPattern(identity.Identifier{Type: kind, Value: p}); err == nil {
				t.Errorf("%s pattern %q is taken", kind, p)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	e := engine(t, `grants:
  - name: ci
    principals: [{oidc: "https://ci.x", claims: {aud: certwright, protected: true}}]
    profiles: [server]
    allow:
      uri: ["spiffe://corp.x/ci/{claims.project}"]
      dns: ["{claims.project}.ci.x"]
      email: ["{claims.project}@ci.x"]
    owner: "{claims.project}"
`)
	by := func(project any, name string) identity.Request {
		req := ask(t, "server", name)
		req.Principal = identity.Principal{Method: identity.OIDC, ID: "https://ci.x sub", Claims: map[string]any{
			"iss": "https://ci.x", "aud": []any{"other", "certwright"}, "protected": true, "project": project,
		}}
		return req
	}
	if d := expect(t, e, by("web", "uri:spiffe://corp.x/ci/web")); d.Owner != "web" {
		t.Errorf("owner %s", d.Owner)
	}
	expect(t, e, by("web", "dns:web.ci.x"))
	expect(t, e, by("web", "email:web@ci.x"))
	expect(t, e, by(int64(42), "dns:42.ci.x"))
	expect(t, e, by("web", "uri:spiffe://corp.x/ci/other"), ReasonNameNotAllowed)
	expect(t, e, by("web", "dns:a.web.ci.x"), ReasonNameNotAllowed)
	for _, project := range []any{"*", "**", "a/b", "..", "", "a*", "{claims.iss}", "a b", "a\n", "ä", "%2e", nil, []any{"web"}, map[string]any{}} {
		req := by(project, "uri:spiffe://corp.x/ci/web")
		_, err := e.Decide(req, now)
		if err == nil {
			t.Errorf("project %q is taken", project)
		}
	}
	// A dot is one thing in a path and another in a host name.
	expect(t, e, by("a.b", "uri:spiffe://corp.x/ci/a.b"))
	_, err := e.Decide(by("a.b", "dns:a.b.ci.x"), now)
	if got := reasons(t, err); len(got) != 2 || got[0] != ReasonClaim {
		t.Errorf("a claim with a dot in a host name: %q", got)
	}
	for name, change := range map[string]func(map[string]any){
		"iss": func(c map[string]any) { c["iss"] = "https://evil.x" }, "no iss": func(c map[string]any) { delete(c, "iss") },
		"aud": func(c map[string]any) { c["aud"] = "other" }, "protected": func(c map[string]any) { c["protected"] = false },
	} {
		req := by("web", "dns:web.ci.x")
		change(req.Principal.Claims)
		if _, err := e.Decide(req, now); len(reasons(t, err)) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDenyByClaim(t *testing.T) {
	e := engine(t, `grants:
  - name: g
    principals: [{mtls: any}]
    profiles: [server]
    allow: {dns: ["*.x"]}
    deny: {dns: ["{claims.not}.x"]}
    owner: o
`)
	req := ask(t, "server", "dns:a.x")
	req.Principal = identity.Principal{Method: identity.MTLS, ID: "m", Claims: map[string]any{"not": "b"}}
	expect(t, e, req)
	req.Principal.Claims["not"] = "a"
	expect(t, e, req, ReasonNameDenied)
	req.Principal.Claims["not"] = "*"
	expect(t, e, req, ReasonClaim) // what cannot be told may be denied
}

func TestPrincipals(t *testing.T) {
	acme := identity.Principal{Method: identity.ACME, ID: "acct", Claims: map[string]any{"eab": "team"}}
	mtls := identity.Principal{Method: identity.MTLS, ID: "spiffe://x/y", Roles: []identity.Role{identity.RoleRequester}}
	token := identity.Principal{Method: identity.Token, ID: "t", Bound: &identity.Bound{}}
	tests := []struct {
		spec PrincipalSpec
		who  identity.Principal
		want bool
	}{
		{PrincipalSpec{LocalSocket: "admin"}, admin, true},
		{PrincipalSpec{ACME: "any"}, acme, true},
		{PrincipalSpec{ACME: "any"}, admin, false},
		{PrincipalSpec{EAB: "team"}, acme, true},
		{PrincipalSpec{EAB: "other"}, acme, false},
		{PrincipalSpec{Account: "acct"}, acme, true},
		{PrincipalSpec{Account: "other"}, acme, false},
		{PrincipalSpec{MTLS: "any"}, mtls, true},
		{PrincipalSpec{MTLS: "spiffe://x/y"}, mtls, true},
		{PrincipalSpec{MTLS: "spiffe://x/z"}, mtls, false},
		{PrincipalSpec{Role: "requester"}, mtls, true},
		{PrincipalSpec{Role: "ca-admin"}, mtls, false},
		{PrincipalSpec{Role: "ca-admin"}, admin, true},
		{PrincipalSpec{Token: "t"}, token, false}, // its own grant is the only one
		{PrincipalSpec{Token: "t"}, identity.Principal{Method: identity.Token, ID: "t"}, true},
		{PrincipalSpec{}, admin, false},
		{PrincipalSpec{LocalSocket: "admin", Role: "admin"}, admin, false}, // two keys are no spec
		{PrincipalSpec{MTLS: "any", Claims: map[string]Text{"a": "b"}}, mtls, false},
		{PrincipalSpec{Role: "ca-admin"}, identity.Principal{Method: "new", ID: "x", Roles: []identity.Role{identity.RoleAdmin}}, false},
	}
	for _, test := range tests {
		if got := test.spec.matches(test.who); got != test.want {
			t.Errorf("%+v matches %s: %t", test.spec, test.who, got)
		}
	}
}
