package policy

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

const renewable = `grants:
  - name: pods
    principals: [{oidc: "https://k8s.x"}, {local_socket: admin}]
    profiles: [server]
    allow:
      dns: ["{claims.kubernetes.io/namespace}.svc.x", "*.{claims.team}.y", fixed.x]
      uri: ["spiffe://x/ns/{claims.kubernetes.io/namespace}/sa/{claims.kubernetes.io/serviceaccount/name}", "spiffe://x/all/{claims.team}/**"]
      email: ["{claims.team}@mail.x"]
    deny: {dns: ["{claims.team}.secret.y", admin.svc.x]}
    owner: "team-{claims.team}"
  - name: choice
    principals: [{mtls: any}]
    profiles: [wild]
    allow: {dns: [c.x]}
    owners: [a, "b-{claims.x}"]
`

// TestRenewal: a renewal is for the names and the owner of its certificate, as
// long as the grant that gave them gives them.
func TestRenewal(t *testing.T) {
	e := engine(t, renewable)
	origin := identity.Origin{Method: identity.OIDC, ID: "https://k8s.x#system:serviceaccount:web:api"}
	for _, test := range []struct {
		grant, profile, owner, names string
		origin                       identity.Origin
		want                         string // reason, and what the detail says
	}{
		{"pods", "server", "team-a", "dns:web.svc.x", origin, ""},
		{"pods", "server", "team-a", "dns:z.a.y dns:fixed.x", origin, ""},
		{"pods", "server", "team-a", "uri:spiffe://x/ns/web/sa/api uri:spiffe://x/all/a/b/c", origin, ""},
		{"pods", "server", "team-a", "email:a@mail.x", origin, ""},
		{"pods", "server", "team-a", "dns:web.svc.x", identity.OriginOf("local_socket:admin"), ""},
		{"choice", "wild", "a", "dns:c.x", identity.OriginOf("mtls:abc"), ""},
		{"choice", "wild", "b-z", "dns:c.x", identity.OriginOf("mtls:abc"), ""},
		{"token:abc", "server", "any", "dns:any.x", identity.OriginOf("token:abc"), ""},
		{"gone", "server", "team-a", "dns:web.svc.x", origin, "no grant"},
		{"system", "server", "certwright", "dns:web.svc.x", identity.OriginOf("system:server"), "no grant"},
		{"token:abc", "server", "any", "dns:any.x", origin, "no grant"},
		{"pods", "wild", "team-a", "dns:web.svc.x", origin, "profile"},
		{"pods", "server", "other-a", "dns:web.svc.x", origin, "owner"},
		{"pods", "server", "", "dns:web.svc.x", origin, "owner"},
		{"choice", "wild", "c", "dns:c.x", identity.OriginOf("mtls:abc"), "owner"},
		{"pods", "server", "team-a", "dns:web.svc.x", identity.OriginOf("oidc:https://k8s.x.evil#s"), "no longer for who"},
		{"pods", "server", "team-a", "dns:web.svc.x", identity.OriginOf("mtls:abc"), "no longer for who"},
		{"pods", "server", "team-a", "dns:web.svc.x", identity.Origin{}, "no longer for who"},
		{"pods", "server", "team-a", "dns:web.svc.z", origin, "no longer allows"},
		{"pods", "server", "team-a", "dns:a.web.svc.x", origin, "no longer allows"},
		{"pods", "server", "team-a", "uri:spiffe://x/ns/web/sa/api/more", origin, "no longer allows"},
		{"pods", "server", "team-a", "uri:spiffe://y/ns/web/sa/api", origin, "no longer allows"},
		{"pods", "server", "team-a", "dns:b.secret.y", origin, "denies"},
		{"pods", "server", "team-a", "dns:admin.svc.x", origin, "denies"},
	} {
		req := ask(t, test.profile, strings.Fields(test.names)...)
		var allow identity.Names
		for _, id := range req.Identifiers {
			switch id.Type {
			case identity.URI:
				allow.URI = append(allow.URI, id.Value)
			case identity.Email:
				allow.Email = append(allow.Email, id.Value)
			default:
				allow.DNS = append(allow.DNS, id.Value)
			}
		}
		req.Principal = identity.Principal{Method: identity.MTLS, ID: "f", Bound: &identity.Bound{
			Name: test.grant, Profiles: []string{test.profile}, Owner: test.owner, Allow: allow, Renews: &test.origin,
		}}
		if test.want == "" {
			if d := expect(t, e, req); d.Grant != test.grant || d.Owner != test.owner {
				t.Errorf("%+v: by %s for %s", test, d.Grant, d.Owner)
			}
			// Nothing but what the certificate has.
			more := req
			more.Identifiers = append(more.Identifiers, identity.Identifier{Type: identity.DNS, Value: "zz.svc.x"})
			expect(t, e, more, ReasonNameNotAllowed)
			more = req
			more.Owner = "another"
			expect(t, e, more, ReasonOwner)
			continue
		}
		_, err := e.Decide(req, now)
		if got := reasons(t, err); len(got) != 1 || got[0] != ReasonGrantGone || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestRenewalUnderDeny: what everybody is denied, and the profile's bounds, hold
// for renewals too.
func TestRenewalUnderDeny(t *testing.T) {
	req := ask(t, "server", "dns:web.svc.x")
	req.Principal = identity.Principal{Method: identity.MTLS, ID: "f", Bound: &identity.Bound{
		Name: "pods", Profiles: []string{"server"}, Owner: "team-a", Allow: identity.Names{DNS: []string{"web.svc.x"}},
		Renews: &identity.Origin{Method: identity.OIDC, ID: "https://k8s.x#s"},
	}}
	expect(t, engine(t, renewable), req)
	expect(t, engine(t, "deny: {dns: [web.svc.x]}\n"+renewable), req, ReasonNameDenied)
	expect(t, engine(t, renewable+"conditions: [{name: c, require: 'false', message: no}]\n"), req, ReasonCondition)
	req.PublicKey, _ = SamplePublicKey("ed25519")
	expect(t, engine(t, renewable), req, ReasonKey)
}
