package server

import (
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestOwnKeysAndPolicy: the server signs for none of its own keys, and takes no
// policy that would take its certificate away.
func TestOwnKeysAndPolicy(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	conn, err := client.Dial(t.Context(), client.Config{Server: "unix:" + r.Socket})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, key := range map[string]crypto.Signer{"server": r.server.rooms.keys.server, "checkpoint": r.server.rooms.keys.checkpoint} {
		_, err := client.Sign(t.Context(), conn, key, client.ParseNames([]string{"svc.internal"}), &certwrightv1.SignCertificateRequest{Profile: "mtls"})
		if err == nil || !strings.Contains(err.Error(), "one of the CA's own") {
			t.Errorf("%s: %v", name, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(r.config.Data, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	policies := certwrightv1.NewPolicyServiceClient(conn)
	document := strings.Replace(string(data), "ext_key_usage: [server_auth]", "ext_key_usage: [client_auth]", 1)
	check, err := policies.CheckPolicy(t.Context(), &certwrightv1.CheckPolicyRequest{Document: document})
	if err != nil || len(check.GetFindings()) != 1 || !strings.Contains(check.GetFindings()[0].GetDetail(), "a TLS server needs server_auth") {
		t.Errorf("%v, %v", check, err)
	}
	if _, err := policies.ApplyPolicy(t.Context(), &certwrightv1.ApplyPolicyRequest{Document: document}); err == nil {
		t.Error("the policy is in force")
	}
}
