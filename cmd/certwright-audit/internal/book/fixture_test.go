package book_test

import (
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
	log    *ledger.Log
	key    ed25519.PrivateKey
	signer note.Signer // the same key, in the hand of an attacker
	vkey   note.Verifier
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	id     identity.KeyID
	policy [32]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	w := &world{T: t, key: key}
	skey := base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))
	vkey, err := ledger.VerifierKey(origin, key.Public())
	check(t, err)
	w.vkey, err = note.NewVerifier(vkey)
	check(t, err)
	w.signer, err = note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, w.vkey.KeyHash(), skey))
	check(t, err)
	w.begin(nil)
	return w
}

// begin makes a ledger with a policy; previous is the last checkpoint of the epoch
// before.
func (w *world) begin(previous []byte) {
	w.Helper()
	dir := w.TempDir()
	db := filepath.Join(dir, "ledger.db")
	check(w.T, bolt.Create(db))
	store, err := bolt.Open(w.Context(), bolt.Config{Path: db, Linger: -1})
	check(w.T, err)
	w.Cleanup(func() { _ = store.Close() })
	w.store = store
	if previous != nil {
		w.append(entry.Origin{Origin: origin, Previous: previous})
	}
	w.log, err = ledger.Open(w.Context(), ledger.Config{
		Store: store, Origin: origin, Signer: w.key, Lock: filepath.Join(w.TempDir(), "lock"), Interval: time.Millisecond,
	})
	check(w.T, err)
	w.apply(policy.Default())
}

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
	found []book.Finding
}

func (w *world) auditor(dir string, change func(*book.Config), source book.Source) *auditor {
	w.Helper()
	a := &auditor{}
	c := book.Config{
		Source: source, Keys: []note.Verifier{w.vkey}, Dir: dir, Rules: bounds.Read,
		Report: func(f book.Finding) { a.found = append(a.found, f) },
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
	a.found = nil
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
