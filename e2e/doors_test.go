package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// ticketCondition is a rule on a label, as an admin would add it.
const ticketCondition = `
  - name: ticket
    profiles: [server]
    require: "'ticket' in request.labels"
    message: "a server certificate needs the label ticket"
`

// broken is what a denial says of a rule.
func broken(v *certwrightv1.Violation) string {
	return fmt.Sprintf("%s; %s; %s", v.GetReason(), v.GetRule(), v.GetDetail())
}

// violationOf is the one broken rule of a gRPC error.
func violationOf(t *testing.T, err error) string {
	t.Helper()
	var all []string
	for _, detail := range status.Convert(err).Details() {
		if v, ok := detail.(*certwrightv1.Violation); ok {
			all = append(all, broken(v))
		}
	}
	if status.Code(err) != codes.PermissionDenied || len(all) != 1 {
		t.Fatalf("not denied for one rule: %v %q", err, all)
	}
	return all[0]
}

// problemOf is the one broken rule of a REST answer.
func problemOf(t *testing.T, code int, header http.Header, body string) string {
	t.Helper()
	var p struct {
		Violations []json.RawMessage `json:"violations"`
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != http.StatusForbidden || len(p.Violations) != 1 ||
		header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not denied for one rule: %d %v\n%s", code, header, body)
	}
	var v certwrightv1.Violation
	check(t, protojson.Unmarshal(p.Violations[0], &v))
	return broken(&v)
}

// TestConditionAtEveryDoor: a condition on a label denies with its message, and
// says the same whichever way the request came.
func TestConditionAtEveryDoor(t *testing.T) {
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	check(t, writeFile(path, strings.TrimRight(s.must(dir, "policy", "show"), "\n")+"\n"+ticketCondition))
	s.must(dir, "policy", "apply", path, "--yes")
	if history := s.must(dir, "policy", "history", "-o", "csv"); !strings.Contains(history, "2,active") {
		t.Errorf("the policy is not version 2:\n%s", history)
	}

	const name = "web.team-a.internal"
	request := func() *certwrightv1.SignCertificateRequest {
		return &certwrightv1.SignCertificateRequest{Csr: csrPEM(t, newKey(t), name), Profile: "server"}
	}
	token := s.token("--uses", "9")
	rest := func(q *certwrightv1.SignCertificateRequest) (int, http.Header, string) {
		body, err := protojson.Marshal(q)
		check(t, err)
		return s.rest("POST", "/v1/certificates:sign", "Bearer "+token, string(body))
	}
	tcp := certwrightv1.NewCertificateServiceClient(s.tcp())
	_, err := tcp.SignCertificate(bearer(token), request())
	want := violationOf(t, err)
	if !strings.Contains(want, "a server certificate needs the label ticket") || !strings.Contains(want, "ticket;") {
		t.Fatalf("the denial does not say the condition's name and message: %q", want)
	}
	same := func(door, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s says %q, gRPC says %q", door, got, want)
		}
	}
	code, header, body := rest(request())
	same("REST", problemOf(t, code, header, body))

	only := request()
	only.ValidateOnly = true
	_, err = tcp.SignCertificate(bearer(token), only)
	same("validate_only", violationOf(t, err))
	code, header, body = rest(only)
	same("validate_only over REST", problemOf(t, code, header, body))

	policies := certwrightv1.NewPolicyServiceClient(s.socket())
	simulated, err := policies.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Profile: "server", DnsNames: []string{"web.internal"}, Key: "ecdsa-p256"})
	check(t, err)
	if simulated.GetAllowed() || len(simulated.GetViolations()) != 1 {
		t.Fatalf("simulated: %v", simulated)
	}
	same("simulate", broken(simulated.GetViolations()[0]))

	// The CLI prints the same three in its own form.
	parts := strings.SplitN(want, "; ", 3)
	line := parts[0] + ": " + parts[2] + "; rule: " + parts[1]
	for _, args := range [][]string{
		{"cert", "issue", "web.internal"}, {"cert", "issue", "web.internal", "--dry-run"},
		{"policy", "simulate", "--profile", "server", "--dns", "web.internal"},
	} {
		if r := s.run(dir, args...); r.code != 4 || strings.Count(r.stderr, line) != 1 {
			t.Errorf("certwright %s: exit %d\n%s\nwant 4 and %q", strings.Join(args, " "), r.code, r.stderr, line)
		}
	}

	// With the label every door opens.
	s.must(dir, "cert", "issue", "web.internal", "--label", "ticket=42")
	s.must(dir, "policy", "simulate", "--profile", "server", "--dns", "web.internal", "--label", "ticket=42")
	labelled := request()
	labelled.Labels = map[string]string{"ticket": "42"}
	if _, err := tcp.SignCertificate(bearer(token), labelled); err != nil {
		t.Error(err)
	}
	labelled = request()
	labelled.Labels = map[string]string{"ticket": "43"}
	code, _, body = rest(labelled)
	var signed certwrightv1.Certificate
	if err := protojson.Unmarshal([]byte(body), &signed); code != http.StatusOK || err != nil {
		t.Fatalf("with the label: %d %v\n%s", code, err, body)
	}
	if c := parsePEM(t, signed.GetPem()); len(c.DNSNames) != 1 || c.DNSNames[0] != name {
		t.Errorf("names %q", c.DNSNames)
	}
}

// TestNoCredentials: without a credential, and with one that is good for
// nothing, REST answers every path that there is alike.
func TestNoCredentials(t *testing.T) {
	s := newServer(t)
	s.start()
	answers := map[string]bool{}
	for _, authorization := range []string{"", "Bearer cwt_garbage", "Bearer ", "Basic YTpi"} {
		for _, path := range []string{"/v1/certificates", "/v1/tokens", "/v1/policy"} {
			code, header, body := s.rest("GET", path, authorization, "")
			var p map[string]any
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%q %s: %d %s", authorization, path, code, body)
			}
			if code != http.StatusUnauthorized || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%q %s: %d %v", authorization, path, code, header)
			}
			answers[fmt.Sprint(p["type"], p["title"], p["status"])] = true
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
}
