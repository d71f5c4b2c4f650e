package ledger_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const origin = "ca.example/ledger"

// place is a ledger's files and key.
type place struct {
	db, lock string
	key      crypto.Signer
}

func newPlace(t testing.TB) *place {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &place{db: filepath.Join(dir, "ledger.db"), lock: filepath.Join(t.TempDir(), "ledger.lock"), key: key}
	if err := bolt.Create(p.db); err != nil {
		t.Fatal(err)
	}
	return p
}

// store opens the database; the returned function closes it, once.
func (p *place) store(t testing.TB, readOnly bool) (*bolt.Store, func()) {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Config{Path: p.db, ReadOnly: readOnly, Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	open := true
	closed := func() {
		if open {
			open = false
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(closed)
	return s, closed
}

func (p *place) config(s ledger.Store) ledger.Config {
	return ledger.Config{Store: s, Origin: origin, Signer: p.key, Lock: p.lock, Interval: time.Millisecond, Issuers: [][32]byte{{1}}}
}

func (p *place) open(t testing.TB, s ledger.Store) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(t.Context(), p.config(s))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (p *place) vkey(t testing.TB) string {
	t.Helper()
	vkey, err := ledger.VerifierKey(origin, p.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

// tamper changes the closed database behind the store's back.
func (p *place) tamper(t testing.TB, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(p.db, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// append adds n small entries.
func appendEntries(t testing.TB, s storage.Committer, n int) {
	t.Helper()
	d, err := entry.Action{Action: "token.created", Target: "0a0b"}.Draft("local_socket:admin")
	if err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		var u storage.Unit
		for ; n > 0 && len(u) < 500; n-- {
			u = append(u, storage.AppendEntry{Entry: d})
		}
		if _, err := s.Commit(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts the checkpoint loop; the returned function ends it and gives its
// error.
func run(t testing.TB, l *ledger.Log) func() error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// authority issues certificates straight into the store.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	id   identity.KeyID
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.KeyIDOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, id}
}

// leaf makes a certificate and the command that reserves it.
func (a *authority) leaf(t testing.TB, name string) (*x509.Certificate, storage.ReserveIssuance) {
	t.Helper()
	return a.successor(t, name, [32]byte{})
}

// successor makes a certificate that replaces one, and the command that reserves it.
func (a *authority) successor(t testing.TB, name string, replaces [32]byte) (*x509.Certificate, storage.ReserveIssuance) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	serial := identity.NewSerial(now)
	uri := &url.URL{Scheme: "spiffe", Host: "example", Path: "/x"}
	template := &x509.Certificate{
		SerialNumber: serial.Big(), Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, URIs: []*url.URL{uri}, EmailAddresses: []string{"a@b.example"},
		CRLDistributionPoints: []string{"http://ca.example/crl/issuing/3.crl"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	d, err := entry.Intent{Issuer: a.id, Profile: "server", Grant: "admins", Owner: "team-a", TBS: cert.RawTBSCertificate, Replaces: replaces}.Draft("token:0a0b")
	if err != nil {
		t.Fatal(err)
	}
	names, err := identity.CanonicalSet([]identity.Identifier{
		{Type: identity.DNS, Value: name}, {Type: identity.IP, Value: "10.0.0.1"}, {Type: identity.URI, Value: uri.String()}, {Type: identity.Email, Value: "a@b.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return cert, storage.ReserveIssuance{
		Entry: d, Issuer: a.id, Serial: serial, Names: names, SPKI: a.id, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, CRLShard: 3, Deadline: now.Add(time.Minute),
	}
}

// issue reserves and completes.
func (a *authority) issue(t testing.TB, s storage.Committer, name string) (*x509.Certificate, uint64) {
	t.Helper()
	cert, reserve := a.leaf(t, name)
	return cert, a.complete(t, s, cert, reserve)
}

// complete reserves and completes; it returns the index.
func (a *authority) complete(t testing.TB, s storage.Committer, cert *x509.Certificate, reserve storage.ReserveIssuance) uint64 {
	t.Helper()
	r, err := s.Commit(t.Context(), storage.Unit{reserve})
	if err != nil {
		t.Fatal(err)
	}
	complete := storage.CompleteIssuance{Issuer: a.id, Serial: reserve.Serial, Certificate: cert.Raw}
	if _, err := s.Commit(t.Context(), storage.Unit{complete}); err != nil {
		t.Fatal(err)
	}
	return r.Indexes[0]
}
