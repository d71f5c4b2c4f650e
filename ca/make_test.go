package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const testPolicy = `version: 1
issuers:
  - {name: issuing, key: "file:issuing.key", certificate: issuing.crt}
profiles:
  - name: server
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 24h, max: 48h, backdate: 1m}
    key_usage: [digital_signature]
    ext_key_usage: [server_auth]
    max_names: 5
grants:
  - name: admin
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: [".internal"], ip: [10.0.0.0/8]}
    owner: platform
`

// world is an authority over a real store, with a key that tells what it does.
type world struct {
	*Authority
	store    *bolt.Store
	path     string
	signer   *watchedSigner
	cert     *x509.Certificate
	policies *Policies
	server   [8]byte
}

// watchedSigner is the issuer's key: it calls before each signature and may fail.
type watchedSigner struct {
	crypto.Signer
	mu     sync.Mutex
	count  int
	before func() error
}

func (w *watchedSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	w.mu.Lock()
	w.count++
	before := w.before
	w.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return nil, err
		}
	}
	return w.Signer.Sign(r, digest, opts)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newWorld makes the files of a server; open starts it.
func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "ledger.db"), signer: &watchedSigner{Signer: newKey(t)}, server: [8]byte{1}}
	if err := bolt.Create(w.path); err != nil {
		t.Fatal(err)
	}
	rootKey := newKey(t)
	now := time.Now()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(9, 0, 0), MaxPathLen: 1}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	w.cert, err = x509cert.Intermediate(x509cert.CAConfig{
		CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
	}, w.signer.Public(), root, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	w.open(t, change)
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

// open starts the server on its files: a new incarnation.
func (w *world) open(t testing.TB, change func(*Config)) {
	t.Helper()
	var err error
	if w.store, err = bolt.Open(context.WithoutCancel(t.Context()), bolt.Config{Path: w.path}); err != nil {
		t.Fatal(err)
	}
	keyID, err := identity.KeyIDOf(w.signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.policies, err = OpenPolicies(t.Context(), PoliciesConfig{
		Store: w.store, First: []byte(testPolicy), File: "policy.yaml",
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: w.cert.NotAfter, Certificate: w.cert}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Store: w.store, Policy: w.policies.Engine, HTTPBase: "http://ca.test:8080/", Server: w.server,
		Issuers: []IssuerConfig{{Name: "issuing", Certificate: w.cert, Signer: w.signer}},
		Logger:  slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	if w.Authority, err = New(cfg); err != nil {
		t.Fatal(err)
	}
}

// reopen ends the server and starts it again.
func (w *world) reopen(t testing.TB) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, nil)
}

// request is one that the policy allows.
func request(t testing.TB, id string) identity.Request {
	t.Helper()
	return identity.Request{
		ID: id, Kind: identity.X509, Profile: "server", PublicKey: newKey(t).Public(),
		Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
		Identifiers: []identity.Identifier{{Type: identity.DNS, Value: "svc.internal"}},
	}
}

func (w *world) size(t testing.TB) uint64 {
	t.Helper()
	head, err := w.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head.Size
}

func (w *world) unresolved(t testing.TB) []storage.Certificate {
	t.Helper()
	page, err := w.store.Certificates(t.Context(), storage.Query{Order: storage.ByUnresolved, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return page.Certificates
}

func wantProblem(t testing.TB, err error, kind problem.Kind, reason string) {
	t.Helper()
	_ = problemOf(t, err, kind, reason)
}

// problemOf is the error, which must be a problem of this kind and reason.
func problemOf(t testing.TB, err error, kind problem.Kind, reason string) *problem.Problem {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != kind || reason != "" && p.Reason != reason {
		t.Fatalf("%v, want %s %s", err, kind, reason)
	}
	return p
}

func sameDER(a, b Issued) bool { return bytes.Equal(a.Certificate.DER, b.Certificate.DER) }
