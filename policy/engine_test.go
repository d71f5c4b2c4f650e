package policy

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// now is the time of all decisions here; not a whole second.
var now = time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)

// base is a document that tests extend.
const base = `version: 1
issuers:
  - {name: issuing, key: "file:k", certificate: c}
profiles:
  - name: server
    issuer: issuing
    keys: [ecdsa-p256, rsa-2048]
    validity: {default: 720h, max: 2160h, backdate: 1m}
    ext_key_usage: [server_auth]
    max_names: 3
  - name: wild
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 1h}
    ext_key_usage: [server_auth]
    wildcards: true
  - name: labelled
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 1h}
    ext_key_usage: [server_auth]
    require_labels: [purpose, ticket]
`

func engine(t testing.TB, rest string) *Engine {
	t.Helper()
	e, err := New(Config{File: "policy.yaml", Data: []byte(base + rest), Issuers: []Issuer{{Name: "issuing", NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var admin = identity.Principal{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}}

// ask makes a request of the admin for names such as "dns:a.x".
func ask(t testing.TB, profile string, names ...string) identity.Request {
	t.Helper()
	key, err := SamplePublicKey("ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	req := identity.Request{Kind: identity.X509, Profile: profile, Principal: admin, PublicKey: key}
	for _, name := range names {
		kind, value, _ := strings.Cut(name, ":")
		req.Identifiers = append(req.Identifiers, identity.Identifier{Type: identity.IdentifierType(kind), Value: value})
	}
	return req
}

// reasons are the codes of a denial, each once, sorted; none if it is no denial.
func reasons(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Denied || len(p.Violations) == 0 {
		t.Fatalf("not a denial with violations: %v", err)
	}
	var all []string
	for _, v := range p.Violations {
		if v.Rule == "" || v.Detail == "" {
			t.Errorf("a violation without rule or detail: %+v", v)
		}
		all = append(all, v.Reason)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func expect(t testing.TB, e *Engine, req identity.Request, want ...string) Decision {
	t.Helper()
	d, err := e.Decide(req, now)
	slices.Sort(want)
	if got := reasons(t, err); !slices.Equal(got, want) {
		t.Errorf("%v for %s: %q, want %q: %v", req.Identifiers, req.Principal, got, want, err)
	}
	if err != nil && !(d.Grant == "" && d.NotAfter.IsZero() && d.Profile.Name == "") {
		t.Errorf("a denial comes with a decision: %+v", d)
	}
	return d
}

const grants = `grants:
  - name: one
    principals: [{local_socket: admin}]
    profiles: [server, wild]
    allow: {dns: [exact.x, "*.one.x", .deep.x], ip: [10.0.0.0/8, "fd00::/8", 192.168.1.1]}
    deny: {dns: [ca.one.x, .secret.deep.x], ip: [10.9.0.0/16]}
    owner: team-a
  - name: two
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: [two.x, ca.one.x]}
    owners: [team-b, team-c]
  - name: other
    principals: [{mtls: any}]
    profiles: [labelled]
    allow: {dns: [hidden.x]}
    owner: team-hidden
`

func TestNames(t *testing.T) {
	e := engine(t, grants)
	tests := []struct {
		name string
		want []string
	}{
		{"dns:exact.x", nil},
		{"dns:a.exact.x", []string{ReasonNameNotAllowed}},
		{"dns:x", []string{ReasonNameNotAllowed}},
		{"dns:a.one.x", nil},
		{"dns:one.x", []string{ReasonNameNotAllowed}},
		{"dns:a.b.one.x", []string{ReasonNameNotAllowed}},
		{"dns:aone.x", []string{ReasonNameNotAllowed}},
		{"dns:a.deep.x", nil},
		{"dns:a.b.c.d.deep.x", nil},
		{"dns:deep.x", []string{ReasonNameNotAllowed}},
		{"dns:adeep.x", []string{ReasonNameNotAllowed}},
		{"dns:deep.x.evil", []string{ReasonNameNotAllowed}},
		{"dns:a.secret.deep.x", []string{ReasonNameDenied}},
		{"dns:a.b.secret.deep.x", []string{ReasonNameDenied}},
		{"dns:secret.deep.x", nil},
		{"dns:ca.one.x", []string{ReasonNameDenied}},
		{"ip:10.1.2.3", nil},
		{"ip:11.1.2.3", []string{ReasonNameNotAllowed}},
		{"ip:10.9.0.1", []string{ReasonNameDenied}},
		{"ip:192.168.1.1", nil},
		{"ip:192.168.1.2", []string{ReasonNameNotAllowed}},
		{"ip:fd00::1", nil},
		{"ip:fe80::1", []string{ReasonNameNotAllowed}},
		{"uri:https://exact.x/", []string{ReasonNameNotAllowed}},
		{"email:a@exact.x", []string{ReasonNameNotAllowed}},
		{"dns:*.one.x", []string{ReasonWildcard, ReasonNameDenied}},
		{"dns:*.a.one.x", []string{ReasonWildcard, ReasonNameNotAllowed}},
		{"dns:EXACT.x", []string{ReasonNameMalformed}},
		{"dns:exact.x.", []string{ReasonNameMalformed, ReasonNameNotAllowed, ReasonNameDenied}},
		{"other:exact.x", []string{ReasonNameMalformed, ReasonNameNotAllowed, ReasonNameDenied}},
	}
	for _, test := range tests {
		d, err := e.Decide(ask(t, "server", test.name), now)
		got := reasons(t, err)
		got = slices.DeleteFunc(got, func(r string) bool { return r == ReasonOwnerMissing })
		slices.Sort(test.want)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if err == nil && (d.Grant != "one" || d.Owner != "team-a") {
			t.Errorf("%s: by grant %s for %s", test.name, d.Grant, d.Owner)
		}
	}
}

func TestWildcards(t *testing.T) {
	e := engine(t, grants)
	expect(t, e, ask(t, "wild", "dns:*.a.deep.x"))
	expect(t, e, ask(t, "wild", "dns:*.deep.x"))
	expect(t, e, ask(t, "wild", "dns:*.one.x"), ReasonNameDenied) // it would stand for ca.one.x
	expect(t, e, ask(t, "wild", "dns:*.x"), ReasonNameNotAllowed)
	expect(t, e, ask(t, "wild", "dns:*.secret.deep.x"), ReasonNameDenied)
	expect(t, e, ask(t, "wild", "dns:*.exact.x"), ReasonNameNotAllowed)
}

func TestOneGrantCoversAll(t *testing.T) {
	e := engine(t, grants)
	req := ask(t, "server", "dns:exact.x", "dns:two.x")
	expect(t, e, req, ReasonNameNotAllowed)
	req = ask(t, "server", "dns:two.x")
	expect(t, e, req, ReasonNameNotAllowed) // the nearest grants break one rule each: the first is told
	req.Owner = "team-b"
	if d := expect(t, e, req); d.Grant != "two" || d.Owner != "team-b" {
		t.Errorf("by grant %s for %s", d.Grant, d.Owner)
	}
	req.Owner = "team-a"
	expect(t, e, req, ReasonNameNotAllowed)
	req = ask(t, "server", "dns:ca.one.x") // allowed by two, denied by one
	req.Owner = "team-b"
	expect(t, e, req, ReasonNameDenied)
}

func TestOwner(t *testing.T) {
	e := engine(t, grants+`
  - name: any-owner
    principals: [{mtls: m}]
    profiles: [server]
    allow: {dns: [m.x]}
    owners: ["*"]
`)
	req := ask(t, "server", "dns:exact.x")
	req.Owner = "team-a"
	expect(t, e, req)
	req.Owner = "team-z"
	expect(t, e, req, ReasonOwner)
	req.Owner = "team a\n"
	expect(t, e, req, ReasonOwnerMalformed)
	req = ask(t, "server", "dns:m.x")
	req.Principal = identity.Principal{Method: identity.MTLS, ID: "m"}
	expect(t, e, req, ReasonOwnerMissing)
	req.Owner = "whoever"
	if d := expect(t, e, req); d.Owner != "whoever" {
		t.Errorf("owner %s", d.Owner)
	}
}

func TestNoGrant(t *testing.T) {
	e := engine(t, grants)
	for _, p := range []identity.Principal{
		{}, {Method: identity.LocalSocket}, {Method: identity.LocalSocket, ID: "other"}, {Method: identity.Token, ID: "admin"},
		{Method: "unknown", ID: "admin", Roles: []identity.Role{identity.RoleAdmin}}, {Method: identity.System, ID: "server"},
		{Method: identity.System, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
	} {
		req := ask(t, "server", "dns:exact.x")
		req.Principal = p
		_, err := e.Decide(req, now)
		if got := reasons(t, err); !slices.Equal(got, []string{ReasonNoGrant}) {
			t.Errorf("%q: %q", p, got)
		}
		if strings.Contains(err.Error(), "team-") || strings.Contains(err.Error(), "one.x") {
			t.Errorf("%q is told of others' grants: %v", p, err)
		}
	}
	_, err := e.Decide(ask(t, "labelled", "dns:hidden.x"), now)
	if got := reasons(t, err); !slices.Contains(got, ReasonProfile) || strings.Contains(err.Error(), "team-hidden") {
		t.Errorf("a profile of another's grant: %v", err)
	}
	_, err = e.Decide(ask(t, "sever", "dns:hidden.x"), now)
	if got := reasons(t, err); !slices.Contains(got, ReasonProfileUnknown) || !strings.Contains(err.Error(), `did you mean "server"?`) || strings.Contains(err.Error(), "labelled") {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestAllRulesAtOnce(t *testing.T) {
	e := engine(t, grants)
	req := ask(t, "server", "dns:*.evil.y", "dns:ca.one.x", "ip:1.2.3.4", "uri:https://a.x/")
	req.Kind, req.Validity, req.Owner = "ssh", 9999*time.Hour, "evil"
	req.PublicKey, _ = SamplePublicKey("ed25519")
	expect(t, e, req, ReasonKind, ReasonTooManyNames, ReasonWildcard, ReasonKey, ReasonValidity,
		ReasonNameDenied, ReasonOwner, ReasonNameNotAllowed)
	expect(t, e, ask(t, "server"), ReasonNamesMissing)
}

func TestLabels(t *testing.T) {
	e := engine(t, `grants:
  - {name: g, principals: [{local_socket: admin}], profiles: [labelled], allow: {dns: [a.x]}, owner: o}
`)
	req := ask(t, "labelled", "dns:a.x")
	expect(t, e, req, ReasonLabelMissing)
	req.Labels = map[string]string{"purpose": "p", "ticket": " "}
	expect(t, e, req, ReasonLabelMissing)
	req.Labels["ticket"] = "t"
	expect(t, e, req)
	for _, label := range []string{"", "a b", "-", strings.Repeat("a", 64)} {
		req.Labels[label] = "v"
		expect(t, e, req, ReasonLabelMalformed)
		delete(req.Labels, label)
	}
	for _, value := range []string{"a\nb", "\x1b[0m", strings.Repeat("a", 257), "\xff"} {
		req.Labels["note"] = value
		expect(t, e, req, ReasonLabelMalformed)
	}
}

func TestBound(t *testing.T) {
	e := engine(t, grants)
	bound := &identity.Bound{Name: "token:t", Profiles: []string{"server"}, Owner: "team-t",
		Allow: identity.Names{DNS: []string{"*.t.x"}}, Deny: identity.Names{DNS: []string{"no.t.x"}}}
	by := func(b *identity.Bound, profile string, names ...string) identity.Request {
		req := ask(t, profile, names...)
		req.Principal.Bound = b // also over the socket: the grant of the credential is the only one
		return req
	}
	if d := expect(t, e, by(bound, "server", "dns:a.t.x")); d.Grant != "token:t" || d.Owner != "team-t" {
		t.Errorf("by %s for %s", d.Grant, d.Owner)
	}
	expect(t, e, by(bound, "server", "dns:exact.x"), ReasonNameNotAllowed)
	expect(t, e, by(bound, "server", "dns:no.t.x"), ReasonNameDenied)
	expect(t, e, by(bound, "wild", "dns:a.t.x"), ReasonProfile)
	expect(t, e, by(&identity.Bound{}, "server", "dns:exact.x"), ReasonProfile)
	ownerless := *bound
	ownerless.Owner = ""
	expect(t, e, by(&ownerless, "server", "dns:a.t.x"), ReasonOwnerMissing)
	broken := *bound
	broken.Allow.DNS = []string{"*"}
	expect(t, e, by(&broken, "server", "dns:a.t.x"), ReasonNoGrant)
	if err := e.CheckBound(*bound); err != nil {
		t.Error(err)
	}
	err := e.CheckBound(identity.Bound{Profiles: []string{"servr"}, Owner: "a b", Allow: identity.Names{DNS: []string{"*"}, IP: []string{"10.0.0.1/8"}}})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Malformed || len(p.Violations) != 4 {
		t.Errorf("4 faults of a bound grant: %v", err)
	}
}

func TestSystem(t *testing.T) {
	data := base + grants + `conditions:
  - {name: never, require: "false", message: "nothing is allowed"}
`
	cfg := Config{File: "p", Data: []byte(data), Issuers: []Issuer{{Name: "issuing", NotAfter: now.AddDate(1, 0, 0)}},
		System: System{Profile: "labelled", Names: []identity.Identifier{{Type: identity.DNS, Value: "localhost"}}}}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	req := ask(t, "labelled", "dns:localhost")
	req.Principal = identity.Principal{Method: identity.System, ID: "server"}
	if d := expect(t, e, req); d.Grant != "system" || d.Owner != "certwright" {
		t.Errorf("by %s for %s", d.Grant, d.Owner)
	}
	req.Identifiers[0].Value = "a.localhost"
	expect(t, e, req, ReasonNameNotAllowed)
	req.Identifiers[0].Value, req.Profile = "localhost", "server"
	expect(t, e, req, ReasonProfile)
	req.Profile, req.Principal.ID = "labelled", "client"
	expect(t, e, req, ReasonNoGrant)
	cfg.System.Profile = "gone"
	if _, err := New(cfg); problem.KindOf(err) != problem.Malformed {
		t.Errorf("a policy without the server's profile: %v", err)
	}
}

// TestResponderProfiles: the built-in profiles are the server's alone.
func TestResponderProfiles(t *testing.T) {
	cfg := Config{File: "p", Data: []byte(base + grants), Issuers: []Issuer{{Name: "issuing", NotAfter: now.AddDate(1, 0, 0)}},
		System: System{Profile: "server", Names: []identity.Identifier{{Type: identity.DNS, Value: "localhost"}}, Responders: 72 * time.Hour}}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	name := ResponderProfile("issuing")
	req := ask(t, name, "dns:localhost")
	req.Principal = identity.Principal{Method: identity.System, ID: "server"}
	if d := expect(t, e, req); d.Issuer != "issuing" || d.Profile.ExtKeyUsage[0] != "ocsp_signing" || d.NotAfter.Sub(d.NotBefore) >= 72*time.Hour {
		t.Errorf("%+v", d)
	}
	for _, p := range []identity.Principal{
		{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
		{Method: identity.Token, ID: "t", Bound: &identity.Bound{Name: "token:t", Profiles: []string{name}, Owner: "o", Allow: identity.Names{DNS: []string{"localhost"}}}},
		{Method: identity.System, ID: "other"},
	} {
		req.Principal = p
		if _, err := e.Decide(req, now); problem.KindOf(err) != problem.Denied {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := e.CheckBound(identity.Bound{Profiles: []string{name}, Owner: "o", Allow: identity.Names{DNS: []string{"x"}}}); err == nil {
		t.Error("a token may carry the responders' profile")
	}
	if _, ok := e.Profile(name); ok {
		t.Error("the responders' profile is listed")
	}
	req.Principal = identity.Principal{Method: identity.System, ID: "server"}
	cfg.System.Responders = 0
	if e, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	expect(t, e, req, ReasonProfileUnknown)
}

func TestEngineIsStable(t *testing.T) {
	e := engine(t, grants)
	data := e.Data()
	data[0] = 'x'
	if e.Data()[0] == 'x' || e.Hash() == ([32]byte{}) || len(e.Profiles()) != 3 || e.Document().Version != 1 {
		t.Error("the engine can be changed from outside, or misses its document")
	}
	if _, ok := e.Profile("none"); ok {
		t.Error("there is a profile that is not there")
	}
	req := ask(t, "server", "dns:exact.x")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if d, err := e.Decide(req, now); err != nil || d.Policy != e.Hash() {
					t.Errorf("%+v %v", d, err)
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkDecide(b *testing.B) {
	e := engine(b, grants+`conditions:
  - {name: c, when: "request.key.algorithm == 'RSA'", require: "'purpose' in request.labels", message: "RSA keys need the label purpose"}
`)
	req := ask(b, "server", "dns:a.b.c.deep.x", "ip:10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Decide(req, now); err != nil {
			b.Fatal(err)
		}
	}
}
