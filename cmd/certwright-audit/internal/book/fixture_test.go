package book_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/bounds"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const origin = "ca.example/ledger"

// world is a real ledger in a real store, and the key that signs its checkpoints.
type world struct {
	*testing.T
	store  *bolt.Store
	db     string // its file
	lock   string // the last-seen file
	key    ed25519.PrivateKey
	signer note.Signer // the same key, in the hand of an attacker
	vkey   book.Key    // of the first epoch
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	id     identity.KeyID
	policy [32]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	w := &world{T: t, key: key, lock: filepath.Join(t.TempDir(), "lock")}
	vkey, err := ledger.VerifierKey(origin, key.Public())
	check(t, err)
	w.vkey, err = book.ParseKey(vkey)
	check(t, err)
	w.signer = w.signerOf(origin)
	w.db = filepath.Join(t.TempDir(), "ledger.db")
	check(t, bolt.Create(w.db))
	w.open()
	_, err = ledger.Open(t.Context(), ledger.Config{Store: w.store, Origin: origin, Signer: key, Lock: w.lock})
	check(t, err)
	w.apply(policy.Default())
	return w
}

// signerOf is the log's key under the name of an epoch.
func (w *world) signerOf(origin string) note.Signer {
	w.Helper()
	vkey, err := ledger.VerifierKey(origin, w.key.Public())
	check(w.T, err)
	v, err := note.NewVerifier(vkey)
	check(w.T, err)
	s, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, v.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, w.key.Seed()...))))
	check(w.T, err)
	return s
}

func (w *world) open() {
	w.Helper()
	store, err := bolt.Open(w.Context(), bolt.Config{Path: w.db, Linger: -1})
	check(w.T, err)
	w.Cleanup(func() { _ = store.Close() })
	w.store = store
}

// backup is a copy of the database as it is.
func (w *world) backup() string {
	w.Helper()
	check(w.T, w.store.Close())
	data, err := os.ReadFile(w.db)
	check(w.T, err)
	copied := filepath.Join(w.TempDir(), "backup.db")
	check(w.T, os.WriteFile(copied, data, 0o600))
	w.open()
	return copied
}

// restore goes on from a backup, of which a copy of the ledger may give back more:
// what was last seen is the checkpoint given. It returns the new epoch, 0 if none had to
// begin.
func (w *world) restore(backup string, seen []byte, from string) uint64 {
	w.Helper()
	check(w.T, w.store.Close())
	w.db = backup
	w.open()
	check(w.T, os.WriteFile(w.lock, seen, 0o600))
	r, err := ledger.PlanRecovery(w.Context(), ledger.RecoverConfig{
		Store: w.store, Origin: origin, Signer: w.key, Lock: w.lock, From: from, Actor: "local_socket:admin",
	})
	check(w.T, err)
	check(w.T, r.Run(w.Context(), nobody{}, func(uint64, uint64) {}))
	if r.Epoch > 0 {
		w.signer = w.signerOf(ledger.EpochOrigin(origin, r.Epoch))
	}
	return r.Epoch
}

// nobody takes up what comes back.
type nobody struct{}

func (nobody) Back(context.Context, uint64, entry.Entry, entry.Body, bool) ([]storage.Command, error) {
	return nil, nil
}
func (nobody) Last(context.Context) ([]storage.Command, error) { return nil, nil }

func (w *world) apply(document []byte) {
	w.Helper()
	p := entry.Policy{Document: document}
	w.append(p)
	w.policy = p.Hash()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) append(body entry.Body) {
	w.Helper()
	d, err := body.Draft("local_socket:admin")
	check(w.T, err)
	_, err = w.store.Commit(w.Context(), storage.Unit{storage.AppendEntry{Entry: d}})
	check(w.T, err)
}

// actions appends n small entries.
func (w *world) actions(n int) {
	w.Helper()
	for n > 0 {
		var u storage.Unit
		for ; n > 0 && len(u) < 400; n-- {
			d, err := entry.Action{Action: "token.created", Target: fmt.Sprint(n)}.Draft("local_socket:admin")
			check(w.T, err)
			u = append(u, storage.AppendEntry{Entry: d})
		}
		_, err := w.store.Commit(w.Context(), u)
		check(w.T, err)
	}
}

// authority makes the key that signs certificates.
func (w *world) authority() {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(w.T, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(w.T, err)
	w.ca, err = x509.ParseCertificate(der)
	check(w.T, err)
	w.caKey = key
	w.id, err = identity.KeyIDOf(key.Public())
	check(w.T, err)
	w.append(entry.Issuer{Event: "activated", Issuer: w.id, Certificate: sha256.Sum256(der)})
}

// sign makes a certificate that change has had its way with, and signs it. It is in no
// book.
func (w *world) sign(dns string, change func(*x509.Certificate)) *x509.Certificate {
	w.Helper()
	if w.ca == nil {
		w.authority()
	}
	now := time.Now().UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: identity.NewSerial(now).Big(), Subject: pkix.Name{CommonName: dns}, NotBefore: now, NotAfter: now.Add(30*24*time.Hour - time.Second),
		DNSNames: []string{dns}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(w.T, err)
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, leaf.Public(), w.caKey)
	check(w.T, err)
	cert, err := x509.ParseCertificate(der)
	check(w.T, err)
	return cert
}

// intent is what records a certificate.
func (w *world) intent(cert *x509.Certificate) entry.Intent {
	return entry.Intent{Issuer: w.id, Profile: "server", Grant: "local-admin", Owner: "platform", Policy: w.policy, TBS: cert.RawTBSCertificate}
}

// issue signs a certificate and records it.
func (w *world) issue(dns string) *x509.Certificate {
	w.Helper()
	cert := w.sign(dns, nil)
	d, err := w.intent(cert).Draft("local_socket:admin")
	check(w.T, err)
	serial, err := identity.SerialFromBig(cert.SerialNumber)
	check(w.T, err)
	spki, err := identity.KeyIDOf(cert.PublicKey)
	check(w.T, err)
	_, err = w.store.Commit(w.Context(), storage.Unit{storage.ReserveIssuance{
		Entry: d, Issuer: w.id, Serial: serial, Names: []identity.Identifier{{Type: identity.DNS, Value: dns}}, SPKI: spki,
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Deadline: time.Now().Add(time.Minute),
	}})
	check(w.T, err)
	_, err = w.store.Commit(w.Context(), storage.Unit{storage.CompleteIssuance{Issuer: w.id, Serial: serial, Certificate: cert.Raw}})
	check(w.T, err)
	return cert
}

// raws are the entries of the ledger.
func (w *world) raws() [][]byte {
	w.Helper()
	head, err := w.store.Head(w.Context())
	check(w.T, err)
	var all [][]byte
	for uint64(len(all)) < head.Size {
		some, err := w.store.Entries(w.Context(), uint64(len(all)), 500)
		check(w.T, err)
		for _, raw := range some {
			all = append(all, slices.Clone(raw))
		}
	}
	return all
}

// publish writes the ledger as it is into a folder.
func (w *world) publish(dir string) [][]byte {
	w.Helper()
	all := w.raws()
	w.show(dir, all)
	return all
}

// show publishes these entries, whatever they are, under the log's signature.
func (w *world) show(dir string, entries [][]byte) []byte {
	w.Helper()
	signed, err := audittest.Publish(dir, w.signer, entries)
	check(w.T, err)
	return signed
}

// auditor is a Follower whose findings are kept.
type auditor struct {
	*book.Follower
	found   []book.Finding
	noticed []string
}

func (w *world) auditor(dir string, change func(*book.Config), source book.Source) *auditor {
	w.Helper()
	a := &auditor{}
	c := book.Config{
		Source: source, Keys: []book.Key{w.vkey}, Dir: dir, Rules: bounds.Read,
		Report: func(f book.Finding) { a.found = append(a.found, f) },
		Notice: func(n book.Notice) { a.noticed = append(a.noticed, n.String()) },
	}
	if change != nil {
		change(&c)
	}
	var err error
	a.Follower, err = book.OpenFollower(c)
	check(w.T, err)
	w.Cleanup(func() { _ = a.Close() })
	return a
}

// step looks once and returns what was found, a line each.
func (w *world) step(a *auditor) []string {
	w.Helper()
	a.found, a.noticed = nil, nil
	check(w.T, a.Step(w.Context()))
	return lines(a.found)
}

func lines(found []book.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, f.String())
	}
	return all
}

// want compares findings with how they begin.
func want(t *testing.T, found []string, begin ...string) {
	t.Helper()
	ok := len(found) == len(begin)
	for i := range min(len(found), len(begin)) {
		ok = ok && strings.HasPrefix(found[i], begin[i])
	}
	if !ok {
		t.Errorf("found:\n  %s\nwant:\n  %s", strings.Join(found, "\n  "), strings.Join(begin, "\n  "))
	}
}
