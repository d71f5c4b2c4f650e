package policy

import (
	"slices"
	"testing"
	"time"
)

func TestDefault(t *testing.T) {
	e, err := New(Config{File: "default.yaml", Data: Default(), Issuers: []Issuer{{Name: "issuing", NotAfter: now.AddDate(10, 0, 0)}}})
	if err != nil {
		t.Fatal(err)
	}
	cases, err := ParseCases("cases.yaml", []byte(`
- {name: first steps, principal: {local_socket: admin}, profile: server, names: {dns: [svc.internal]}, expect: allow}
- {name: localhost, principal: {local_socket: admin}, profile: server, names: {dns: [localhost], ip: [127.0.0.1, "::1"]}, expect: allow}
- {name: a stranger's name, principal: {local_socket: admin}, profile: server, names: {dns: [evil.example.com]}, expect: deny, reasons: [NAME_NOT_ALLOWED]}
- {name: our own name, principal: {local_socket: admin}, profile: server, names: {dns: [ca.internal]}, expect: deny, reasons: [NAME_DENIED]}
- {name: 90 days, principal: {local_socket: admin}, profile: server, names: {dns: [a.internal]}, validity: 90d, expect: allow}
- {name: 91 days, principal: {local_socket: admin}, profile: server, names: {dns: [a.internal]}, validity: 91d, expect: deny, reasons: [VALIDITY_TOO_LONG]}
- {name: wildcard, principal: {local_socket: admin}, profile: server, names: {dns: ["*.svc.internal"]}, expect: deny, reasons: [WILDCARD_NOT_ALLOWED]}
- {name: rsa, principal: {local_socket: admin}, profile: server, names: {dns: [a.internal]}, key: rsa-2048, expect: allow}
- {name: ed25519, principal: {local_socket: admin}, profile: server, names: {dns: [a.internal]}, key: ed25519, expect: deny, reasons: [KEY_NOT_ALLOWED]}
- {name: legacy in full, principal: {local_socket: admin}, profile: legacy, names: {dns: [printer.internal]}, owner: facility, labels: {purpose: printer}, validity: 365d, expect: allow}
- {name: legacy without owner and purpose, principal: {local_socket: admin}, profile: legacy, names: {dns: [printer.internal]}, expect: deny, reasons: [LABEL_MISSING, OWNER_MISSING]}
- {name: legacy with a weak key, principal: {local_socket: admin}, profile: legacy, names: {dns: [printer.internal]}, key: rsa-2048, owner: facility, labels: {purpose: printer}, validity: 365d, expect: deny, reasons: [CONDITION_FAILED]}
- {name: workload, principal: {local_socket: admin}, profile: workload, names: {uri: ["spiffe://internal/web"]}, expect: allow}
- {name: workload for long, principal: {local_socket: admin}, profile: workload, names: {uri: ["spiffe://internal/web"]}, validity: 61m, expect: deny, reasons: [VALIDITY_TOO_LONG]}
- {name: mtls, principal: {local_socket: admin}, profile: mtls, names: {dns: [web.internal]}, key: ed25519, expect: allow}
- {name: nobody, principal: {oidc: "https://ci.internal", claims: {sub: x}}, profile: server, names: {dns: [svc.internal]}, expect: deny, reasons: [NO_GRANT, PROFILE_NOT_GRANTED]}
- {name: no name, principal: {local_socket: admin}, profile: server, names: {dns: ["a_b"]}, expect: deny, reasons: [NAME_MALFORMED]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Test(cases, now) {
		switch {
		case r.Case.Name == "nobody":
			if len(r.Differences) != 1 {
				t.Errorf("%s: %q", r.Case.Name, r.Differences)
			}
		case len(r.Differences) > 0:
			t.Errorf("%s: %q: %v", r.Case.Name, r.Differences, r.Err)
		case r.Case.Name == "first steps" && (r.Decision.Owner != "platform" || r.Decision.Grant != "local-admin" || r.Decision.NotAfter.Sub(now) > 90*24*time.Hour):
			t.Errorf("%+v", r.Decision)
		}
	}
}

func TestDifferences(t *testing.T) {
	e := engine(t, oneName)
	cases, err := ParseCases("cases.yaml", []byte(`
- {name: a, principal: {local_socket: admin}, profile: server, names: {dns: [a.x]}, expect: deny}
- {name: b, principal: {local_socket: admin}, profile: server, names: {dns: [b.x]}, expect: allow}
- {name: c, principal: {local_socket: admin}, profile: server, names: {dns: [b.x]}, expect: deny, reasons: [KEY_NOT_ALLOWED]}
- {name: d, principal: {local_socket: admin}, profile: server, names: {dns: [b.x]}, expect: deny}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"it is allowed, and expected to be denied"},
		{"it is denied (NAME_NOT_ALLOWED), and expected to be allowed"},
		{"it is not denied for KEY_NOT_ALLOWED", "it is also denied for NAME_NOT_ALLOWED"},
		nil,
	}
	for i, r := range e.Test(cases, now) {
		if !slices.Equal(r.Differences, want[i]) {
			t.Errorf("%s: %q, want %q", r.Case.Name, r.Differences, want[i])
		}
	}
}

func TestCasesRefused(t *testing.T) {
	_, err := ParseCases("p.yaml", []byte(`
- {principal: {local_socket: admin}, expect: maybe, profil: x}
- {name: a, principal: {local_socket: admin, token: t}, expect: allow, reasons: [X], names: {dns: ["a_b"]}, key: dsa}
`))
	want := []string{"2 UNKNOWN_KEY [0].profil", "2 INVALID_VALUE [0].expect", "2 INVALID_VALUE [0].name",
		"3 INVALID_VALUE [1].reasons", "3 INVALID_VALUE [1].principal", "3 INVALID_VALUE [1]"}
	got := faults(t, err)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if cases, err := ParseCases("p.yaml", nil); err != nil || len(cases) != 0 {
		t.Errorf("an empty file: %v %v", cases, err)
	}
}
