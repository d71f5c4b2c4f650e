package bolt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

// filled is a store with rows in every bucket: more entries than a tile holds,
// and certificates a and b issued, c reserved, d abandoned, e issued and
// revoked.
type filled struct {
	*Store
	path          string
	a, b, c, d, e storagetest.Issuance
}

func fillAll(t *testing.T) *filled {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	issuer := storagetest.NewIssuer(t)
	f := &filled{Store: s, path: path}
	for n, i := range []*storagetest.Issuance{&f.a, &f.b, &f.c, &f.d, &f.e} {
		*i = issuer.Issue(t, storagetest.Spec{
			RequestID: fmt.Sprint(n), Owner: fmt.Sprintf("team-%d", n), Names: storagetest.DNS(fmt.Sprintf("host-%d.internal", n)),
		})
	}
	salt, value := [32]byte{1}, []byte("value")
	do := func(u ...storage.Command) {
		if _, err := s.Commit(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	do(f.a.Reserve, f.b.Reserve, f.c.Reserve, f.d.Reserve, f.e.Reserve)
	do(f.a.Complete, f.b.Complete, f.d.Abandon(t, 3), f.e.Complete, f.e.Revoke(t, identity.KeyCompromise))
	do(issuer.PutCRL(t, "0", 1, []byte("crl")), storage.UseToken{ID: "token", For: [32]byte{1}, Max: 1},
		storage.PutErasable{Commitment: entry.Commit(salt, value), Salt: salt, Value: value},
		storage.PutRecord{
			Collection: "c", ID: "x", Body: []byte("body"), Expires: f.a.Reserve.NotAfter,
			Indexes: []storage.RecordIndex{{Name: "n", Value: "v", Unique: true}},
		})
	unit := storage.Unit{}
	for n := range 300 {
		unit = append(unit, storagetest.Action(fmt.Sprint(n)))
	}
	do(unit...)
	return f
}

func (f *filled) findings(t *testing.T) []storage.Finding {
	t.Helper()
	var out []storage.Finding
	if err := f.Scrub(t.Context(), nil, func(found storage.Finding) { out = append(out, found) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *filled) update(t *testing.T, change func(*bbolt.Tx) error) {
	t.Helper()
	if err := errors.Join(f.db.Update(change), f.snapshots.renew(f.db)); err != nil {
		t.Fatal(err)
	}
}

func (f *filled) get(t *testing.T, b bucket, key []byte) []byte {
	t.Helper()
	var out []byte
	if err := f.db.View(func(tx *bbolt.Tx) error {
		out = slices.Clone(tx.Bucket([]byte(b)).Get(key))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *filled) replace(t *testing.T, b bucket, key, value []byte) {
	t.Helper()
	f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(b)).Put(key, value) })
}

func keyOf(i storagetest.Issuance) []byte { return certKey(i.Reserve.Issuer, i.Reserve.Serial) }

func TestScrubNames(t *testing.T) {
	reseal := func(key, sealed []byte) []byte { return seal(key, slices.Clone(sealed[1:len(sealed)-sealSize])) }
	tests := []struct {
		name   string
		change func(t *testing.T, f *filled)
		kind   string
		names  func(f *filled) []string
	}{
		{"nothing", func(*testing.T, *filled) {}, "", func(*filled) []string { return nil }},
		{"certificate row deleted", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketCert)).Delete(keyOf(f.a)) })
		}, "certificate", func(f *filled) []string { return []string{f.a.Reserve.Serial.String()} }},
		{"revoked certificate's row deleted", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketCert)).Delete(keyOf(f.e)) })
		}, "certificate", func(f *filled) []string { return []string{f.e.Reserve.Serial.String()} }},
		{"certificate rows swapped", func(t *testing.T, f *filled) {
			a, b := f.get(t, bucketCert, keyOf(f.a)), f.get(t, bucketCert, keyOf(f.b))
			f.replace(t, bucketCert, keyOf(f.a), b)
			f.replace(t, bucketCert, keyOf(f.b), a)
		}, "certificate", func(f *filled) []string { return []string{f.a.Reserve.Serial.String(), f.b.Reserve.Serial.String()} }},
		{"certificate rows swapped, checksums right", func(t *testing.T, f *filled) {
			a, b := f.get(t, bucketCert, keyOf(f.a)), f.get(t, bucketCert, keyOf(f.b))
			f.replace(t, bucketCert, keyOf(f.a), reseal(keyOf(f.a), b))
			f.replace(t, bucketCert, keyOf(f.b), reseal(keyOf(f.b), a))
		}, "certificate", func(f *filled) []string { return []string{f.a.Reserve.Serial.String(), f.b.Reserve.Serial.String()} }},
		{"row of no entry", func(t *testing.T, f *filled) {
			key := certKey(f.a.Reserve.Issuer, identity.Serial{1})
			f.replace(t, bucketCert, key, row{state: storage.Issued, index: 400}.marshal(key))
		}, "certificate", func(*filled) []string { return []string{identity.Serial{1}.String()} }},
		{"revocation taken back", func(t *testing.T, f *filled) {
			r, err := parseRow(keyOf(f.e), f.get(t, bucketCert, keyOf(f.e)))
			if err != nil {
				t.Fatal(err)
			}
			r.revocation = nil
			f.replace(t, bucketCert, keyOf(f.e), r.marshal(keyOf(f.e)))
			f.update(t, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketRevoked)).Delete(revokedKey(f.e.Reserve.Issuer, r.shard, f.e.Reserve.NotAfter, f.e.Reserve.Serial))
			})
		}, "certificate", func(f *filled) []string { return []string{f.e.Reserve.Serial.String()} }},
		{"revoked without an entry", func(t *testing.T, f *filled) {
			r := row{state: storage.Issued, index: 0, revocation: &revocation{index: 7, reason: 1}}
			f.replace(t, bucketCert, keyOf(f.a), r.marshal(keyOf(f.a)))
		}, "certificate", func(f *filled) []string { return []string{f.a.Reserve.Serial.String()} }},
		{"owner's key altered", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketOwner)).Delete(textKey("team-1", 1)) })
			f.replace(t, bucketOwner, textKey("team-9", 1), nil)
		}, "index", func(*filled) []string { return []string{`owner "team-1" entry 1`, `owner "team-9" entry 1`} }},
		{"owner's key deleted", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketOwner)).Delete(textKey("team-1", 1)) })
		}, "index", func(*filled) []string { return []string{`owner "team-1" entry 1`} }},
		{"name's key too many", func(t *testing.T, f *filled) { f.replace(t, bucketSAN, textKey("dns:evil.internal", 1), nil) },
			"index", func(*filled) []string { return []string{`san "dns:evil.internal" entry 1`} }},
		{"signature altered", func(t *testing.T, f *filled) {
			tail := f.get(t, bucketSig, indexKey(0))
			tail[len(tail)-1] ^= 1
			f.replace(t, bucketSig, indexKey(0), tail)
		}, "index", func(*filled) []string { return []string{"fingerprint"} }},
		{"entry altered", func(t *testing.T, f *filled) {
			raw := f.get(t, bucketEntry, indexKey(100))
			raw[len(raw)-3] ^= 1
			f.replace(t, bucketEntry, indexKey(100), raw)
		}, "entry", func(*filled) []string { return []string{"entry 100"} }},
		{"entry deleted", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketEntry)).Delete(indexKey(250)) })
		}, "entry", func(*filled) []string { return []string{"entry 250"} }},
		{"last entry deleted", func(t *testing.T, f *filled) {
			f.update(t, func(tx *bbolt.Tx) error {
				last, _ := tx.Bucket([]byte(bucketEntry)).Cursor().Last()
				return tx.Bucket([]byte(bucketEntry)).Delete(last)
			})
		}, "entry", func(*filled) []string { return []string{"the ledger's size"} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := fillAll(t)
			test.change(t, f)
			found := f.findings(t)
			if test.kind == "" && len(found) > 0 {
				t.Errorf("a sound store: %+v", found)
			}
			for _, name := range test.names(f) {
				if !slices.ContainsFunc(found, func(x storage.Finding) bool {
					return x.Kind == test.kind && strings.Contains(x.Subject, name)
				}) {
					t.Errorf("%q is not named: %+v", name, found)
				}
			}
		})
	}
}

// TestScrubFindsEveryFlip flips one bit in keys and values of every bucket.
func TestScrubFindsEveryFlip(t *testing.T) {
	f := fillAll(t)
	flip := func(data []byte, at int) []byte {
		out := slices.Clone(data)
		out[at] ^= 1 << (at % 8)
		return out
	}
	for _, b := range buckets() {
		type pair struct{ key, value []byte }
		var rows []pair
		if err := f.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(b)).ForEach(func(k, v []byte) error {
				rows = append(rows, pair{slices.Clone(k), slices.Clone(v)})
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			t.Errorf("bucket %s is empty: nothing is shown", b)
		}
		for _, r := range rows[:min(len(rows), 6)] {
			step := max(1, len(r.value)/9)
			for at := 0; at < len(r.value); at += step {
				f.replace(t, b, r.key, flip(r.value, at))
				if len(f.findings(t)) == 0 {
					t.Errorf("bucket %s key %q: octet %d of the value is altered unseen", b, r.key, at)
				}
				f.replace(t, b, r.key, r.value)
			}
			for at := 0; at < len(r.key); at += max(1, len(r.key)/4) {
				other := flip(r.key, at)
				kept := f.get(t, b, other)
				f.update(t, func(tx *bbolt.Tx) error {
					return errors.Join(tx.Bucket([]byte(b)).Delete(r.key), tx.Bucket([]byte(b)).Put(other, r.value))
				})
				if len(f.findings(t)) == 0 {
					t.Errorf("bucket %s key %q: octet %d of the key is altered unseen", b, r.key, at)
				}
				f.update(t, func(tx *bbolt.Tx) error {
					err := errors.Join(tx.Bucket([]byte(b)).Delete(other), tx.Bucket([]byte(b)).Put(r.key, r.value))
					if kept != nil {
						err = errors.Join(err, tx.Bucket([]byte(b)).Put(other, kept))
					}
					return err
				})
			}
		}
	}
	if found := f.findings(t); len(found) > 0 {
		t.Errorf("restored, and still: %+v", found)
	}
}

// TestDamagedFile flips bits anywhere in the file of a stopped server: whatever
// they hit, reading gives errors and findings, never a crash.
func TestDamagedFile(t *testing.T) {
	f := fillAll(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	good = bytes.TrimRight(good, "\x00")
	good = append(good, make([]byte, (4096-len(good)%4096)%4096)...)
	rng := rand.New(rand.NewPCG(3, 4))
	path := filepath.Join(t.TempDir(), "damaged.db")
	noticed, want := 0, dump(t, f.path)
	for range 400 {
		bad := slices.Clone(good)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		switch {
		case readDamaged(t, path, f):
			noticed++
		case dump(t, path) != want:
			t.Error("a flip that changed a row was not noticed")
		}
	}
	t.Logf("%d of 400 flips were noticed; the others hit free space", noticed)
	if noticed < 40 {
		t.Errorf("only %d of 400 flips were noticed", noticed)
	}
}

// dump is a hash of all rows. Of a file whose newer meta page is damaged bbolt
// shows the state before it, which is one unit's entries shorter: a rollback, to
// be noticed by who remembers the ledger's size.
func dump(t *testing.T, path string) [32]byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := sha256.New()
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				_, err := fmt.Fprintf(h, "%q %q %q\n", name, k, v)
				return err
			})
		})
	}); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// readDamaged tells whether anything was noticed.
func readDamaged(t *testing.T, path string, f *filled) bool {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
	if err != nil {
		return true
	}
	defer s.Close()
	noticed := false
	note := func(err error) { noticed = noticed || err != nil }
	head, err := s.Head(t.Context())
	note(err)
	noticed = noticed || head.Size != f.edge.Size()
	_, err = s.Entries(t.Context(), 0, 1000)
	note(err)
	_, err = s.BySerial(t.Context(), f.a.Reserve.Issuer, f.a.Reserve.Serial)
	note(err)
	_, err = s.Certificates(t.Context(), storage.Query{Order: storage.ByExpiry, Limit: 100, Descending: true})
	note(err)
	note(s.Scrub(t.Context(), nil, func(storage.Finding) { noticed = true }))
	return noticed
}
