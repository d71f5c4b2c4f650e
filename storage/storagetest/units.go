package storagetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// testCompareAndSwap: callers who read a counter, add one and write it back at
// the version they read lose no addition, and no version is given twice.
func testCompareAndSwap(t *testing.T, b Backend) {
	s := b.store(t)
	const callers, each = 8, 25
	do(t, s, storage.PutRecord{Collection: "counter", ID: "x", Body: make([]byte, 8)})
	var mu sync.Mutex
	seen := map[uint64]bool{}
	together(t, callers, func(int) error {
		for done := 0; done < each; {
			r, err := s.Record(t.Context(), "counter", "x")
			if err != nil {
				return err
			}
			next := binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(r.Body)+1)
			_, err = s.Commit(t.Context(), storage.Unit{
				storage.PutRecord{Collection: "counter", ID: "x", IfVersion: r.Version, Body: next},
			})
			if errors.Is(err, storage.ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
			done++
			mu.Lock()
			if seen[r.Version] {
				t.Errorf("version %d was followed twice", r.Version)
			}
			seen[r.Version] = true
			mu.Unlock()
		}
		return nil
	})
	r, err := s.Record(t.Context(), "counter", "x")
	if err != nil || binary.BigEndian.Uint64(r.Body) != callers*each || r.Version != callers*each+1 {
		t.Errorf("counter %x at version %d, %v", r.Body, r.Version, err)
	}
}

// testAllOrNothing: whichever command of a unit fails, nothing of it is there.
func testAllOrNothing(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	taken := issuer.Issue(t, Spec{})
	do(t, s, taken.Reserve, storage.PutRecord{Collection: "c", ID: "old", Body: []byte("old")})
	value := []byte("admin@internal")
	commitment := entry.Commit([32]byte{1}, value)
	i := issuer.Issue(t, Spec{RequestID: "r"})
	good := storage.Unit{
		i.Reserve, Action("x"), storage.UseToken{ID: "t", For: [32]byte{1}, Max: 1}, storage.PutRecord{Collection: "c", ID: "new"},
		storage.PutRecord{Collection: "c", ID: "old", IfVersion: 1, Body: []byte("new")}, issuer.PutCRL(t, "0", 1, []byte("crl")),
		storage.PutErasable{Commitment: commitment, Salt: [32]byte{1}, Value: value}, taken.Revoke(t, identity.Superseded),
	}
	bad := storage.RequireRecord{Collection: "c", ID: "old", Version: 7}
	for at := range len(good) + 1 {
		refuse(t, s, storage.ErrConflict, slices.Insert(slices.Clone(good), at, storage.Command(bad))...)
	}
	checkNothing(t, s, issuer, i, commitment)
	if c := read(t, s, taken); c.Revocation != nil {
		t.Error("a revocation has stayed")
	}
	do(t, s, good...)
	sound(t, s)
}

func checkNothing(t *testing.T, s storage.Store, issuer *Issuer, i Issuance, commitment [32]byte) {
	t.Helper()
	ctx := t.Context()
	_, errSerial := s.BySerial(ctx, issuer.ID, i.Reserve.Serial)
	_, errRequest := s.ByRequest(ctx, i.RequestKey)
	_, errRecord := s.Record(ctx, "c", "new")
	_, errCRL := s.CRL(ctx, issuer.ID, "0")
	_, _, errErasable := s.Erasable(ctx, commitment)
	for n, err := range []error{errSerial, errRequest, errRecord, errCRL, errErasable} {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("read %d: %v", n, err)
		}
	}
	old, err := s.Record(ctx, "c", "old")
	if err != nil || string(old.Body) != "old" || old.Version != 1 {
		t.Errorf("old record %q at %d, %v", old.Body, old.Version, err)
	}
	if n, err := s.TokenUses(ctx, "t"); err != nil || n != 0 || size(t, s) != 1 {
		t.Errorf("%d uses (%v), %d entries", n, err, size(t, s))
	}
}

// testBatchIsolation: of units that want the same thing at the same time one
// gets it; bad units among them harm nobody; indexes have no gaps.
func testBatchIsolation(t *testing.T, b Backend) {
	s := b.store(t)
	issuer := NewIssuer(t)
	const groups, each = 10, 6
	same := make([]Issuance, groups)
	for g := range same {
		same[g] = issuer.Issue(t, Spec{RequestID: strconv.Itoa(g)})
	}
	var mu sync.Mutex
	var indexes []uint64
	won := together(t, groups*each, func(n int) error {
		r, err := s.Commit(t.Context(), storage.Unit{same[n%groups].Reserve, Action("with it")})
		mu.Lock()
		indexes = append(indexes, r.Indexes...)
		mu.Unlock()
		return err
	}, storage.ErrDuplicateSerial)
	if won != groups {
		t.Errorf("%d of %d won, want %d", won, groups*each, groups)
	}
	slices.Sort(indexes)
	for i, index := range indexes {
		if index != uint64(i) {
			t.Fatalf("indexes %v", indexes)
		}
	}
	if size(t, s) != groups*2 {
		t.Errorf("%d entries, want %d", size(t, s), groups*2)
	}
	sound(t, s)
}

// testTree compares root and tiles with a recomputation by RFC 6962 §2.1 that
// shares no code with the backend.
func testTree(t *testing.T, b Backend) {
	s := b.store(t)
	if h, err := s.Head(t.Context()); err != nil || h.Size != 0 || h.Root != sha256.Sum256(nil) {
		t.Fatalf("empty head %+v, %v", h, err)
	}
	for _, total := range []int{1, 2, 3, 255, 256, 257, 600} {
		var unit storage.Unit
		for i := size(t, s); i < uint64(total); i++ {
			unit = append(unit, Action(strconv.FormatUint(i, 10)))
		}
		do(t, s, unit...)
		var hashes [][32]byte
		for len(hashes) < total {
			entries, err := s.Entries(t.Context(), uint64(len(hashes)), 100)
			if err != nil || len(entries) == 0 {
				t.Fatalf("entries from %d: %d, %v", len(hashes), len(entries), err)
			}
			for _, e := range entries {
				hashes = append(hashes, sha256.Sum256(append([]byte{0}, e...)))
			}
		}
		h, err := s.Head(t.Context())
		if err != nil || h.Size != uint64(total) || h.Root != treeHash(hashes) {
			t.Errorf("root of %d entries differs (%v)", total, err)
		}
		checkTiles(t, s, hashes)
	}
	if entries, err := s.Entries(t.Context(), 600, 10); err != nil || len(entries) != 0 {
		t.Errorf("entries at the end: %d, %v", len(entries), err)
	}
	sound(t, s)
}

// treeHash is MTH of RFC 6962 §2.1 over leaf hashes.
func treeHash(leaves [][32]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := treeHash(leaves[:k]), treeHash(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func checkTiles(t *testing.T, s storage.LedgerReader, leaves [][32]byte) {
	t.Helper()
	const full = 256
	for level, hashes := 0, leaves; len(hashes) > 0; level++ {
		var above [][32]byte
		for n := 0; n*full < len(hashes); n++ {
			part := hashes[n*full : min(len(hashes), (n+1)*full)]
			for _, width := range []int{1, (len(part) + 1) / 2, len(part)} {
				tile, err := s.Tile(t.Context(), level, uint64(n), width)
				var want []byte
				for _, h := range part[:width] {
					want = append(want, h[:]...)
				}
				if err != nil || !slices.Equal(tile, want) {
					t.Errorf("tile %d/%d of width %d of %d leaves differs (%v)", level, n, width, len(leaves), err)
				}
			}
			if len(part) < full {
				_, err := s.Tile(t.Context(), level, uint64(n), len(part)+1)
				if !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("tile %d/%d wider than the tree: %v", level, n, err)
				}
			} else {
				above = append(above, treeHash(part))
			}
		}
		hashes = above
	}
	for _, wrong := range [][3]int{{-1, 0, 1}, {64, 0, 1}, {0, 9, 1}, {0, 0, 0}, {0, 0, 257}, {5, 0, 1}} {
		if _, err := s.Tile(t.Context(), wrong[0], uint64(wrong[1]), wrong[2]); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("tile %v: %v", wrong, err)
		}
	}
}

// testEntryTimes: times never fall, and the receipt's time is the entry's.
func testEntryTimes(t *testing.T, b Backend) {
	s := b.store(t)
	var last int64
	for i := range uint64(20) {
		r := do(t, s, Action("a"), Action("b"))
		raw, err := s.Entries(t.Context(), 2*i, 2)
		if err != nil || len(raw) != 2 {
			t.Fatalf("%d entries, %v", len(raw), err)
		}
		for _, one := range raw {
			e, err := entry.Parse(one)
			if err != nil || !e.Time.Equal(r.Time) || e.Time.UnixMilli() < last {
				t.Errorf("entry %d at %v, receipt says %v (%v)", i, e.Time, r.Time, err)
			}
			last = e.Time.UnixMilli()
		}
	}
	if h, err := s.Head(t.Context()); err != nil || h.LastTime.UnixMilli() != last {
		t.Errorf("head's last time %v, %v", h.LastTime, err)
	}
	if r := do(t, s, storage.PutRecord{Collection: "c", ID: "x"}); !r.Time.IsZero() || r.Indexes != nil {
		t.Errorf("a unit without entries has the receipt %+v", r)
	}
}

// testReopen: everything that was answered is there afterwards, and the ledger
// goes on where it was.
func testReopen(t *testing.T, b Backend) {
	s := b.Open(t)
	issuer := NewIssuer(t)
	var all []Issuance
	for range 5 {
		for range 60 {
			i := issuer.Issue(t, Spec{})
			all = append(all, i)
			do(t, s, i.Reserve)
			do(t, s, i.Complete)
		}
		before, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s = b.Reopen(t, s)
		if after, err := s.Head(t.Context()); err != nil || after != before {
			t.Fatalf("head %+v became %+v (%v)", before, after, err)
		}
		for _, i := range all {
			if c := read(t, s, i); c.State != storage.Issued {
				t.Fatalf("%s is %s", c.Serial, c.State)
			}
		}
	}
	sound(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(context.Background(), storage.Unit{Action("late")}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("commit to a closed store: %v", err)
	}
}

func testCancelled(t *testing.T, b Backend) {
	s := b.store(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Commit(ctx, storage.Unit{Action("x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Head(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if size(t, s) != 0 {
		t.Error("a cancelled unit has been done")
	}
}
