package policy

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

// TestDeniedToEverybody: no grant and no token goes around the document's deny
// list; the server's own grant does.
func TestDeniedToEverybody(t *testing.T) {
	data := []byte(base + "deny: {dns: [ca.one.x, .shut.one.x], ip: [10.9.0.0/16]}\n" + strings.Replace(grants, "deny: {dns: [ca.one.x, .secret.deep.x], ip: [10.9.0.0/16]}", "", 1))
	name := identity.Identifier{Type: identity.DNS, Value: "ca.one.x"}
	e, err := New(Config{File: "p.yaml", Data: data, WithoutIssuers: true, System: System{Names: []identity.Identifier{name}, Profile: "server"}})
	if err != nil {
		t.Fatal(err)
	}
	bound := admin
	bound.Method, bound.ID = identity.Token, "t"
	bound.Bound = &identity.Bound{Name: "token:t", Profiles: []string{"server", "wild"}, Owner: "o", Allow: identity.Names{DNS: []string{".one.x"}, IP: []string{"10.0.0.0/8"}}}
	for _, p := range []identity.Principal{admin, bound} {
		for name, want := range map[string][]string{
			"dns:a.one.x": nil, "ip:10.1.0.1": nil, "dns:ca.one.x": {ReasonNameDenied}, "ip:10.9.1.1": {ReasonNameDenied},
		} {
			req := ask(t, "server", name)
			req.Principal = p
			expect(t, e, req, want...)
		}
		wildcard := ask(t, "wild", "dns:*.one.x")
		wildcard.Principal = p
		expect(t, e, wildcard, ReasonNameDenied)
	}
	own := ask(t, "server", "dns:ca.one.x")
	own.Principal = identity.Principal{Method: identity.System, ID: "server"}
	expect(t, e, own)

	_, err = Parse("p.yaml", []byte(base+"deny: {dns: ['{claims.x}.x'], ip: [300.1.1.1], url: []}\n"+grants))
	got := strings.Join(faults(t, err), "\n")
	for _, want := range []string{"deny.dns[0]", "deny.ip[0]", "deny.url"} {
		if !strings.Contains(got, want) {
			t.Errorf("no fault of %s in\n%s", want, got)
		}
	}
}

// TestProfileOfToken: what a token is told that names no profile, or one that the
// policy no longer has.
func TestProfileOfToken(t *testing.T) {
	e := engine(t, grants)
	for _, test := range []struct {
		profiles []string
		asked    string
		reason   string
		want     []string
		not      string
	}{
		{[]string{"wild", "server"}, "", ReasonProfileMissing, []string{"name one of server, wild: --profile server, in the agent's file profile: server"}, `""`},
		{[]string{"mtls", "server"}, "mtls", ReasonProfileUnknown, []string{`no longer has the profile "mtls"`, "allowed: server"}, "did you mean"},
		{[]string{"mtls"}, "mtls", ReasonProfileUnknown, []string{`no longer has the profile "mtls"`, "allowed: no profile", "new grant or token"}, "did you mean"},
		{[]string{"mtls"}, "", ReasonProfileMissing, []string{"allowed: no profile"}, "mtls"},
		{[]string{"mtls", "server"}, "labelled", ReasonProfile, []string{"allowed: server"}, "mtls"},
		{[]string{"mtls", "server"}, "sever", ReasonProfileUnknown, []string{`did you mean "server"?`}, "mtls"},
	} {
		req := ask(t, test.asked, "dns:a.t.x")
		req.Principal = identity.Principal{Method: identity.Token, ID: "t", Bound: &identity.Bound{
			Name: "token:t", Profiles: test.profiles, Owner: "o", Allow: identity.Names{DNS: []string{".t.x"}}}}
		if test.reason == ReasonProfile {
			req.Labels = map[string]string{"purpose": "a", "ticket": "b"}
		}
		_, err := e.Decide(req, now)
		if got := reasons(t, err); len(got) != 1 || got[0] != test.reason {
			t.Errorf("%v, %q: %q", test.profiles, test.asked, got)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v, %q: %v, want %q", test.profiles, test.asked, err, want)
			}
		}
		if strings.Contains(err.Error(), test.not) {
			t.Errorf("%v, %q: %v speaks of %q", test.profiles, test.asked, err, test.not)
		}
	}
}

func TestOwnerIsNoEmailAddress(t *testing.T) {
	const want = "an owner cannot be an email address"
	e := engine(t, `grants:
  - {name: g, principals: [{local_socket: admin}], profiles: [server], allow: {dns: [a.x]}, owners: ["*"]}
`)
	req := ask(t, "server", "dns:a.x")
	req.Owner = "me@a.x"
	_, err := e.Decide(req, now)
	bound := e.CheckBound(identity.Bound{Profiles: []string{"server"}, Owner: "me@a.x", Allow: identity.Names{DNS: []string{"a.x"}}})
	_, parsed := Parse("p.yaml", []byte(base+strings.Replace(grants, "team-a", "me@a.x", 1)))
	for _, err := range []error{err, bound, parsed} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestOnlyProfile: who can have one profile alone need not name it.
func TestOnlyProfile(t *testing.T) {
	e := engine(t, grants+`  - {name: single, principals: [{oidc: "https://one.x", claims: {a: b}}], profiles: [server], allow: {dns: [a.x]}, owner: o}
  - {name: first-of-two, principals: [{oidc: "https://two.x"}], profiles: [server], allow: {dns: [a.x]}, owner: o}
  - {name: second-of-two, principals: [{oidc: "https://two.x"}], profiles: [wild], allow: {dns: [b.x]}, owner: o}
`)
	for issuer, want := range map[string]string{"https://one.x": "server", "https://two.x": "", "https://three.x": ""} {
		p := identity.Principal{Method: identity.OIDC, ID: issuer + "#s", Claims: map[string]any{"iss": issuer, "a": "b"}}
		if got := e.OnlyProfile(p); got != want {
			t.Errorf("%s: %q, want %q", issuer, got, want)
		}
	}
}
