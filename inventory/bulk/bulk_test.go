package bulk

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/merkle/entry"
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
    ext_key_usage: [server_auth]
  - name: client
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 24h, max: 48h, backdate: 1m}
    ext_key_usage: [client_auth]
grants:
  - name: admin
    principals: [{local_socket: admin}]
    profiles: [server, client]
    allow: {dns: [".internal"]}
    owners: ["*"]
`

// failingStore lets commits through until it is told to fail, and then all fail.
type failingStore struct {
	*bolt.Store
	left int // commits that still succeed; negative: all do
}

func (f *failingStore) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	if f.left == 0 {
		return storage.Receipt{}, errors.New("the disk is gone")
	}
	f.left--
	return f.Store.Commit(ctx, u)
}

type world struct {
	*Operations
	t         *testing.T
	store     *failingStore
	authority *ca.Authority
	told      int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: &failingStore{left: -1}}
	path := filepath.Join(t.TempDir(), "ledger.db")
	w.must(bolt.Create(path))
	var err error
	w.store.Store, err = bolt.Open(t.Context(), bolt.Config{Path: path})
	w.must(err)
	t.Cleanup(func() { w.must(w.store.Close()) })
	rootKey, key := w.key(), w.key()
	now := time.Now()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(9, 0, 0), MaxPathLen: 1}, rootKey)
	w.must(err)
	var cert *x509.Certificate
	cert, err = x509cert.Intermediate(x509cert.CAConfig{CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0)}, key.Public(), root, rootKey)
	w.must(err)
	keyID, err := identity.KeyIDOf(key.Public())
	w.must(err)
	policies, err := ca.OpenPolicies(t.Context(), ca.PoliciesConfig{
		Store: w.store, First: []byte(testPolicy), File: "policy.yaml",
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: cert.NotAfter, Certificate: cert}},
	})
	w.must(err)
	w.authority, err = ca.New(ca.Config{
		Store: w.store, Policy: policies.Engine, HTTPBase: "http://ca.test", Logger: slog.New(slog.DiscardHandler),
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: cert, Signer: key}}, Revoked: func(ca.Change) { w.told++ },
	})
	w.must(err)
	inv, err := inventory.New(inventory.Config{Store: w.store, Issuers: []inventory.Issuer{{Name: "issuing", KeyID: keyID}}})
	w.must(err)
	w.Operations, err = New(Config{Store: w.store, Authority: w.authority, Inventory: inv, Step: 3, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return key
}

func (w *world) issue(owner, name string) storage.Certificate {
	w.t.Helper()
	return w.issueFor(w.key(), owner, name)
}

func (w *world) issueFor(key *ecdsa.PrivateKey, owner, name string) storage.Certificate {
	w.t.Helper()
	return w.issueAs("server", key, owner, name)
}

func (w *world) issueAs(profile string, key *ecdsa.PrivateKey, owner, name string) storage.Certificate {
	w.t.Helper()
	got, err := w.authority.Issue(w.t.Context(), identity.Request{
		Kind: identity.X509, Profile: profile, PublicKey: key.Public(), Owner: owner,
		Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin"},
		Identifiers: []identity.Identifier{{Type: identity.DNS, Value: name}},
	}, ca.Attach{})
	w.must(err)
	return got.Certificate
}

// revocations counts the ledger's revocation entries by serial.
func (w *world) revocations() map[identity.Serial]int {
	w.t.Helper()
	out := map[identity.Serial]int{}
	for start := uint64(0); ; {
		raw, err := w.store.Entries(w.t.Context(), start, 1000)
		w.must(err)
		if len(raw) == 0 {
			return out
		}
		for _, each := range raw {
			e, err := entry.Parse(each)
			w.must(err)
			if e.Kind == entry.Revocation {
				body, err := entry.ParseRevocation(e.Draft)
				w.must(err)
				out[body.Serial]++
			}
		}
		start += uint64(len(raw))
	}
}

func order(filter string) Order {
	return Order{Filter: filter, Reason: identity.CessationOfOperation, Actor: "local_socket:admin"}
}

// TestBulk: what is shown is what is revoked, each once; what was issued later,
// what is of others, and what is revoked already, is not touched.
func TestBulk(t *testing.T) {
	w := newWorld(t)
	for n := range 10 {
		w.issue("team-a", fmt.Sprintf("a%d.internal", n/2)) // lines of two
	}
	spared := w.issue("team-b", "b.internal")
	before := w.issue("team-a", "gone.internal")
	_, err := w.authority.Revoke(t.Context(), ca.Revocation{Issuer: before.Issuer, Serial: before.Serial, Reason: identity.Superseded, Actor: "x:y"})
	w.must(err)
	ask := order(`owner = "team-a"`)
	radius, sample, index, err := w.Preview(t.Context(), ask)
	w.must(err)
	if radius.Certificates != 10 || radius.Lineages != 5 || radius.Lost != 5 || len(sample) != 10 || len(radius.Owners) != 1 || radius.Owners[0] != (OwnerCount{"team-a", 10}) {
		t.Errorf("%+v, %d shown", radius, len(sample))
	}
	later := w.issue("team-a", "a0.internal")
	ask.Before = index
	op, err := w.Start(t.Context(), ask)
	w.must(err)
	w.must(w.workOff(t.Context()))
	done, err := w.Get(t.Context(), op.ID)
	w.must(err)
	if !done.Done() || done.Error != "" || done.Revoked != 10 || done.Radius.Certificates != 10 {
		t.Errorf("%+v", done)
	}
	counts := w.revocations()
	if len(counts) != 11 || counts[spared.Serial] != 0 || counts[later.Serial] != 0 || w.told != 11 {
		t.Errorf("%d revoked, told %d", len(counts), w.told)
	}
	w.must(w.workOff(t.Context())) // nothing is left
	if len(w.revocations()) != 11 {
		t.Error("a second round has revoked")
	}
}

// TestSelectors: what an incident is known by, each alone and by the other's absence.
func TestSelectors(t *testing.T) {
	w := newWorld(t)
	key := w.key()
	first := w.issueAs("client", key, "team-a", "a.internal")
	w.issueFor(key, "team-b", "a.internal")
	w.issue("team-b", "b.internal")
	at := func(c storage.Certificate) string { return c.Time.Format(time.RFC3339Nano) }
	for filter, want := range map[string]uint64{
		`owner = "team-b"`:                                     2,
		`name:"a.internal"`:                                    2,
		`dns_names:"*.internal"`:                               3,
		`profile = client`:                                     1,
		`issuer = issuing`:                                     3,
		`issuer = other`:                                       0,
		`spki_sha256 = "` + first.SPKI.String() + `"`:          2,
		`requester = "local_socket:admin"`:                     3,
		`requester = "token:0f1e2d3c4b5a69788796a5b4c3d2e1f0"`: 0,
		`requester = "acme:abc" OR owner = "team-a"`:           1,
		`policy_version = "` + identity.KeyID(first.Intent.Policy).String() + `"`:               3,
		`create_time >= "` + at(first) + `" AND create_time <= "` + at(first) + `"`:             1,
		`create_time > "` + at(first) + `" AND NOT spki_sha256 = "` + first.SPKI.String() + `"`: 1,
	} {
		radius, _, _, err := w.Preview(t.Context(), order(filter))
		w.must(err)
		if radius.Certificates != want {
			t.Errorf("%s: %d, want %d", filter, radius.Certificates, want)
		}
	}
}

// TestLineage: a superseded certificate leaves its line a newer one.
func TestLineage(t *testing.T) {
	w := newWorld(t)
	older := w.issue("team-a", "a.internal")
	w.issue("team-a", "a.internal")
	radius, _, _, err := w.Preview(t.Context(), order(fmt.Sprintf(`serial = "%s"`, older.Serial)))
	w.must(err)
	if radius.Certificates != 1 || radius.Lineages != 1 || radius.Lost != 0 {
		t.Errorf("%+v", radius)
	}
	w.issueAs("client", w.key(), "team-a", "a.internal") // another purpose, another line
	radius, _, _, err = w.Preview(t.Context(), order(`owner = "team-a"`))
	w.must(err)
	if radius.Certificates != 3 || radius.Lineages != 2 || radius.Lost != 2 {
		t.Errorf("with another profile: %+v", radius)
	}
	radius, _, _, err = w.Preview(t.Context(), order(`owner = "team-a" AND profile = "server"`))
	w.must(err)
	if radius.Lineages != 1 || radius.Lost != 1 {
		t.Errorf("what another profile has is no successor: %+v", radius)
	}
}

// TestResume stops at every commit and goes on: each serial once.
func TestResume(t *testing.T) {
	w := newWorld(t)
	const n = 20
	for range n {
		w.issue("team-a", "a.internal")
	}
	op, err := w.Start(t.Context(), order(`owner = "team-a"`))
	w.must(err)
	for rounds := 0; ; rounds++ {
		w.store.left = 1
		err := w.workOff(t.Context())
		w.store.left = -1
		if err == nil {
			break
		}
		if rounds > 3*n {
			t.Fatal(err)
		}
		if now, err := w.Get(t.Context(), op.ID); err != nil || int(now.Revoked) != len(w.revocations()) {
			t.Errorf("%d are counted, %d are revoked, %v", now.Revoked, len(w.revocations()), err)
		}
	}
	done, err := w.Get(t.Context(), op.ID)
	w.must(err)
	counts := w.revocations()
	if done.Revoked != n || len(counts) != n || done.Error != "" {
		t.Errorf("%+v, %d serials", done, len(counts))
	}
	for serial, times := range counts {
		if times != 1 {
			t.Errorf("serial %s stands %d times", serial, times)
		}
	}
}

// TestRequestID: the same order is the same operation, another is a conflict.
func TestRequestID(t *testing.T) {
	w := newWorld(t)
	ask := order(`owner = "team-a"`)
	ask.RequestID = "r1"
	first, err := w.Start(t.Context(), ask)
	w.must(err)
	w.issue("team-b", "b.internal") // the ledger has moved on
	again, err := w.Start(t.Context(), ask)
	if err != nil || again.ID != first.ID {
		t.Errorf("%+v %v", again, err)
	}
	ask.Filter = `owner = "team-b"`
	if _, err := w.Start(t.Context(), ask); problem.KindOf(err) != problem.Conflict {
		t.Error(err)
	}
	ask.Actor = "local_socket:other"
	if other, err := w.Start(t.Context(), ask); err != nil || other.ID == first.ID {
		t.Errorf("%+v %v", other, err)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	bad := order(`owner = "team-a"`)
	bad.Reason = 6
	for name, ask := range map[string]Order{"empty": order(" "), "no filter": order("colour = red"), "reason": bad} {
		if _, err := w.Start(t.Context(), ask); problem.KindOf(err) != problem.Malformed {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, _, err := w.Preview(t.Context(), ask); problem.KindOf(err) != problem.Malformed {
			t.Errorf("preview %s: %v", name, err)
		}
	}
	for _, id := range []string{"", "zz", "00112233445566778899aabbccddeeff"} {
		if _, err := w.Get(t.Context(), id); problem.KindOf(err) != problem.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
}
