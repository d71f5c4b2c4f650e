package ocsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage/storagetest"
)

const authorityPolicy = `version: 1
issuers:
  - {name: issuing, key: "file:issuing.key", certificate: issuing.crt}
profiles:
  - name: server
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 24h, max: 48h, backdate: 1m}
    ext_key_usage: [server_auth]
    max_names: 5
grants:
  - name: admin
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: [".internal"]}
    owner: platform
`

// TestWithTheAuthority: the responder certificate comes through the one door, and
// what the authority issues and revokes is what is answered.
func TestWithTheAuthority(t *testing.T) {
	for _, algorithm := range []string{"ecdsa-p256", "rsa-2048", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			authority, responder, issuer, _ := withAuthority(t, newKey(t, algorithm), nil)
			tn := &town{Responder: responder}
			url := tn.serve(t) + "/ocsp"
			issued, err := authority.Issue(t.Context(), identity.Request{
				Kind: identity.X509, Profile: "server", PublicKey: newKey(t, "ecdsa-p256").Public(), Identifiers: storagetest.DNS("svc.internal"),
				Principal: identity.Principal{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
			}, ca.Attach{})
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(issued.Certificate.DER)
			if err != nil {
				t.Fatal(err)
			}
			ask := func() Answer {
				q, err := NewQuestion(leaf, issuer, crypto.SHA1)
				if err != nil {
					t.Fatal(err)
				}
				a, err := q.Ask(t.Context(), http.DefaultClient, url)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			a := ask()
			if _, ec := a.Responder.PublicKey.(*ecdsa.PublicKey); a.Status != "good" || !ec {
				t.Errorf("%+v", a)
			}
			if _, _, err := responder.Staple(t.Context(), issued.Certificate.Issuer, issued.Certificate.Serial); err != nil {
				t.Error(err)
			}
			_, err = authority.Revoke(t.Context(), ca.Revocation{
				Issuer: issued.Certificate.Issuer, Serial: issued.Certificate.Serial, Reason: identity.Superseded, Actor: "local_socket:admin",
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := ask(); a.Status != "revoked" || a.Reason != "superseded" {
				t.Errorf("%+v", a)
			}
			if s := responder.Stats(); s.CacheEntries != 0 {
				t.Errorf("the good answer is still kept: %+v", s)
			}
		})
	}
}

// TestRevokedResponder: a responder whose certificate is revoked signs nothing
// any more; it gets another key and certificate.
func TestRevokedResponder(t *testing.T) {
	authority, responder, _, _ := withAuthority(t, newKey(t, "ecdsa-p256"), nil)
	if err := responder.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := responder.issuers[0].delegated.Load()
	serial, err := identity.SerialFromBig(was.serial)
	if err != nil {
		t.Fatal(err)
	}
	_, err = authority.Revoke(t.Context(), ca.Revocation{
		Issuer: responder.issuers[0].keyID, Serial: serial, Reason: identity.KeyCompromise, Actor: "local_socket:admin",
	})
	if err != nil {
		t.Fatal(err)
	}
	if responder.issuers[0].delegated.Load() != nil {
		t.Error("the revoked responder certificate is still in use")
	}
	if err := responder.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := responder.issuers[0].delegated.Load(); now == nil || now.serial.Cmp(was.serial) == 0 {
		t.Error("there is no other responder certificate")
	}
}

// withAuthority joins an authority and a responder as the server does; the
// configuration makes the authority of another start.
func withAuthority(
	t *testing.T, key crypto.Signer, fault func(ca.Point) error,
) (authority *ca.Authority, responder *Responder, issuer *x509.Certificate, cfg ca.Config) {
	t.Helper()
	now, rootKey, store := time.Now(), newKey(t, "ecdsa-p256"), openStore(t)
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(9, 0, 0), MaxPathLen: 1}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err = x509cert.Intermediate(x509cert.CAConfig{
		CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
	}, key.Public(), root, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyID, err := identity.KeyIDOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	names := storagetest.DNS("localhost")
	policies, err := ca.OpenPolicies(t.Context(), ca.PoliciesConfig{
		Store: store, First: []byte(authorityPolicy), File: "policy.yaml",
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: issuer.NotAfter, Certificate: issuer}},
		System:  policy.System{Names: names, Profile: "server", Responders: 72 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	responder, err = New(Config{
		Store: store, Names: names, Logger: slog.New(slog.DiscardHandler),
		Issuers: []IssuerConfig{{Name: "issuing", Certificate: issuer, Profile: policy.ResponderProfile("issuing")}},
		Issue: func(ctx context.Context, req identity.Request) ([]byte, error) {
			issued, err := authority.Issue(ctx, req, ca.Attach{})
			return issued.Certificate.DER, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg = ca.Config{
		Store: store, Fault: fault, Revoked: func(c ca.Change) { responder.Changed(c.Issuer, c.Serial) },
		Policy: policies.Engine, HTTPBase: "http://ca.test:8080", Server: [8]byte{1}, Logger: slog.New(slog.DiscardHandler),
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: issuer, Signer: key}},
	}
	if authority, err = ca.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := responder.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	return authority, responder, issuer, cfg
}
