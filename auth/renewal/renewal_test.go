package renewal_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const testPolicy = `version: 1
issuers: [{name: issuing, key: "file:a", certificate: a}]
profiles:
  - name: client
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 100h, max: 200h, backdate: 0s}
    ext_key_usage: [client_auth]
    require_labels: [purpose]
grants:
  - name: hosts
    principals: [{local_socket: admin}, {acme: any}]
    profiles: [client]
    allow: {dns: [".internal"], ip: [10.0.0.0/8], uri: ["spiffe://x/**"], email: ["a@x.internal"]}
    owners: ["*"]
`

// world is a real authority with a clock of its own.
type world struct {
	t         *testing.T
	store     *bolt.Store
	authority *ca.Authority
	engine    *policy.Engine
	tokens    *token.Tokens
	renewals  *renewal.Renewals
	now       time.Time
	issuers   []policy.Issuer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	path := filepath.Join(t.TempDir(), "ledger.db")
	w.must(bolt.Create(path))
	var err error
	w.store, err = bolt.Open(t.Context(), bolt.Config{Path: path, Now: clock})
	w.must(err)
	t.Cleanup(func() { w.must(w.store.Close()) })
	key := w.key()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: w.now.AddDate(-1, 0, 0), NotAfter: w.now.AddDate(20, 0, 0)}, key)
	w.must(err)
	keyID, err := identity.KeyIDOf(key.Public())
	w.must(err)
	w.issuers = []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: root.NotAfter, Certificate: root}}
	w.apply(testPolicy)
	w.authority, err = ca.New(ca.Config{
		Store: w.store, Policy: func() *policy.Engine { return w.engine }, Now: clock, HTTPBase: "http://localhost:8080",
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: root, Signer: key}},
	})
	w.must(err)
	w.tokens = token.New(token.Config{Store: w.store, Now: clock, Check: func(b identity.Bound) error { return w.engine.CheckBound(b) }})
	w.renewals = renewal.New(renewal.Config{
		Store: w.store, Tokens: w.tokens, Policy: func() *policy.Engine { return w.engine }, Grace: time.Hour, Now: clock,
		Labels: func(context.Context, storage.Certificate) (map[string]string, error) {
			return map[string]string{"purpose": "test"}, nil
		},
	})
	return w
}

func (w *world) apply(text string) {
	w.t.Helper()
	var err error
	w.engine, err = policy.New(policy.Config{File: "policy", Data: []byte(text), Issuers: w.issuers})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) key() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return key
}

// issue has a first certificate issued to a principal.
func (w *world) issue(p identity.Principal, names ...identity.Identifier) storage.Certificate {
	w.t.Helper()
	owner := "team"
	if p.Bound != nil {
		owner = p.Bound.Owner
	}
	if len(names) == 0 {
		names = []identity.Identifier{{Type: identity.DNS, Value: "a.internal"}}
	}
	issued, err := w.authority.Issue(w.t.Context(), identity.Request{
		Kind: identity.X509, Profile: "client", Principal: p, Identifiers: names, PublicKey: w.key().Public(), Owner: owner,
		Labels: map[string]string{"purpose": "test"}, Validity: 50 * time.Hour,
	}, ca.Attach{})
	w.must(err)
	return issued.Certificate
}

// renew renews a certificate as its holder.
func (w *world) renew(c storage.Certificate, wish renewal.Wish) (storage.Certificate, error) {
	id := hex.EncodeToString(c.Fingerprint[:])
	if wish.ID == "" {
		wish.ID = id
	}
	req, attach, err := w.renewals.Request(w.t.Context(), identity.Principal{Method: identity.MTLS, ID: id, Roles: []identity.Role{identity.RoleHolder}}, wish)
	if err != nil {
		return storage.Certificate{}, err
	}
	issued, err := w.authority.Issue(w.t.Context(), req, attach)
	return issued.Certificate, err
}

func (w *world) refused(name string, err error, reason string) {
	w.t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) {
		w.t.Errorf("%s: %v, want %s", name, err, reason)
		return
	}
	got := p.Code()
	if len(p.Violations) > 0 {
		got = p.Violations[0].Reason
	}
	if got != reason {
		w.t.Errorf("%s: %v, want %s", name, err, reason)
	}
}

func socket() identity.Principal {
	return identity.Principal{Method: identity.LocalSocket, ID: "admin"}
}

// TestRenew: what comes out is what went in, with a line in the ledger.
func TestRenew(t *testing.T) {
	w := newWorld(t)
	names, err := identity.CanonicalSet([]identity.Identifier{
		{Type: identity.DNS, Value: "a.internal"}, {Type: identity.DNS, Value: "b.internal"}, {Type: identity.IP, Value: "10.0.0.1"},
		{Type: identity.URI, Value: "spiffe://x/a"}, {Type: identity.Email, Value: "a@x.internal"},
	})
	w.must(err)
	first := w.issue(socket(), names...)
	w.now = w.now.Add(30 * time.Hour)
	next, err := w.renew(first, renewal.Wish{})
	w.must(err)
	if next.SPKI != first.SPKI || next.Intent.Owner != "team" || next.Intent.Grant != "hosts" || next.Intent.Profile != "client" || len(next.Names) != 5 ||
		next.Intent.Replaces != first.Fingerprint || len(next.Intent.Labels) != 1 {
		t.Errorf("%+v", next)
	}
	if life := next.NotAfter.Sub(next.NotBefore) + time.Second; life != 50*time.Hour || !next.NotAfter.After(first.NotAfter) {
		t.Errorf("lasts %s", life)
	}
	// A shorter profile shortens what nobody wished for.
	w.apply(strings.NewReplacer("default: 100h", "default: 10h", "max: 200h", "max: 20h").Replace(testPolicy))
	short, err := w.renew(next, renewal.Wish{})
	w.must(err)
	if life := short.NotAfter.Sub(short.NotBefore) + time.Second; life != 20*time.Hour {
		t.Errorf("lasts %s", life)
	}
	_, err = w.renew(next, renewal.Wish{Validity: 30 * time.Hour})
	w.refused("too long", err, policy.ReasonValidity)
}

// TestGrace: after its renewal a certificate can be renewed for a while, and then
// no more; its successor can.
func TestGrace(t *testing.T) {
	w := newWorld(t)
	first := w.issue(socket())
	w.now = w.now.Add(10 * time.Hour)
	second, err := w.renew(first, renewal.Wish{})
	w.must(err)
	w.now = w.now.Add(50 * time.Minute)
	again, err := w.renew(first, renewal.Wish{})
	w.must(err)
	if again.Fingerprint == second.Fingerprint {
		t.Error("another renewal is the same certificate")
	}
	w.now = w.now.Add(11 * time.Minute) // counted from the first renewal
	_, err = w.renew(first, renewal.Wish{})
	w.refused("beyond the grace", err, "CERTIFICATE_REPLACED")
	for _, c := range []storage.Certificate{second, again} {
		if _, err := w.renew(c, renewal.Wish{}); err != nil {
			t.Errorf("a successor: %v", err)
		}
	}
	// A renewal that fails leaves no mark.
	other := w.issue(socket(), identity.Identifier{Type: identity.DNS, Value: "b.internal"})
	w.apply(testPolicy + "conditions: [{name: never, require: 'false', message: no}]\n")
	_, err = w.renew(other, renewal.Wish{})
	w.refused("condition", err, policy.ReasonCondition)
	w.apply(testPolicy)
	w.now = w.now.Add(2 * time.Hour)
	if _, err := w.renew(other, renewal.Wish{}); err != nil {
		t.Error(err)
	}
}

// TestTokensGrant: what a join token gave is renewed when the token has ended, and
// not when it was revoked; also down the line.
func TestTokensGrant(t *testing.T) {
	w := newWorld(t)
	made, _, err := w.tokens.Create(t.Context(), token.Spec{
		Owner: "team-t", Profiles: []string{"client"}, Names: identity.Names{DNS: []string{"t.host"}}, TTL: time.Hour, Creator: "local_socket:admin",
	})
	w.must(err)
	first := w.issue(made.Principal(), identity.Identifier{Type: identity.DNS, Value: "t.host"})
	w.now = w.now.Add(20 * time.Hour)
	second, err := w.renew(first, renewal.Wish{})
	w.must(err)
	if second.Intent.Owner != "team-t" || second.Intent.Grant != "token:"+made.ID {
		t.Errorf("%+v", second.Intent)
	}
	third, err := w.renew(second, renewal.Wish{})
	w.must(err)
	_, err = w.tokens.Revoke(t.Context(), made.ID, "local_socket:admin")
	w.must(err)
	_, err = w.renew(third, renewal.Wish{})
	w.refused("of a revoked token", err, policy.ReasonGrantGone)
}

// TestOrigin: a grant that is taken away from who had the first certificate ends
// the whole line; what came by ACME is ACME's.
func TestOrigin(t *testing.T) {
	w := newWorld(t)
	first := w.issue(socket())
	second, err := w.renew(first, renewal.Wish{})
	w.must(err)
	third, err := w.renew(second, renewal.Wish{})
	w.must(err)
	w.apply(strings.Replace(testPolicy, "{local_socket: admin}", "{mtls: any}", 1))
	for _, c := range []storage.Certificate{second, third} {
		_, err = w.renew(c, renewal.Wish{})
		w.refused("the socket's line", err, policy.ReasonGrantGone)
	}
	w.apply(testPolicy)
	_, err = w.renew(third, renewal.Wish{})
	w.must(err)
	account := w.issue(identity.Principal{Method: identity.ACME, ID: "17"})
	_, err = w.renew(account, renewal.Wish{})
	w.refused("by ACME", err, "RENEW_BY_ACME")
}

func TestHolderAlone(t *testing.T) {
	w := newWorld(t)
	mine, theirs := w.issue(socket()), w.issue(socket())
	id := hex.EncodeToString(mine.Fingerprint[:])
	_, err := w.renew(theirs, renewal.Wish{ID: id})
	w.refused("another's certificate", err, "NOT_THE_HOLDER")
	for _, method := range []identity.Method{identity.Token, identity.OIDC, identity.Device, identity.LocalSocket, ""} {
		_, _, err := w.renewals.Request(t.Context(), identity.Principal{Method: method, ID: id}, renewal.Wish{ID: id})
		w.refused("by "+string(method), err, "NOT_THE_HOLDER")
	}
	key := w.key()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"b.internal"}}, key)
	w.must(err)
	csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	_, err = w.renew(mine, renewal.Wish{CSR: csr})
	w.refused("other names", err, "NAMES_DIFFER")
	_, err = w.authority.Revoke(t.Context(), ca.Revocation{Issuer: mine.Issuer, Serial: mine.Serial, Actor: "local_socket:admin"})
	w.must(err)
	_, err = w.renew(mine, renewal.Wish{})
	w.refused("revoked", err, "CERTIFICATE_REVOKED")
}

// TestMarksAreSwept: marks are kept longer than certificates live, and no longer
// than that.
func TestMarksAreSwept(t *testing.T) {
	w := newWorld(t)
	_, err := w.renew(w.issue(socket()), renewal.Wish{})
	w.must(err)
	sweeper := auth.Sweeper{Store: w.store, Now: func() time.Time { return w.now }}
	left := func() int {
		w.must(sweeper.Sweep(t.Context(), renewal.Collection))
		page, err := w.store.Records(t.Context(), renewal.Collection, "", "", nil, 10)
		w.must(err)
		return len(page.Records)
	}
	if n := left(); n != 1 {
		t.Errorf("%d marks", n)
	}
	w.now = w.now.AddDate(2, 0, 0)
	if n := left(); n != 1 {
		t.Errorf("%d marks after two years", n)
	}
	w.now = w.now.AddDate(1, 0, 0)
	if n := left(); n != 0 {
		t.Errorf("%d marks after three years", n)
	}
}
