package ca

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

// TestShippedPolicyIssues: every profile of the policy that is shipped issues for
// its own kind of name with each key that it lists, and the simulator says so.
func TestShippedPolicyIssues(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.policies.Apply(t.Context(), policy.Default(), "local_socket:admin"); err != nil {
		t.Fatal(err)
	}
	for _, profile := range w.policies.Engine().Profiles() {
		for _, key := range profile.Keys {
			t.Run(profile.Name+" "+key, func(t *testing.T) {
				req := request(t, "")
				req.Profile = profile.Name
				switch profile.Name {
				case "legacy":
					req.Owner, req.Labels = "team-a", map[string]string{"purpose": "test"}
				case "workload":
					req.Identifiers = []identity.Identifier{{Type: identity.URI, Value: "spiffe://internal/ci/build"}}
				}
				var err error
				if req.PublicKey, err = policy.SamplePublicKey(key); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Preview(t.Context(), req); err != nil {
					t.Errorf("previewed: %v", err)
				}
				issued, err := w.Issue(t.Context(), req, Attach{})
				if err != nil {
					t.Fatal(err)
				}
				cert, err := x509.ParseCertificate(issued.Certificate.DER)
				if err != nil {
					t.Fatal(err)
				}
				want := x509.KeyUsageDigitalSignature
				if _, isRSA := cert.PublicKey.(*rsa.PublicKey); isRSA && profile.Name == "legacy" {
					want |= x509.KeyUsageKeyEncipherment
				}
				if cert.KeyUsage != want {
					t.Errorf("key usage %b, want %b", cert.KeyUsage, want)
				}
			})
		}
	}
	denied := request(t, "")
	denied.Identifiers = []identity.Identifier{{Type: identity.DNS, Value: "ca.internal"}}
	_, err := w.Issue(t.Context(), denied, Attach{})
	if p := problemOf(t, err, problem.Denied, ""); len(p.Violations) != 1 || p.Violations[0].Reason != policy.ReasonNameDenied {
		t.Errorf("%v", err)
	}
}

// TestKeyOfTheCA: no certificate is issued for a key that the CA holds; for the
// server's own to the server only.
func TestKeyOfTheCA(t *testing.T) {
	checkpoint, server := newKey(t), newKey(t)
	w := newWorld(t, func(c *Config) {
		c.Keys = append(c.Keys, checkpoint.Public())
		c.ServerKey = server.Public()
	})
	for name, key := range map[string]any{"issuer": w.signer.Public(), "checkpoint": checkpoint.Public(), "server": server.Public()} {
		req := request(t, "")
		req.PublicKey = key
		_, err := w.Issue(t.Context(), req, Attach{})
		if p := problemOf(t, err, problem.BadCSR, "KEY_OF_THE_CA"); p.Help == "" {
			t.Errorf("%s: %v", name, err)
		}
		if _, previewed := w.Preview(t.Context(), req); fmt.Sprint(previewed) != fmt.Sprint(err) {
			t.Errorf("%s: Preview says %v", name, previewed)
		}
	}
	w.signer.mu.Lock()
	defer w.signer.mu.Unlock()
	if w.signer.count != 0 {
		t.Errorf("%d signatures", w.signer.count)
	}
}

func TestServerKeyIsNoSigningKey(t *testing.T) {
	w := newWorld(t, nil)
	_, err := New(Config{
		Store: w.store, Policy: w.policies.Engine, ServerKey: w.signer.Public(),
		Issuers: []IssuerConfig{{Name: "issuing", Certificate: w.cert, Signer: w.signer}},
	})
	if err == nil {
		t.Error("the server's key is the issuer's")
	}
}
