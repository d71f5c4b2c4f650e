package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// testTokens: of 64 callers at the same time exactly Max get a use.
func testTokens(t *testing.T, b Backend) {
	s := b.store(t)
	const callers = 64
	for _, most := range []uint32{1, 5, callers} {
		id := fmt.Sprintf("token-%d", most)
		use := func(n int) storage.UseToken { return storage.UseToken{ID: id, For: [32]byte{byte(n)}, Max: most} }
		won := together(t, callers, func(n int) error {
			_, err := s.Commit(t.Context(), storage.Unit{use(n)})
			return err
		}, storage.ErrTokenSpent)
		if uses, err := s.TokenUses(t.Context(), id); err != nil || won != int(most) || uses != most {
			t.Errorf("%d of %d won, %d uses (%v), want %d", won, callers, uses, err, most)
		}
	}
	// The same request again is no further use; what is given back can be used.
	one := storage.UseToken{ID: "one", For: [32]byte{1}, Max: 1}
	two := storage.UseToken{ID: "one", For: [32]byte{2}, Max: 1}
	do(t, s, one)
	do(t, s, one)
	refuse(t, s, storage.ErrTokenSpent, two)
	do(t, s, storage.ReleaseToken{ID: "one", For: [32]byte{2}})
	refuse(t, s, storage.ErrTokenSpent, two)
	do(t, s, storage.ReleaseToken{ID: "one", For: [32]byte{1}})
	do(t, s, two)
	refuse(t, s, storage.ErrTokenSpent, one)
	if uses, err := s.TokenUses(t.Context(), "never"); err != nil || uses != 0 {
		t.Errorf("unused token: %d, %v", uses, err)
	}
	sound(t, s)
}

func testRecords(t *testing.T, b Backend) {
	s := b.store(t)
	ctx := t.Context()
	put := func(version uint64, body string) storage.PutRecord {
		return storage.PutRecord{Collection: "c", ID: "x", IfVersion: version, Body: []byte(body)}
	}
	refuse(t, s, storage.ErrConflict, put(1, "a"))
	refuse(t, s, storage.ErrNotFound, storage.DeleteRecord{Collection: "c", ID: "x", IfVersion: storage.AnyVersion})
	do(t, s, put(0, "a"))
	refuse(t, s, storage.ErrConflict, put(0, "b"))
	do(t, s, put(1, "b"))
	do(t, s, put(storage.AnyVersion, "c"))
	r, err := s.Record(ctx, "c", "x")
	if err != nil || r.Version != 3 || string(r.Body) != "c" || r.ID != "x" || !r.Expires.IsZero() {
		t.Errorf("record %+v, %v", r, err)
	}
	do(t, s, storage.RequireRecord{Collection: "c", ID: "x", Version: 3})
	refuse(t, s, storage.ErrConflict, storage.RequireRecord{Collection: "c", ID: "x", Version: 2})
	refuse(t, s, storage.ErrConflict, storage.DeleteRecord{Collection: "c", ID: "x", IfVersion: 2})
	do(t, s, storage.DeleteRecord{Collection: "c", ID: "x", IfVersion: 3})
	if _, err := s.Record(ctx, "c", "x"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("deleted record: %v", err)
	}
	for _, bad := range []storage.PutRecord{
		{Collection: "", ID: "x"}, {Collection: "c", ID: ""}, {Collection: "c\x00", ID: "x"}, {Collection: "c", ID: "\x00"},
		{Collection: "c", ID: "x", Indexes: []storage.RecordIndex{{Name: "n", Value: "a\x00b"}}},
	} {
		if _, err := s.Commit(ctx, storage.Unit{bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	for i := range 25 {
		do(t, s, storage.PutRecord{
			Collection: "list", ID: fmt.Sprintf("%02d", i), Body: []byte{byte(i)},
			Indexes: []storage.RecordIndex{{Name: "even", Value: fmt.Sprint(i%2 == 0)}},
		})
	}
	do(t, s, storage.PutRecord{Collection: "list2", ID: "other"})
	testRecordWithEntry(t, s)
	for index, want := range map[string]int{"": 25, "even": 13} {
		if got := listRecords(t, s, "list", index, "true", 4); len(got) != want {
			t.Errorf("index %q lists %q", index, got)
		}
	}
	// An index follows its record.
	do(t, s, storage.PutRecord{Collection: "list", ID: "00", IfVersion: 1, Indexes: []storage.RecordIndex{{Name: "even", Value: "false"}}})
	if got := listRecords(t, s, "list", "even", "true", 10); len(got) != 12 {
		t.Errorf("after a change: %q", got)
	}
	sound(t, s)
}

// testRecordWithEntry: a record keeps the index of the entry before it.
func testRecordWithEntry(t *testing.T, s storage.Store) {
	t.Helper()
	with := storage.PutRecord{Collection: "with", ID: "x", IfVersion: storage.AnyVersion, WithEntry: true}
	if _, err := s.Commit(t.Context(), storage.Unit{with, Action("after")}); err == nil {
		t.Error("a record takes an entry that stands after it")
	}
	for range 2 {
		got := do(t, s, Action("one"), Action("two"), with, Action("three"))
		r, err := s.Record(t.Context(), "with", "x")
		if err != nil || r.Entry != got.Indexes[1] {
			t.Errorf("entry %d of %v, %v", r.Entry, got.Indexes, err)
		}
	}
}

// listRecords pages through a collection and returns the IDs, which must rise.
func listRecords(t *testing.T, s storage.RecordReader, collection, index, value string, limit int) []string {
	t.Helper()
	var ids []string
	for after := []byte(nil); ; {
		page, err := s.Records(t.Context(), collection, index, value, after, limit)
		if err != nil || len(page.Records) > limit {
			t.Fatalf("page of %d, %v", len(page.Records), err)
		}
		for _, r := range page.Records {
			if len(ids) > 0 && r.ID <= ids[len(ids)-1] {
				t.Fatalf("%q after %q", r.ID, ids)
			}
			ids = append(ids, r.ID)
		}
		if page.Next == nil {
			return ids
		}
		after = page.Next
	}
}

// testUniqueIndexes: of many records with one unique value one is stored; the
// value is free again when its record goes or changes.
func testUniqueIndexes(t *testing.T, b Backend) {
	s := b.store(t)
	put := func(id, value string, version uint64) storage.PutRecord {
		return storage.PutRecord{
			Collection: "account", ID: id, IfVersion: version,
			Indexes: []storage.RecordIndex{{Name: "key", Value: value, Unique: true}},
		}
	}
	won := together(t, rivals, func(n int) error {
		_, err := s.Commit(t.Context(), storage.Unit{put(fmt.Sprintf("id-%d", n), "k", 0)})
		return err
	}, storage.ErrConflict)
	if won != 1 {
		t.Fatalf("%d records have the same unique value", won)
	}
	page, err := s.Records(t.Context(), "account", "key", "k", nil, 10)
	if err != nil || len(page.Records) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	winner := page.Records[0].ID
	do(t, s, put(winner, "k", 1)) // its own value is no conflict
	do(t, s, put(winner, "other", 2))
	do(t, s, put("second", "k", 0))
	refuse(t, s, storage.ErrConflict, put(winner, "k", 3))
	do(t, s, storage.DeleteRecord{Collection: "account", ID: "second", IfVersion: 1})
	do(t, s, put(winner, "k", 3))
	sound(t, s)
}

func testExpiredRecords(t *testing.T, b Backend) {
	s := b.store(t)
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 10 {
		do(t, s, storage.PutRecord{Collection: "c", ID: fmt.Sprint(9 - i), Expires: start.Add(time.Duration(i) * time.Minute)})
	}
	do(t, s, storage.PutRecord{Collection: "c", ID: "never"})
	do(t, s, storage.PutRecord{Collection: "c2", ID: "other", Expires: start})
	got, err := s.ExpiredRecords(t.Context(), "c", start.Add(3*time.Minute), 10)
	if err != nil || len(got) != 3 || got[0].ID != "9" || got[2].ID != "7" || !got[0].Expires.Equal(start) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := s.ExpiredRecords(t.Context(), "c", start.AddDate(1, 0, 0), 4); err != nil || len(got) != 4 {
		t.Errorf("with a limit of 4: %d, %v", len(got), err)
	}
	do(t, s, storage.DeleteRecord{Collection: "c", ID: "9", IfVersion: 1})
	do(t, s, storage.PutRecord{Collection: "c", ID: "8", IfVersion: 1})
	if got, err := s.ExpiredRecords(t.Context(), "c", start.Add(3*time.Minute), 10); err != nil || len(got) != 1 || got[0].ID != "7" {
		t.Errorf("after changes: %+v, %v", got, err)
	}
	sound(t, s)
}

func testErasable(t *testing.T, b Backend) {
	s := b.store(t)
	salt, value := [32]byte{1, 2, 3}, []byte("admin@internal")
	commitment := entry.Commit(salt, value)
	if _, _, err := s.Erasable(t.Context(), commitment); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	do(t, s, storage.PutErasable{Commitment: commitment, Salt: salt, Value: value})
	got, gotSalt, err := s.Erasable(t.Context(), commitment)
	if err != nil || !bytes.Equal(got, value) || gotSalt != salt {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storage.PutErasable{Commitment: [32]byte{1}, Salt: salt, Value: value}}); err == nil {
		t.Error("a value that is not the one committed to is taken")
	}
	sound(t, s)
}
