package policy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
)

// examples are the policies of docs/workloads.md, each with the shipped issuers and
// profiles around it.
func examples(t *testing.T) map[string]*Engine {
	t.Helper()
	page, err := os.ReadFile("../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(Default()), "\ngrants:")
	if !ok {
		t.Fatal("the shipped policy has no grants")
	}
	out := map[string]*Engine{}
	for _, m := range regexp.MustCompile("(?s)```yaml policy\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		e, err := New(Config{File: "docs/workloads.md", Data: []byte(head + "\n" + m[1]), WithoutIssuers: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, m[1])
		}
		if warnings := e.Warnings(); len(warnings) > 0 {
			t.Errorf("%q", warnings)
		}
		name := "roles"
		if len(e.Document().Grants) > 0 {
			name = e.Document().Grants[0].Name
		}
		out[name] = e
	}
	return out
}

// TestWorkloadsExamples: the documented grants give the claims of each platform what
// the page says, and not what a claim could make of them.
func TestWorkloadsExamples(t *testing.T) {
	all := examples(t)
	if len(all) != 7 {
		t.Errorf("%d examples", len(all))
	}
	pod := map[string]any{"iss": "https://kubernetes.default.svc.cluster.local", "aud": []any{"certwright"},
		"kubernetes.io/namespace": "web", "kubernetes.io/serviceaccount/name": "api", "sub": "system:serviceaccount:web:api"}
	job := map[string]any{"iss": "https://token.actions.githubusercontent.com", "repository": "octo-org/web", "repository_owner": "octo-org",
		"repository_id": "74", "ref": "refs/heads/main", "environment": "production"}
	lab := map[string]any{"iss": "https://gitlab.internal", "namespace_path": "platform", "namespace_id": "7", "project_id": "42", "ref_protected": "true"}
	kite := map[string]any{"iss": "https://agent.buildkite.com", "organization_slug": "acme", "pipeline_slug": "deploy", "build_branch": "main"}
	service := map[string]any{"iss": "https://idp.internal/realms/services", "aud": "certwright", "department": "platform", "service": "billing"}
	device := map[string]any{"ca": "factory", "host": "d1"}
	for _, test := range []struct {
		grant, name string
		claims      map[string]any
		change      map[string]any
		want        string // owner, or the reason of a denial
	}{
		{"kubernetes", "uri:spiffe://internal/ns/web/sa/api", pod, nil, "k8s-web"},
		{"kubernetes", "dns:api.web.svc.cluster.local", pod, nil, "k8s-web"},
		{"kubernetes", "uri:spiffe://internal/ns/web/sa/db", pod, nil, ReasonNameNotAllowed},
		{"kubernetes", "uri:spiffe://internal/ns/kube-system/sa/api", pod, map[string]any{"kubernetes.io/namespace": "kube-system"}, ReasonNameDenied},
		{"kubernetes", "dns:api.web.svc.cluster.local", pod, map[string]any{"aud": []any{"https://kubernetes.default.svc"}}, ReasonNoGrant},
		{"kubernetes", "dns:x.web.svc.cluster.local", pod, map[string]any{"kubernetes.io/serviceaccount/name": "*"}, ReasonClaim},
		{"kubernetes", "uri:spiffe://internal/ns/web/sa/api/admin", pod, map[string]any{"kubernetes.io/serviceaccount/name": "api/admin"}, ReasonClaim},
		{"kubernetes", "uri:spiffe://internal/ns/web/sa/api", pod, map[string]any{"kubernetes.io/namespace": ".."}, ReasonNameNotAllowed},
		{"kubernetes", "dns:api.evil.web.svc.cluster.local", pod, map[string]any{"kubernetes.io/namespace": "evil.web"}, ReasonClaim},
		{"github-deploy", "uri:spiffe://internal/github/octo-org/74", job, nil, "web"},
		{"github-deploy", "dns:web-deploy.ci.internal", job, nil, "web"},
		{"github-deploy", "dns:web-deploy.ci.internal", job, map[string]any{"ref": "refs/pull/1/merge"}, ReasonNoGrant},
		{"github-deploy", "dns:web-deploy.ci.internal", job, map[string]any{"repository": "octo-org/web2"}, ReasonNoGrant},
		{"github-deploy", "uri:spiffe://internal/github/evil/74", job, nil, ReasonNameNotAllowed},
		{"gitlab-protected", "uri:spiffe://internal/gitlab/7/42", lab, nil, "platform"},
		{"gitlab-protected", "dns:job-42.ci.internal", lab, nil, "platform"},
		{"gitlab-protected", "dns:job-42.ci.internal", lab, map[string]any{"ref_protected": "false"}, ReasonNoGrant},
		{"gitlab-protected", "dns:job-42.ci.internal", lab, map[string]any{"namespace_path": "platform/fork"}, ReasonNoGrant},
		{"buildkite", "uri:spiffe://internal/buildkite/acme/deploy", kite, nil, "bk-deploy"},
		{"buildkite", "uri:spiffe://internal/buildkite/acme/other", kite, nil, ReasonNameNotAllowed},
		{"services", "dns:billing.internal", service, nil, "billing"},
		{"services", "dns:x.billing.internal", service, map[string]any{"service": "x.billing"}, ReasonClaim},
		{"services", "dns:billing.internal", service, map[string]any{"service": "billing,admin"}, ReasonClaim},
		{"services", "dns:billing.internal", service, map[string]any{"service": "billing\n"}, ReasonClaim},
		{"services", "dns:billing.internal", service, map[string]any{"service": ""}, ReasonClaim},
		{"devices", "dns:d1.fleet.internal", device, nil, "fleet"},
		{"devices", "dns:d2.fleet.internal", device, nil, ReasonNameNotAllowed},
	} {
		claims := map[string]any{}
		for _, from := range []map[string]any{test.claims, test.change} {
			for key, value := range from {
				claims[key] = value
			}
		}
		req := ask(t, "mtls", test.name)
		req.Principal = identity.Principal{Method: identity.OIDC, ID: "p", Claims: claims}
		if test.grant == "devices" {
			req.Principal.Method = identity.Device
		}
		d, err := all[test.grant].Decide(req, now)
		got := d.Owner
		if err != nil {
			got = strings.Join(reasons(t, err), " ")
		}
		if got != test.want && !(err != nil && strings.Contains(got, test.want)) {
			t.Errorf("%s %s %v: %s, want %s: %v", test.grant, test.name, test.change, got, test.want, err)
		}
		if single := test.grant == "github-deploy" || test.grant == "gitlab-protected"; err == nil && d.SingleUse != single {
			t.Errorf("%s: single use: %v", test.grant, d.SingleUse)
		}
	}
	p := all["roles"].WithRoles(identity.Principal{Method: identity.OIDC, ID: "p", Claims: map[string]any{"iss": "https://idp.internal", "groups": []any{"team-a-oncall"}}})
	if !p.Has(identity.RoleOperator) || p.Limits[identity.RoleOperator][0] != "team-a" {
		t.Errorf("%+v", p)
	}
}
