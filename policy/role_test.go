package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

const rolesText = `roles:
  - role: viewer
    principals: [{oidc: "https://idp.x", claims: {groups: staff}}]
  - role: operator
    principals: [{oidc: "https://idp.x", claims: {groups: team-a}}, {mtls: "spiffe://x/ops", claims: {grant: ops}}]
    owners: [team-a]
  - role: operator
    principals: [{oidc: "https://idp.x", claims: {groups: team-b}}]
    owners: [team-b, team-c]
  - role: operator
    principals: [{oidc: "https://idp.x", claims: {groups: pki}}]
  - role: ca-admin
    principals: [{device: yubikeys, claims: {common_name: root}}]
`

func TestWithRoles(t *testing.T) {
	e := engine(t, grants+rolesText)
	requester := []identity.Role{identity.RoleRequester}
	oidc := func(groups ...any) identity.Principal {
		return identity.Principal{Method: identity.OIDC, ID: "https://idp.x#s", Roles: requester, Claims: map[string]any{"iss": "https://idp.x", "groups": groups}}
	}
	certificate := func(grant string) identity.Principal {
		return identity.Principal{Method: identity.MTLS, ID: "f", Claims: map[string]any{"names": []string{"spiffe://x/ops"}, "grant": grant}}
	}
	bound := certificate("ops")
	bound.Bound = &identity.Bound{}
	another := oidc("staff")
	another.Claims["iss"] = "https://idp.x.evil"
	for _, test := range []struct {
		name   string
		p      identity.Principal
		want   string
		limits map[identity.Role][]string
	}{
		{"nobody", oidc("guests"), "requester", nil},
		{"viewer", oidc("staff"), "requester viewer", nil},
		{"another provider", another, "requester", nil},
		{"limited", oidc("team-a"), "requester operator", map[identity.Role][]string{"operator": {"team-a"}}},
		{"limited twice", oidc("team-b", "team-a"), "requester operator", map[identity.Role][]string{"operator": {"team-a", "team-b", "team-c"}}},
		{"limited and not", oidc("pki", "team-a", "team-b"), "requester operator", nil},
		{"a limit is its role's", oidc("staff", "team-a"), "requester viewer operator", map[identity.Role][]string{"operator": {"team-a"}}},
		{"a certificate", certificate("ops"), "operator", map[identity.Role][]string{"operator": {"team-a"}}},
		{"a certificate by another grant", certificate("acme"), "", nil},
		{"a certificate by a token", certificate("token:ops"), "", nil},
		{"a grant of its own", bound, "", nil},
		{"a device", identity.Principal{Method: identity.Device, ID: "f", Claims: map[string]any{"ca": "yubikeys", "common_name": "root"}}, "ca-admin", nil},
		{"another device", identity.Principal{Method: identity.Device, ID: "f", Claims: map[string]any{"ca": "phones", "common_name": "root"}}, "", nil},
		{"an unknown method", identity.Principal{Method: "new", ID: "f", Claims: oidc("pki").Claims}, "", nil},
	} {
		got := e.WithRoles(test.p)
		var names []string
		for _, role := range got.Roles {
			names = append(names, string(role))
		}
		if strings.Join(names, " ") != test.want || !maps.EqualFunc(got.Limits, test.limits, slices.Equal[[]string]) {
			t.Errorf("%s: %v %v, want %s %v", test.name, got.Roles, got.Limits, test.want, test.limits)
		}
	}
	if len(requester) != 1 || cap(requester) != 1 {
		t.Error("a principal's own list was changed")
	}
}

// TestSessionsAndGrants: in a session a caller has its roles, and of the grants
// those that are for these roles.
func TestSessionsAndGrants(t *testing.T) {
	e := engine(t, `grants:
  - {name: workloads, principals: [{oidc: "https://idp.x"}], profiles: [server], allow: {dns: ["a.x"]}, owner: a}
  - {name: requesters, principals: [{role: requester}], profiles: [server], allow: {dns: ["b.x"]}, owner: b}
  - {name: operators, principals: [{role: operator}], profiles: [server], allow: {dns: ["c.x"]}, owner: c}
`+rolesText)
	p := identity.Principal{Method: identity.OIDC, ID: "https://idp.x#s", Roles: []identity.Role{identity.RoleRequester}, Claims: map[string]any{"iss": "https://idp.x", "groups": []any{"pki"}}}
	for session, want := range map[string]string{"": "[workloads requesters operators]", "0a": "[operators]"} {
		p.Session = session
		all, _ := e.grantsOf(identity.Request{Principal: e.WithRoles(p)})
		var names []string
		for _, g := range all {
			names = append(names, g.name)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("session %q: %s, want %s", session, got, want)
		}
	}
}

func TestRolesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{role: admin, principals: [{oidc: "https://a.x", claims: {a: b}}]}`:                     `there is no role "admin"`,
		`{role: requester, principals: [{oidc: "https://a.x", claims: {a: b}}]}`:                 `there is no role "requester"`,
		`{role: viewer, principals: []}`:                                                         "it is for nobody",
		`{role: viewer, principals: [{oidc: "https://a.x"}]}`:                                    "it means everybody",
		`{role: viewer, principals: [{mtls: any, claims: {owner: a}}]}`:                          "by which grant",
		`{role: viewer, principals: [{mtls: a.x}]}`:                                              "by which grant",
		`{role: viewer, principals: [{device: a}]}`:                                              "it means everybody",
		`{role: viewer, principals: [{acme: any}]}`:                                              "not given to callers of this sort",
		`{role: viewer, principals: [{token: a}]}`:                                               "not given to callers of this sort",
		`{role: viewer, principals: [{role: operator}]}`:                                         "not given to callers of this sort",
		`{role: ca-admin, principals: [{oidc: "https://a.x", claims: {a: b}}], owners: [a]}`:     "a ca-admin has no limit",
		`{role: viewer, principals: [{oidc: "https://a.x", claims: {a: b}}], owners: ["a@b.c"]}`: "email",
		`{role: viewer, principals: [{oidc: "https://a.x", claims: {a: b}}], owner: a}`:          `did you mean "owners"?`,
		`{role: viewer, principals: [{oidc: "https://a.x", device: d, claims: {a: b}}]}`:         "one key",
	} {
		_, err := Parse("policy.yaml", []byte(base+grants+"roles: ["+text+"]\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSameRoles(t *testing.T) {
	one, other := engine(t, grants+rolesText), engine(t, grants+strings.Replace(rolesText, "staff", "guests", 1))
	if !one.SameRoles(engine(t, grants+"# a comment\n"+rolesText)) || one.SameRoles(other) || other.SameRoles(engine(t, grants)) {
		t.Error("roles are not told apart")
	}
	// Who changes a grant that a role names changes who has the role.
	ops := `  - {name: ops, principals: [{local_socket: admin}], profiles: [server], allow: {uri: ["spiffe://x/ops"]}, owner: o}
`
	more := strings.Replace(ops, "local_socket: admin", `oidc: "https://idp.x"`, 1)
	if engine(t, grants+ops+rolesText).SameRoles(engine(t, grants+more+rolesText)) {
		t.Error("a grant that a role names was changed")
	}
	if !engine(t, grants+ops+rolesText).SameRoles(engine(t, strings.Replace(grants, "exact.x", "other.x", 1)+ops+rolesText)) {
		t.Error("a grant that no role names counts")
	}
}

func TestSingleUse(t *testing.T) {
	text := `grants:
  - {name: once, principals: [{oidc: "https://ci.x"}], profiles: [server], allow: {dns: [a.x]}, owner: o, single_use: true}
`
	req := ask(t, "server", "dns:a.x")
	req.Principal = identity.Principal{Method: identity.OIDC, ID: "https://ci.x#s", Claims: map[string]any{"iss": "https://ci.x"}}
	if d := expect(t, engine(t, text), req); !d.SingleUse {
		t.Errorf("%+v", d)
	}
	if d := expect(t, engine(t, strings.Replace(text, ", single_use: true", "", 1)), req); d.SingleUse {
		t.Errorf("%+v", d)
	}
	_, err := Parse("policy.yaml", []byte(base+strings.Replace(text, `oidc: "https://ci.x"`, "mtls: any", 1)))
	if err == nil || !strings.Contains(err.Error(), "single_use is for identity tokens") {
		t.Error(err)
	}
}
