package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

// spacious is a stopped store with rows enough for pages of their own, and with free ones.
func spacious(t *testing.T) string {
	t.Helper()
	f := fillAll(t)
	body := bytes.Repeat([]byte("x"), 10_000)
	var puts, deletes storage.Unit
	for i := range 100 {
		id := string(rune('A'+i/26)) + string(rune('a'+i%26))
		puts = append(puts, storage.PutRecord{Collection: "big", ID: id, Body: body, Indexes: []storage.RecordIndex{{Name: "n", Value: strings.Repeat("v", 200)}}})
		if i > 2 {
			deletes = append(deletes, storage.DeleteRecord{Collection: "big", ID: id, IfVersion: storage.AnyVersion})
		}
	}
	for _, unit := range []storage.Unit{puts, deletes} {
		if _, err := f.Commit(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.path
}

func pagesOf(t *testing.T, path string) (found []string) {
	t.Helper()
	if err := CheckPages(t.Context(), path, func(s string) bool {
		found = append(found, s)
		return len(found) < 100
	}); err != nil {
		found = append(found, err.Error())
	}
	return found
}

func TestSpace(t *testing.T) {
	path := spacious(t)
	s, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Space(t.Context())
	if err != nil || got.Format != format || got.Size != uint64(fileSize(path)) || got.Free < 900_000 || got.DiskFree == 0 || got.Reserve != defaultSpace || len(got.Buckets) != len(buckets()) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range got.Buckets {
		if b.Name == string(bucketEntry) && (b.Rows < 300 || b.Size < b.Used || b.Used == 0) {
			t.Errorf("%+v", b)
		}
	}
}

func TestCompact(t *testing.T) {
	path := spacious(t)
	to := path + ".compact"
	last, of := uint64(0), uint64(0)
	if err := Compact(t.Context(), path, to, func(done, total uint64) { last, of = done, total }); err != nil || last == 0 || last != of {
		t.Fatalf("%v, progress %d of %d", err, last, of)
	}
	if before, after := fileSize(path), fileSize(to); after > before-900_000 {
		t.Errorf("%d octets, %d before", after, before)
	}
	if found := pagesOf(t, to); len(found) > 0 {
		t.Errorf("pages: %v", found)
	}
	s, err := Open(t.Context(), Config{Path: to})
	if err != nil {
		t.Fatal(err)
	}
	f := &filled{Store: s}
	if found := f.findings(t); len(found) > 0 {
		t.Errorf("findings: %+v", found)
	}
	if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("goes on")}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Compact(t.Context(), path, to, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Compact(ctx, path, path+".other", nil); !errors.Is(err, context.Canceled) || fileSize(path+".other") != 0 {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSameRows: a copy in which one row is other, missing or too many is told.
func TestSameRows(t *testing.T) {
	path := spacious(t)
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"other":    func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketEntry)).Put(indexKey(7), []byte("x")) },
		"missing":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketEntry)).Delete(indexKey(7)) },
		"too many": func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketErasable)).Put([]byte("x"), nil) },
	} {
		to := filepath.Join(t.TempDir(), "copy.db")
		if err := Compact(t.Context(), path, to, nil); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(to, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(change), db.Close()); err != nil {
			t.Fatal(err)
		}
		old, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := sameRows(t.Context(), old, to); err == nil || !strings.Contains(err.Error(), "does not have the rows") {
			t.Errorf("%s: %v", name, err)
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBackupUnderWrites: the copy is one committed state, the store goes on, and its
// reserve of space is watched as before.
func TestBackupUnderWrites(t *testing.T) {
	f := fillAll(t)
	before, err := f.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	out, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	size := uint64(0)
	err = f.Backup(t.Context(), func(octets uint64) error {
		size = octets
		for range 20 {
			if _, err := f.Commit(t.Context(), storage.Unit{storagetest.Action("meanwhile")}); err != nil {
				return err
			}
		}
		return nil
	}, out)
	if err = errors.Join(err, out.Close()); err != nil || uint64(fileSize(copied)) != size {
		t.Fatalf("%v, %d octets, %d told", err, fileSize(copied), size)
	}
	if found := pagesOf(t, copied); len(found) > 0 {
		t.Errorf("pages: %v", found)
	}
	s, err := Open(t.Context(), Config{Path: copied})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if after, err := s.Head(t.Context()); err != nil || after != before {
		t.Errorf("head %+v, want %+v, %v", after, before, err)
	}
	if found := (&filled{Store: s}).findings(t); len(found) > 0 {
		t.Errorf("findings: %+v", found)
	}
	if _, err := f.file.Stat(); err != nil {
		t.Errorf("the store's own file: %v", err)
	}
	if space, err := f.Space(t.Context()); err != nil || space.DiskFree == 0 || space.DiskFree > 1<<60 {
		t.Errorf("%+v, %v", space, err)
	}
}

// TestCheckPages: what the structure of the pages says.
func TestCheckPages(t *testing.T) {
	path := spacious(t)
	if found := pagesOf(t, path); len(found) > 0 {
		t.Fatalf("a whole file: %v", found)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"cut":           {func(b []byte) []byte { return b[:len(b)/8] }, ""},
		"empty":         {func([]byte) []byte { return nil }, "is not a Certwright database"},
		"no database":   {func([]byte) []byte { return bytes.Repeat([]byte("x"), 1<<16) }, "is not a Certwright database"},
		"reached twice": {func(b []byte) []byte { return twice(t, path, b, bucketEntry, bucketRecord) }, "multiple references"},
	} {
		file := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(file, test.change(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(pagesOf(t, file), "\n"); found == "" || !strings.Contains(found, test.want) {
			t.Errorf("%s: %q, want %q", name, found, test.want)
		}
	}
}

// twice gives one bucket the pages of another. A bucket's value in the list of
// buckets begins with its top page, uint64.
func twice(t *testing.T, path string, data []byte, one, other bucket) []byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var from, to uint64
	if err := db.View(func(tx *bbolt.Tx) error {
		from, to = uint64(tx.Bucket([]byte(one)).Root()), uint64(tx.Bucket([]byte(other)).Root())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	was, is := append([]byte(one), binary.NativeEndian.AppendUint64(nil, from)...), append([]byte(one), binary.NativeEndian.AppendUint64(nil, to)...)
	if from == 0 || to == 0 || !bytes.Contains(data, was) {
		t.Fatalf("the buckets are inside the list: %d, %d", from, to)
	}
	return bytes.ReplaceAll(data, was, is)
}
