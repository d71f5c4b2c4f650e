package api_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestSimulationKnowsTokensAndLints: what the simulator allows, a signature would
// follow: not for a token without a use left or revoked, not where a lint refuses.
func TestSimulationKnowsTokensAndLints(t *testing.T) {
	w := newWorld(t)
	policies, certificates := certwrightv1.NewPolicyServiceClient(w.admin), certwrightv1.NewCertificateServiceClient(w.tcp)
	simulate := func(token, name string) string {
		got, err := policies.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{
			Profile: "server", DnsNames: []string{name}, Principal: "token:" + token})
		w.must(err)
		if got.GetAllowed() == (len(got.GetViolations()) > 0) {
			t.Errorf("%v", got)
		}
		var reasons []string
		for _, v := range got.GetViolations() {
			reasons = append(reasons, v.GetReason())
		}
		return strings.Join(reasons, " ")
	}
	id, secret := w.token(1)
	if got := simulate(id, "a.team-a.internal"); got != "" {
		t.Errorf("a new token: %s", got)
	}
	_, err := certificates.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal"), Profile: "server"})
	w.must(err)
	if got := simulate(id, "a.team-a.internal"); got != "TOKEN_SPENT" {
		t.Errorf("a spent token: %s", got)
	}
	if got := simulate(id, "evil.example.com"); got != "TOKEN_SPENT NAME_NOT_ALLOWED" {
		t.Errorf("a spent token for another name: %s", got)
	}
	other, _ := w.token(1)
	_, err = w.tokens.Revoke(t.Context(), other, "local_socket:admin")
	w.must(err)
	if got := simulate(other, "a.team-a.internal"); got != "TOKEN_REVOKED" {
		t.Errorf("a revoked token: %s", got)
	}
	strict := strings.Replace(testPolicy, "max_names: 20", "lints: [baseline]", 1)
	_, err = policies.ApplyPolicy(t.Context(), &certwrightv1.ApplyPolicyRequest{Document: strict})
	w.must(err)
	third, secret := w.token(1)
	if got := simulate(third, "a.team-a.internal"); !strings.HasPrefix(got, "LINT") {
		t.Errorf("a name that a lint refuses: %s", got)
	}
	_, err = certificates.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal"), Profile: "server"})
	details := fmt.Sprint(status.Convert(err).Details())
	if !strings.Contains(details, "POLICY_DENIED") || !strings.Contains(details, "e_dnsname_not_valid_tld") {
		t.Errorf("signed: %v, %s", err, details)
	}
}

// TestSimulationOfOthers: a provider's subject and a device are told from their IDs.
func TestSimulationOfOthers(t *testing.T) {
	a := newAccessWorld(t)
	client := certwrightv1.NewPolicyServiceClient(a.admin)
	for principal, want := range map[string]bool{
		"oidc:" + a.provider.URL + "#s": true, "device:factory/00": true, "mtls:00": false,
	} {
		got, err := client.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{
			Profile: "server", Owner: "o", DnsNames: []string{"a.people.internal"}, Principal: principal,
		})
		if err != nil || got.GetAllowed() != want {
			t.Errorf("%s: %v %v", principal, got, err)
		}
	}
	// Nobody comes from what is not configured, and what is configured is named.
	for principal, known := range map[string]string{
		"oidc:https://evil.example#s": a.provider.URL, "oidc:" + a.provider.URL + "/#s": a.provider.URL, "device:phones/00": "factory",
	} {
		_, err := client.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Profile: "server", DnsNames: []string{"a.people.internal"}, Principal: principal})
		if status.Code(err) != codes.NotFound || reason(err) != "NOT_CONFIGURED" || !strings.Contains(fmt.Sprint(status.Convert(err).Details()), known) {
			t.Errorf("%s: %v", principal, err)
		}
	}
	plain := newWorld(t)
	_, err := certwrightv1.NewPolicyServiceClient(plain.admin).SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Principal: "oidc:https://idp.x#s"})
	if !strings.Contains(fmt.Sprint(err), "no identity provider is configured here") {
		t.Errorf("without providers: %v", err)
	}
}

// TestSimulatedRoles: which roles claims give, and what the grants then give.
func TestSimulatedRoles(t *testing.T) {
	a := newAccessWorld(t)
	client := certwrightv1.NewPolicyServiceClient(a.admin)
	claim := func(pairs ...string) (out []*certwrightv1.Claim) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, &certwrightv1.Claim{Name: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	who := "oidc:" + a.provider.URL + "#s"
	if got, err := client.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Principal: who, Claims: claim("groups", "auditor")}); err != nil || len(got.GetRoles()) != 2 || got.GetPrincipal() != who || got.GetAllowed() || len(got.GetViolations()) != 0 {
		t.Errorf("without a name: %v %v", got, err)
	}
	for _, test := range []struct {
		principal string
		claims    []*certwrightv1.Claim
		want      string // roles, or the reason of a refusal
	}{
		{who, nil, "requester"},
		{who, claim("groups", "auditor"), "requester auditor"},
		{who, claim("groups", "auditor", "groups", "operator", "groups", "none"), "requester auditor operator"},
		{who, claim("groups", "limited"), "requester viewer[team-a] auditor[team-a] operator[team-a] policy-admin[team-a]"},
		{who, claim("iss", "https://evil.example", "groups", "auditor"), "requester auditor"},
		{"oidc:https://evil.example#s", claim("iss", a.provider.URL, "groups", "auditor"), "NOT_CONFIGURED"},
		{"device:factory/00", claim("common_name", "x"), "requester"},
		{"local_socket:admin", nil, "ca-admin"},
		{"local_socket:admin", claim("groups", "auditor"), "FIELD_INVALID"},
		{who, claim("groups", ""), "FIELD_INVALID"},
		{who, claim("", "x"), "FIELD_INVALID"},
		{who, claim(strings.Split(strings.Repeat("a b ", 101), " ")[:202]...), "FIELD_INVALID"},
	} {
		got, err := client.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{
			Profile: "server", Owner: "o", DnsNames: []string{"a.people.internal"}, Principal: test.principal, Claims: test.claims,
		})
		var roles []string
		for _, r := range got.GetRoles() {
			text := r.GetRole()
			if len(r.GetOwners()) > 0 {
				text += fmt.Sprint(r.GetOwners())
			}
			roles = append(roles, text)
		}
		if text := strings.Join(roles, " "); err == nil && text != test.want || err != nil && reason(err) != test.want {
			t.Errorf("%s %v: %s %v, want %s", test.principal, test.claims, text, err, test.want)
		}
	}
}
