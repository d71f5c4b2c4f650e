package ca

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

// TestPolicyAgainstItsServer: a policy under which the server could not renew its
// own certificate is refused with every reason, and the one in force stays.
func TestPolicyAgainstItsServer(t *testing.T) {
	w := newWorld(t, nil)
	var log bytes.Buffer
	cfg := w.policies.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.System = policy.System{Profile: "server", Names: []identity.Identifier{
		{Type: identity.DNS, Value: "ca.internal"}, {Type: identity.DNS, Value: "localhost"}, {Type: identity.IP, Value: "127.0.0.1"},
	}}
	policies, err := OpenPolicies(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := policies.Engine().Hash()
	change := func(pairs ...string) []byte { return []byte(strings.NewReplacer(pairs...).Replace(testPolicy)) }
	for name, test := range map[string]struct {
		document []byte
		want     []string
	}{
		"key":    {change("[ecdsa-p256]", "[rsa-4096]"), []string{"does not allow a key of ecdsa-p256"}},
		"usages": {change("[server_auth]", "[client_auth]", "[digital_signature]", "[key_agreement]"), []string{"needs server_auth", "needs digital_signature"}},
		"names":  {change("max_names: 5", "max_names: 2"), []string{"too many names: 3"}},
		"lints":  {change("max_names: 5", "lints: [baseline]"), []string{"e_dnsname_not_valid_tld"}},
		"all":    {change("[ecdsa-p256]", "[ed25519]", "[server_auth]", "[client_auth]", "max_names: 5", "max_names: 1"), []string{"ecdsa-p256", "server_auth", "too many names"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policies.Apply(t.Context(), test.document, "local_socket:admin")
			p := problemOf(t, err, problem.Malformed, "SERVER_CERTIFICATE_REFUSED")
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
			for _, v := range p.Violations {
				if !strings.HasPrefix(v.Detail, "the server's own certificate: ") || v.Help == "" || v.Rule == "" {
					t.Errorf("%+v", v)
				}
			}
			if err := policies.Check(test.document); err == nil {
				t.Error("Check takes it")
			}
		})
	}
	if policies.Engine().Hash() != before {
		t.Error("a refused policy is in force")
	}
	// What no caller may have, the server may; a grant for nobody is told.
	fine := change("grants:\n", "deny: {dns: [ca.internal]}\ngrants:\n", "[{local_socket: admin}]", "[{local_socket: admin}, {token: abc}]")
	if _, err := policies.Apply(t.Context(), fine, "local_socket:admin"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "a join token carries its own grant") {
		t.Errorf("the log: %s", &log)
	}
}
