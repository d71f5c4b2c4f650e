package api_test

import (
	"fmt"
	"strings"
	"testing"

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
		"oidc:" + a.provider.URL + "#s": true, "device:factory/00": true, "oidc:https://evil.example#s": false, "device:phones/00": false, "mtls:00": false,
	} {
		got, err := client.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{
			Profile: "server", Owner: "o", DnsNames: []string{"a.people.internal"}, Principal: principal,
		})
		if err != nil || got.GetAllowed() != want {
			t.Errorf("%s: %v %v", principal, got, err)
		}
	}
}
