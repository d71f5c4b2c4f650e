package crl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
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
    validity: {default: 1h, max: 48h, backdate: 1m}
    ext_key_usage: [server_auth]
grants:
  - name: admin
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: [".internal"]}
    owner: platform
`

const base = "http://ca.test:8080"

// world is an authority with its lists, over a real store and a clock that can
// be set forward and back.
type world struct {
	*Publisher
	authority *ca.Authority
	store     *bolt.Store
	path      string
	key       *ecdsa.PrivateKey
	root      *x509.Certificate
	rootKey   *ecdsa.PrivateKey
	issuer    *x509.Certificate
	offset    atomic.Int64
	base      string
	fault     func(ca.Point) error
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// testConfig is a Config and the authority's.
type testConfig struct {
	Config
	shards int
}

func newWorld(t testing.TB, change func(*testConfig)) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "ledger.db"), key: newKey(t), rootKey: newKey(t), base: base}
	if err := bolt.Create(w.path); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var err error
	w.root, err = x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(9, 0, 0), MaxPathLen: 1}, w.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	w.issuer, err = x509cert.Intermediate(x509cert.CAConfig{
		CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		URLs: x509cert.URLs{CRL: base + "/ca/root.crl"},
	}, w.key.Public(), w.root, w.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	w.open(t, change)
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

// open starts the server on its files.
func (w *world) open(t testing.TB, change func(*testConfig)) {
	t.Helper()
	var err error
	if w.store, err = bolt.Open(context.WithoutCancel(t.Context()), bolt.Config{Path: w.path, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	keyID, err := identity.KeyIDOf(w.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	policies, err := ca.OpenPolicies(t.Context(), ca.PoliciesConfig{
		Store: w.store, First: []byte(testPolicy), File: "policy.yaml", Now: w.now,
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: w.issuer.NotAfter, Certificate: w.issuer}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig{shards: 4, Config: Config{Store: w.store, RebuildDelay: 50 * time.Millisecond, Now: w.now, Logger: slog.New(slog.DiscardHandler)}}
	if change != nil {
		change(&cfg)
	}
	w.authority, err = ca.New(ca.Config{
		Store: w.store, Policy: policies.Engine, HTTPBase: w.base, Shards: cfg.shards, Server: [8]byte{1},
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: w.issuer, Signer: w.key}},
		Revoked: func(c ca.Change) { w.Publisher.Changed(c) }, Now: w.now, Logger: cfg.Logger,
		Fault: func(p ca.Point) error {
			if w.fault == nil {
				return nil
			}
			return w.fault(p)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Signers = w.authority.CRLSigners()
	if w.Publisher, err = Open(t.Context(), cfg.Config); err != nil {
		t.Fatal(err)
	}
}

// reopen ends the server and starts it again.
func (w *world) reopen(t testing.TB, change func(*testConfig)) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, change)
}

// run runs the publisher until the test ends, or stop is called.
func (w *world) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, publisher := make(chan error, 1), w.Publisher
	go func() { done <- publisher.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (w *world) issue(t testing.TB) storage.Certificate {
	t.Helper()
	got, err := w.authority.Issue(t.Context(), identity.Request{
		Kind: identity.X509, Profile: "server", PublicKey: newKey(t).Public(),
		Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin"},
		Identifiers: []identity.Identifier{{Type: identity.DNS, Value: "svc.internal"}},
	}, ca.Attach{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Certificate
}

func (w *world) revoke(t testing.TB, c storage.Certificate, reason identity.RevocationReason) {
	t.Helper()
	_, err := w.authority.Revoke(t.Context(), ca.Revocation{Issuer: c.Issuer, Serial: c.Serial, Reason: reason, Actor: "local_socket:admin"})
	if err != nil {
		t.Fatal(err)
	}
}

// until polls until the condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%s: not in time", what)
		case <-tick.C:
		}
	}
}

// ready waits until every list is published and nothing is pending.
func (w *world) ready(t testing.TB) {
	t.Helper()
	until(t, "lists", func() bool {
		for _, i := range w.Lists() {
			if i.Number == 0 && !i.TooLong || i.Pending {
				return false
			}
		}
		return true
	})
}

// fetch is a list as a relying party gets it, verified.
func (w *world) fetch(t testing.TB, path string) *x509.RevocationList {
	t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	list, err := x509.ParseRevocationList(rec.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(w.issuer); err != nil {
		t.Fatal(err)
	}
	return list
}

func shardPath(n uint16) string { return "/crl/issuing/" + strconv.Itoa(int(n)) + ".crl" }

// listed is the entry of a certificate; nil: it has none.
func listed(list *x509.RevocationList, c storage.Certificate) *x509.RevocationListEntry {
	for i, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.Serial.Big()) == 0 {
			return &list.RevokedCertificateEntries[i]
		}
	}
	return nil
}

func writePEM(t testing.TB, path, kind string, ders ...[]byte) string {
	t.Helper()
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
