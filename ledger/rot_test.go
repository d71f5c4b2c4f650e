package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// newFullScene is a scene with rows in every bucket.
func newFullScene(t *testing.T) *scene {
	t.Helper()
	sc := newScene(t)
	s, closed := sc.store(t, false)
	at := time.Now()
	draft := func(b interface {
		Draft(actor string) (entry.Draft, error)
	}) entry.Draft {
		d, err := b.Draft("system:server")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	serial := identity.Serial(sc.certs[2].SerialNumber.FillBytes(make([]byte, 16)))
	_, asked := sc.ca.leaf(t, "asked.example")
	intent, err := entry.ParseIntent(asked.Entry)
	if err != nil {
		t.Fatal(err)
	}
	intent.RequestKey, intent.RequestDigest = [32]byte{1}, [32]byte{2}
	asked.Entry = draft(intent)
	_, given := sc.ca.leaf(t, "given-up.example")
	receipt, err := s.Commit(t.Context(), storage.Unit{asked, given})
	if err != nil {
		t.Fatal(err)
	}
	salt, value := [32]byte{3}, []byte("ip:10.0.0.0/8")
	if _, err := s.Commit(t.Context(), storage.Unit{
		storage.Revoke{
			Entry:  draft(entry.Revoked{Issuer: sc.ca.id, Serial: serial, Reason: 1, At: at}),
			Issuer: sc.ca.id, Serial: serial, Reason: identity.KeyCompromise, At: at,
		},
		storage.Abandon{Entry: draft(entry.Abandoned{Index: receipt.Indexes[1], Reason: "canceled"}), Issuer: sc.ca.id, Serial: given.Serial},
		storage.PutCRL{
			Entry:  draft(entry.CRL{Issuer: sc.ca.id, Shard: "3", Number: 1, SHA256: sha256Of("crl")}),
			Issuer: sc.ca.id, Shard: "3", Number: 1, DER: []byte("crl"),
		},
		storage.UseToken{ID: "0a0b", For: [32]byte{4}, Max: 2},
		storage.PutErasable{Commitment: entry.Commit(salt, value), Salt: salt, Value: value},
		storage.PutRecord{
			Collection: "token", ID: "0a0b", Body: []byte(`{"owner":"team-a"}`), Expires: at.Add(time.Hour),
			Indexes: []storage.RecordIndex{{Name: "request", Value: "key", Unique: true}, {Name: "owner", Value: "team-a"}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	sc.open(t, s)
	closed()
	return sc
}

// live is where a key or a value stands in the file.
type live struct {
	what     string
	at, size int64
}

// liveContent is where the keys and the values of each bucket stand, in one list
// for each.
func (sc *scene) liveContent(t *testing.T) [][]live {
	t.Helper()
	db, err := bbolt.Open(sc.db, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	file := read(t, sc.db)
	begin := db.Info().Data
	var lists [][]live
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			var rows [][2][]byte
			var keys, values []live
			err := b.ForEach(func(k, v []byte) error {
				rows = append(rows, [2][]byte{k, v})
				return nil
			})
			inline := int64(-1)
			if b.Root() == 0 {
				inline = inlineAt(t, tx, file, rows)
			}
			for _, row := range rows {
				k, v := row[0], row[1]
				at := inline
				if inline >= 0 {
					inline += int64(len(k) + len(v))
				} else {
					at = int64(uintptr(unsafe.Pointer(unsafe.SliceData(k))) - begin)
				}
				keys = append(keys, live{fmt.Sprintf("%s key %x", name, k), at, int64(len(k))})
				if len(v) > 0 {
					values = append(values, live{fmt.Sprintf("%s value of %x", name, k), at + int64(len(k)), int64(len(v))})
				}
				if !bytes.Equal(file[at:][:len(k)+len(v)], append(bytes.Clone(k), v...)) {
					t.Fatalf("%s key %x does not stand at %d", name, k, at)
				}
			}
			if len(keys) == 0 {
				t.Errorf("the bucket %s is empty", name)
			}
			lists = append(lists, keys)
			if len(values) > 0 {
				lists = append(lists, values)
			}
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	return lists
}

// inlineAt finds the rows of a small bucket, which bbolt keeps inside the page
// that names it and may have copied: behind their elements {flags, position, sizes
// of key and value}, in the one page in use that has them.
func inlineAt(t *testing.T, tx *bbolt.Tx, file []byte, rows [][2][]byte) int64 {
	t.Helper()
	var elements, data []byte
	for i, row := range rows {
		for _, n := range []int{0, (len(rows)-i)*16 + len(data), len(row[0]), len(row[1])} {
			elements = binary.NativeEndian.AppendUint32(elements, uint32(n))
		}
		data = append(append(data, row[0]...), row[1]...)
	}
	found := int64(-1)
	size := tx.DB().Info().PageSize
	for at := 0; ; at++ {
		next := bytes.Index(file[at:], append(bytes.Clone(elements), data...))
		if next < 0 {
			break
		}
		at += next
		page, err := tx.Page(at / size)
		if err != nil {
			t.Fatal(err)
		}
		if page != nil && page.Type != "free" {
			if found >= 0 {
				t.Fatal("rows in two pages")
			}
			found = int64(at + len(elements))
		}
	}
	if found < 0 {
		t.Fatal("rows in no page")
	}
	return found
}

// TestRot: whichever byte of live content changes in the file, verify says so.
func TestRot(t *testing.T) {
	const seed = 20260731
	random := rand.New(rand.NewPCG(seed, seed))
	perList := 16
	if testing.Short() {
		perList = 4
	}
	if rounds, err := strconv.Atoi(os.Getenv("CERTWRIGHT_CRASH_ROUNDS")); err == nil {
		perList = max(perList, rounds)
	}
	sc := newFullScene(t)
	if _, found := sc.verify(t, nil); len(found) > 0 {
		t.Fatalf("before: %+v", found)
	}
	file, err := os.OpenFile(sc.db, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lists := sc.liveContent(t)
	flips, missed := 0, 0
	for _, list := range lists {
		for range perList {
			in := list[random.IntN(len(list))]
			at, bit := in.at+random.Int64N(in.size), byte(1)<<random.IntN(8)
			flipInFile(t, file, at, bit)
			if flips++; !sc.found(t) {
				missed++
				t.Errorf("octet %d of %s, bit %#x: not found", at-in.at, in.what, bit)
			}
			flipInFile(t, file, at, bit)
		}
	}
	t.Logf("%d flips in %d kinds of places, %d missed", flips, len(lists), missed)
	if sc.found(t) {
		t.Error("something is left")
	}
}

func flipInFile(t *testing.T, file *os.File, at int64, bit byte) {
	t.Helper()
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= bit
	if _, err := file.WriteAt(one, at); err != nil {
		t.Fatal(err)
	}
}

// found tells whether a verification finds anything, or the store does not open
// because it is damaged.
func (sc *scene) found(t *testing.T) bool {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Config{Path: sc.db, ReadOnly: true})
	if err != nil {
		var p *problem.Problem
		if !errors.As(err, &p) || !slices.Contains([]string{"DATABASE_UNREADABLE", "DATABASE_FORMAT"}, p.Reason) {
			t.Errorf("%v", err)
		}
		return true
	}
	defer s.Close()
	c := ledger.VerifyConfig{Store: s, VerifierKey: sc.vkey(t), Lock: sc.lock}
	sum, err := ledger.Verify(t.Context(), c, nil)
	return err != nil || sum.Findings > 0
}

func sha256Of(text string) [32]byte { return sha256.Sum256([]byte(text)) }
