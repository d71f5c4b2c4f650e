package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/problem"
)

func TestConditions(t *testing.T) {
	// Each is required of one request, and holds or not.
	tests := []struct {
		require string
		want    string // reason of the denial
	}{
		{"true", ""},
		{"false", ReasonCondition},
		{"request.key.algorithm == 'ECDSA' && request.key.size == 256 && request.key.curve == 'P-256' && request.key.name == 'ecdsa-p256'", ""},
		{"request.names == ['a.x', '10.0.0.1'] && request.dns == ['a.x'] && request.ip == ['10.0.0.1'] && size(request.uri) == 0 && size(request.email) == 0", ""},
		{"request.dns.all(n, n.endsWith('.x'))", ""},
		{"request.labels['team'] == 'a' && 'team' in request.labels", ""},
		{"'purpose' in request.labels", ReasonCondition},
		{"request.labels['purpose'] == 'a'", ReasonConditionError},
		{"request.owner == 'o' && request.profile == 'server' && request.validity == 720 * 3600", ""},
		{"principal.method == 'local_socket' && principal.id == 'admin' && 'ca-admin' in principal.roles", ""},
		{"principal.claims.level > 2 && principal.claims.tags.exists(x, x == 'p')", ""},
		{"principal.claims.none == 1", ReasonConditionError},
		{"!has(principal.claims.none)", ""},
		{"principal.claims.text == 1", ReasonCondition},
		{"principal.claims.text < 1", ReasonConditionError},
		{"profile.name == 'server' && profile.issuer == 'issuing' && profile.kind == 'x509' && !profile.wildcards && profile.max_names == 3 && 'server_auth' in profile.ext_key_usage", ""},
		{"request.key.size / (request.validity - 720 * 3600) == 0", ReasonConditionError},
		{"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, a+b+c+d+e+request.validity > 0)))))", ReasonConditionError},
	}
	for _, test := range tests {
		e := engine(t, `grants:
  - {name: g, principals: [{local_socket: admin}], profiles: [server], allow: {dns: [a.x], ip: [10.0.0.1]}, owner: o}
conditions:
  - {name: c, require: "`+test.require+`", message: "do so"}
  - {name: elsewhere, profiles: [wild], require: "false", message: "not here"}
  - {name: not-now, when: "request.owner != 'o'", require: "false", message: "not now"}
`)
		req := ask(t, "server", "dns:a.x", "ip:10.0.0.1")
		req.Labels = map[string]string{"team": "a"}
		req.Principal.Claims = map[string]any{"level": 3, "tags": []any{"p"}, "text": "t"}
		var want []string
		if test.want != "" {
			want = []string{test.want}
		}
		expect(t, e, req, want...)
	}
}

func TestConditionSpeaksToCaller(t *testing.T) {
	e := engine(t, oneName+`conditions:
  - {name: rsa-needs-purpose, profiles: [server], when: "request.key.algorithm == 'RSA'", require: "'purpose' in request.labels", message: "RSA keys need the label purpose"}
`)
	req := ask(t, "server", "dns:a.x")
	expect(t, e, req)
	req.PublicKey, _ = SamplePublicKey("rsa-2048")
	_, err := e.Decide(req, now)
	var p *problem.Problem
	if !errors.As(err, &p) || len(p.Violations) != 1 {
		t.Fatal(err)
	}
	v := p.Violations[0]
	if v.Reason != ReasonCondition || v.Rule != "condition rsa-needs-purpose" || v.Detail != "RSA keys need the label purpose" || v.Allowed != "'purpose' in request.labels" {
		t.Errorf("%+v", v)
	}
	req.Labels = map[string]string{"purpose": "printer"}
	expect(t, e, req)
}

func TestConditionsRefused(t *testing.T) {
	for _, text := range []string{
		"", "1", "'a'", "request", "request.nothing", "request.key.nothing == 1", "nothing", "request.owner == 1", "request.owner +", "now() == 1",
		"request.dns", "principal.claims", "request.dns.all(n, n)", "request.owner.matches('(')", strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100),
		strings.Repeat("true && ", 1000) + "true",
	} {
		_, err := New(Config{File: "p", WithoutIssuers: true, Data: []byte(base + `conditions:
  - {name: c, require: "` + text + `", message: m}
`)})
		if problem.KindOf(err) != problem.Malformed {
			t.Errorf("condition %.60q: %v", text, err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{File: "p", Data: Default(), WithoutIssuers: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]string{"90d": "2160h", "720h": "720h", "1h30m": "1h30m", "1m": "1m", "0s": "0s", "0": "0s", "61s": "1m1s", "1500ms": "1s500ms", "-1h1m": "-1h1m"} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || d.String() != want {
			t.Errorf("%s is %s (%v), want %s", in, d, err, want)
		}
	}
	for _, in := range []string{"", "1", "d", "1.5d", "1d12h", "1w", "h", "-1d", "999999d", "9999999h1000000000000000h"} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is %s", in, time.Duration(d))
		}
	}
}
