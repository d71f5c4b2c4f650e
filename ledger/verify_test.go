package ledger_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// scene is a closed ledger with certificates: entry 0 the genesis, entries 1 to
// 8 intents (the last only reserved), then others up to 300.
type scene struct {
	*place
	ca     *authority
	certs  []*x509.Certificate
	serial []string // of entries 1 to 8
}

func newScene(t testing.TB) *scene {
	t.Helper()
	sc := &scene{place: newPlace(t), ca: newAuthority(t)}
	s, closed := sc.store(t, false)
	sc.open(t, s)
	for i := range 7 {
		cert, index := sc.ca.issue(t, s, fmt.Sprintf("svc-%d.example", i))
		if index != uint64(i)+1 {
			t.Fatalf("certificate %d has index %d", i, index)
		}
		sc.certs, sc.serial = append(sc.certs, cert), append(sc.serial, fmt.Sprintf("%032x", cert.SerialNumber))
	}
	_, reserve := sc.ca.leaf(t, "reserved.example")
	if _, err := s.Commit(t.Context(), storage.Unit{reserve}); err != nil {
		t.Fatal(err)
	}
	sc.serial = append(sc.serial, reserve.Serial.String())
	appendEntries(t, s, 292)
	sc.open(t, s)
	closed()
	return sc
}

// verify verifies the closed database, read-only.
func (sc *scene) verify(t testing.TB, change func(*ledger.VerifyConfig)) (ledger.Summary, []storage.Finding) {
	t.Helper()
	c := ledger.VerifyConfig{VerifierKey: sc.vkey(t), Lock: sc.lock, Issuers: []*x509.Certificate{sc.ca.cert}, Signatures: true}
	if change != nil {
		change(&c)
	}
	s, closed := sc.store(t, true)
	defer closed()
	c.Store = s
	var found []storage.Finding
	sum, err := ledger.Verify(t.Context(), c, func(f storage.Finding) { found = append(found, f) })
	if err != nil {
		t.Fatal(err)
	}
	if sum.Findings != len(found) {
		t.Errorf("%d findings in the summary, %d reported", sum.Findings, len(found))
	}
	return sum, found
}

func TestVerifyHolds(t *testing.T) {
	sc := newScene(t)
	var last, of uint64
	for name, change := range map[string]func(*ledger.VerifyConfig){
		"all":     nil,
		"fast":    func(c *ledger.VerifyConfig) { c.Signatures, c.Issuers = false, nil },
		"no lock": func(c *ledger.VerifyConfig) { c.Lock = "" },
		"no key":  func(c *ledger.VerifyConfig) { c.VerifierKey = "" },
		"progresses": func(c *ledger.VerifyConfig) {
			c.Progress = func(done, total uint64) { last, of = rising(t, last, done), total }
		},
	} {
		sum, found := sc.verify(t, change)
		if len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
		s, closed := sc.store(t, true)
		head, err := s.Head(t.Context())
		closed()
		if err != nil || sum.Entries != 301 || sum.Certificates != 8 || sum.Root != head.Root {
			t.Errorf("%s: %+v, head %+v, %v", name, sum, head, err)
		}
	}
	if last != 301 || of != 301 {
		t.Errorf("progress ended at %d of %d", last, of)
	}
}

func rising(t *testing.T, last, done uint64) uint64 {
	if done < last {
		t.Errorf("progress fell from %d to %d", last, done)
	}
	return done
}

// TestVerifyFinds: each change behind the store's back is found, and named.
func TestVerifyFinds(t *testing.T) {
	put := func(bucket string, key, value []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put(key, value) }
	}
	tests := []struct {
		name   string
		tamper func(sc *scene) func(tx *bbolt.Tx) error
		want   func(sc *scene) storage.Finding // Detail: a part of it
	}{
		{"a bit of an entry's text", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "entry", indexKey(100), 15) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 100, Subject: "tile/0/000", Detail: "not the one that was hashed"}
		}},
		{"a bit of the newest entry", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "entry", indexKey(300), 15) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 300, Subject: "tile/0/001.p/45", Detail: "not the one that was hashed"}
		}},
		{"an entry's time", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "entry", indexKey(100), 6) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 100, Detail: "earlier than the entry before it"}
		}},
		{"a bit of a TBS", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "entry", indexKey(3), 300) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 3, Detail: "not the one that was hashed"}
		}},
		{"an entry deleted", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("entry")).Delete(indexKey(100)) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 100}
		}},
		{"the last entry dropped", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("entry")).Delete(indexKey(300)) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 300}
		}},
		{"two entries swapped", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte("entry"))
				one, two := bytes.Clone(b.Get(indexKey(1))), bytes.Clone(b.Get(indexKey(2)))
				return errors.Join(b.Put(indexKey(1), two), b.Put(indexKey(2), one))
			}
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 2, Detail: "not the one that was hashed"}
		}},
		{"garbage as entry", func(*scene) func(*bbolt.Tx) error {
			return put("entry", indexKey(100), []byte("garbage"))
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "entry", Index: 100, Detail: "truncated"}
		}},
		{"a bit of a tile", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "tile", first(tx, "tile", 0), 100*32+5) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "tile", Index: 100, Subject: "tile/0/000", Detail: "the tile's hash of entry 100"}
		}},
		{"a tile deleted", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("tile")).Delete(first(tx, "tile", 0)) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "tile", Index: storage.NoIndex, Subject: "tile/0/000"}
		}},
		{"a bit of a signature", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "sig", indexKey(4), 40) }
		}, func(sc *scene) storage.Finding {
			return storage.Finding{Kind: "signature", Index: 4, Subject: sc.serial[3], Detail: "does not hold"}
		}},
		{"a certificate's row deleted, and a bit of a later signature", func(sc *scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error {
				return errors.Join(flip(tx, "sig", indexKey(7), 40),
					tx.Bucket([]byte("cert")).Delete(sc.rowKey(1)))
			}
		}, func(sc *scene) storage.Finding {
			return storage.Finding{Kind: "signature", Index: 7, Subject: sc.serial[6], Detail: "does not hold"}
		}},
		{"a certificate's row deleted", func(sc *scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("cert")).Delete(sc.rowKey(4))
			}
		}, func(sc *scene) storage.Finding {
			return storage.Finding{Kind: "certificate", Index: 5, Subject: sc.serial[4]}
		}},
		{"a certificate's CRL shard", func(sc *scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return reshard(tx, sc.rowKey(6), 4) }
		}, func(sc *scene) storage.Finding {
			return storage.Finding{Kind: "certificate", Index: 7, Subject: sc.serial[6], Detail: "its row has the CRL shard 4"}
		}},
		{"the stored checkpoint deleted", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("record")).Delete(first(tx, "record", 0)) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "checkpoint", Index: storage.NoIndex, Subject: "latest", Detail: "no stored checkpoint"}
		}},
		{"the stored checkpoint garbled", func(*scene) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { return flip(tx, "record", first(tx, "record", 0), 60) }
		}, func(*scene) storage.Finding {
			return storage.Finding{Kind: "checkpoint", Index: storage.NoIndex, Subject: "latest"}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sc := newScene(t)
			sc.tamper(t, test.tamper(sc))
			_, found := sc.verify(t, nil)
			expect(t, found, test.want(sc))
		})
	}
}

// rowKey is the key of a certificate's row.
func (sc *scene) rowKey(n int) []byte {
	return append(bytes.Clone(sc.ca.id[:]), sc.certs[n].SerialNumber.FillBytes(make([]byte, 16))...)
}

// reshard writes another CRL shard into a row, with a right checksum.
func reshard(tx *bbolt.Tx, key []byte, shard uint16) error {
	b := tx.Bucket([]byte("cert"))
	row := bytes.Clone(b.Get(key))
	row = row[:len(row)-4]
	binary.BigEndian.PutUint16(row[3:], shard)
	sum := crc32.Checksum(append(bytes.Clone(key), row...), crc32.MakeTable(crc32.Castagnoli))
	return b.Put(key, binary.BigEndian.AppendUint32(row, sum))
}

// expect looks for a finding; a Subject that is empty stands for any.
func expect(t *testing.T, found []storage.Finding, want storage.Finding) {
	t.Helper()
	for _, f := range found {
		if f.Kind == want.Kind && f.Index == want.Index && (want.Subject == "" || f.Subject == want.Subject) && strings.Contains(f.Detail, want.Detail) {
			return
		}
	}
	t.Errorf("%+v is not among %+v", want, found)
}

// TestVerifyChecksWhatWasSeen: checkpoints that the ledger does not hold.
func TestVerifyChecksWhatWasSeen(t *testing.T) {
	other := newPlace(t)
	none := storage.NoIndex
	tests := []struct {
		name   string
		change func(t *testing.T, sc *scene, old []byte, c *ledger.VerifyConfig)
		want   storage.Finding
	}{
		{"older database", func(t *testing.T, sc *scene, old []byte, _ *ledger.VerifyConfig) { write(t, sc.db, old) },
			storage.Finding{Kind: "checkpoint", Index: 301, Subject: "last-seen file", Detail: "entries from 301 on are missing"}},
		{"older database that went on", func(t *testing.T, sc *scene, old []byte, _ *ledger.VerifyConfig) {
			write(t, sc.db, old)
			s, closed := sc.store(t, false)
			appendEntries(t, s, 30)
			closed()
		}, storage.Finding{Kind: "checkpoint", Index: none, Subject: "last-seen file", Detail: "the entries' own is"}},
		{"no last-seen file", func(t *testing.T, sc *scene, _ []byte, _ *ledger.VerifyConfig) { remove(t, sc.lock) },
			storage.Finding{Kind: "checkpoint", Index: none, Detail: "there is no last-seen file"}},
		{"forged last-seen file", func(t *testing.T, sc *scene, _ []byte, _ *ledger.VerifyConfig) {
			write(t, sc.lock, bytes.Replace(read(t, sc.lock), []byte("\n311\n"), []byte("\n301\n"), 1))
		}, storage.Finding{Kind: "checkpoint", Index: none, Detail: "does not hold"}},
		{"forged, and no key to see it by", func(t *testing.T, sc *scene, _ []byte, c *ledger.VerifyConfig) {
			c.VerifierKey = ""
			write(t, sc.lock, bytes.Replace(read(t, sc.lock), []byte("\n311\n"), []byte("\n301\n"), 1))
		}, storage.Finding{Kind: "checkpoint", Index: none, Subject: "last-seen file", Detail: "the entries' own is"}},
		{"another key", func(t *testing.T, _ *scene, _ []byte, c *ledger.VerifyConfig) { c.VerifierKey = other.vkey(t) },
			storage.Finding{Kind: "checkpoint", Index: none, Subject: "latest", Detail: "does not hold"}},
		{"another origin", func(t *testing.T, sc *scene, _ []byte, c *ledger.VerifyConfig) {
			c.VerifierKey = ""
			write(t, sc.lock, bytes.Replace(read(t, sc.lock), []byte(origin), []byte("other"), 1))
		}, storage.Finding{Kind: "checkpoint", Index: none, Subject: "last-seen file", Detail: "origin"}},
		{"an issuer that is not known", func(_ *testing.T, _ *scene, _ []byte, c *ledger.VerifyConfig) { c.Issuers = nil },
			storage.Finding{Kind: "signature", Index: 1, Detail: "no CA certificate"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sc := newScene(t)
			old := read(t, sc.db)
			s, closed := sc.store(t, false)
			appendEntries(t, s, 10)
			sc.open(t, s)
			closed()
			_, found := sc.verify(t, func(c *ledger.VerifyConfig) { test.change(t, sc, old, c) })
			expect(t, found, test.want)
		})
	}
}

// TestVerifyFindsMalformedBodies: a body that is not of its kind, as a writer
// with a fault would append it.
func TestVerifyFindsMalformedBodies(t *testing.T) {
	sc := newScene(t)
	s, closed := sc.store(t, false)
	g, err := entry.Origin{Origin: "again"}.Draft("system:server")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []entry.Draft{{Kind: entry.AdminAction, Body: []byte("free text")}, {Kind: 99}, g} {
		if _, err := s.Commit(t.Context(), storage.Unit{storage.AppendEntry{Entry: d}}); err != nil {
			t.Fatal(err)
		}
	}
	sc.open(t, s)
	closed()
	_, found := sc.verify(t, nil)
	expect(t, found, storage.Finding{Kind: "entry", Index: 301, Detail: "not a well-formed admin-action"})
	expect(t, found, storage.Finding{Kind: "entry", Index: 302, Detail: "kind-99 is not known"})
	expect(t, found, storage.Finding{Kind: "entry", Index: 303, Detail: "is that of no epoch"})
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	sc := newScene(t)
	s, _ := sc.store(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ledger.Verify(ctx, ledger.VerifyConfig{Store: s}, func(f storage.Finding) { t.Errorf("%+v", f) })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestVerifyWhileWriting: a running server's ledger holds at every moment.
func TestVerifyWhileWriting(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	l := p.open(t, s)
	stop := run(t, l)
	ca, done := newAuthority(t), make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			ca.issue(t, s, fmt.Sprintf("svc-%d.example", i))
		}
	}()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		c := ledger.VerifyConfig{Store: s, VerifierKey: l.VerifierKey(), Lock: p.lock, Issuers: []*x509.Certificate{ca.cert}, Signatures: true}
		if _, err := ledger.Verify(t.Context(), c, func(f storage.Finding) { t.Errorf("%+v", f) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestVerifyUpperTiles: a ledger that has full tiles of level 1.
func TestVerifyUpperTiles(t *testing.T) {
	p := newPlace(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	appendEntries(t, s, 66_000)
	l := p.open(t, s)
	if proof, err := l.Proof(t.Context(), 12_345); err != nil || ledger.CheckProof(proof, l.VerifierKey()) != nil {
		t.Error(err)
	}
	closed()
	sc := &scene{place: p, ca: newAuthority(t)}
	begin := time.Now()
	if _, found := sc.verify(t, nil); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	t.Logf("66,000 entries in %v", time.Since(begin))
	sc.tamper(t, func(tx *bbolt.Tx) error { return flip(tx, "tile", []byte{1, 0, 0, 0, 0, 0, 0, 0, 0}, 7) })
	_, found := sc.verify(t, nil)
	expect(t, found, storage.Finding{Kind: "tile", Index: storage.NoIndex, Subject: "tile/1/000", Detail: "not those of the entries"})
}

// TestVerifyLineage: what replaces a certificate names one that was issued before it.
func TestVerifyLineage(t *testing.T) {
	p, a := newPlace(t), newAuthority(t)
	s, closed := p.store(t, false)
	p.open(t, s)
	first, _ := a.issue(t, s, "a.example")
	good, reserve := a.successor(t, "a.example", sha256.Sum256(first.Raw))
	a.complete(t, s, good, reserve)
	lost, reserve := a.successor(t, "b.example", [32]byte{1})
	index := a.complete(t, s, lost, reserve)
	later, replaced := a.leaf(t, "c.example")
	early, reserve := a.successor(t, "c.example", sha256.Sum256(later.Raw))
	a.complete(t, s, early, reserve)
	a.complete(t, s, later, replaced)
	p.open(t, s)
	closed()
	s, closed = p.store(t, true)
	defer closed()
	var found []storage.Finding
	c := ledger.VerifyConfig{Store: s, VerifierKey: p.vkey(t)}
	if _, err := ledger.Verify(t.Context(), c, func(f storage.Finding) { found = append(found, f) }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b storage.Finding) int { return cmp.Compare(a.Index, b.Index) })
	if len(found) != 2 || found[0].Index != index || found[1].Index != index+1 {
		t.Fatalf("%+v", found)
	}
	if !strings.Contains(found[0].Detail, "cannot be read") || !strings.Contains(found[1].Detail, "came later") {
		t.Errorf("%+v", found)
	}
}
