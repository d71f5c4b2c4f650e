package bolt

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

// formatOne is a file that a program of format 1 has written: fillAll's rows.
func formatOne(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/format-1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The tree of the fixture, as the program that wrote it said it.
const formatOneRoot = "14685112fd510d496fde84f52ea75ddea16cc6b8293dc283b4784793be329015"

// TestMigrateFormatOne: a file of the first format opens, everything in it holds
// and goes on.
func TestMigrateFormatOne(t *testing.T) {
	path := formatOne(t)
	_, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code() != "DATABASE_FORMAT" || !strings.Contains(p.Help, "up to date") || strings.Contains(err.Error(), "\n") {
		t.Errorf("read-only: %v", err)
	}
	for n := range uint64(2) { // the second time it is an older format no more
		s, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		f := &filled{Store: s, path: path}
		if found := f.findings(t); len(found) != 0 {
			t.Errorf("findings: %+v", found)
		}
		head, err := s.Head(t.Context())
		if err != nil || n == 0 && hex.EncodeToString(head.Root[:]) != formatOneRoot {
			t.Errorf("root %x, %v", head.Root, err)
		}
		page, err := s.Certificates(t.Context(), storage.Query{Order: storage.ByIndex, Limit: 10})
		if err != nil || len(page.Certificates) != 5 {
			t.Fatalf("%d certificates, %v", len(page.Certificates), err)
		}
		for i, want := range []storage.State{storage.Issued, storage.Issued, storage.Reserved, storage.Abandoned, storage.Issued} {
			if page.Certificates[i].State != want {
				t.Errorf("certificate %d is %s, want %s", i, page.Certificates[i].State, want)
			}
		}
		if v := page.Certificates[4].Revocation; v == nil || v.Reason != identity.KeyCompromise {
			t.Errorf("revocation: %+v", v)
		}
		if r, err := s.Record(t.Context(), "c", "x"); err != nil || string(r.Body) != "body" || r.Version != 1 {
			t.Errorf("record: %+v, %v", r, err)
		}
		if n, err := s.TokenUses(t.Context(), "token"); err != nil || n != 1 {
			t.Errorf("uses: %d, %v", n, err)
		}
		if _, err := s.Commit(t.Context(), storage.Unit{storagetest.Action("goes on")}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigrateAllOrNothing: steps run once each, in order; one that fails leaves the
// file as it was.
func TestMigrateAllOrNothing(t *testing.T) {
	s := newStore(t, Config{})
	var ran []uint32
	step := func(to uint32, err error) migration {
		return migration{to, func(tx *bbolt.Tx) error {
			ran = append(ran, to)
			return errors.Join(tx.Bucket([]byte(bucketErasable)).Put(fmt.Append(nil, to), nil), err)
		}}
	}
	at := func() (v uint32, rows int) {
		if err := s.db.View(func(tx *bbolt.Tx) (err error) {
			rows = tx.Bucket([]byte(bucketErasable)).Stats().KeyN
			v, err = getFormat(tx.Bucket([]byte(bucketMeta)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return v, rows
	}
	failed := errors.New("a step fails")
	if err := s.migrate([]migration{step(2, nil), step(3, nil), step(4, failed)}); !errors.Is(err, failed) || !strings.Contains(err.Error(), "format 4") {
		t.Errorf("a step that fails: %v", err)
	}
	if v, rows := at(); v != format || rows != 0 || fmt.Sprint(ran) != "[3 4]" {
		t.Errorf("format %d, %d rows, ran %v", v, rows, ran)
	}
	for range 2 {
		if err := s.migrate([]migration{step(2, nil), step(3, nil), step(5, nil)}); err != nil {
			t.Fatal(err)
		}
		if v, rows := at(); v != 5 || rows != 2 || fmt.Sprint(ran) != "[3 4 3 5]" {
			t.Errorf("format %d, %d rows, ran %v", v, rows, ran)
		}
	}
	if err := s.migrate([]migration{step(3, nil)}); err == nil {
		t.Error("a newer format is taken")
	}
}

// TestRewrite changes a bucket of several stretches, and each value once.
func TestRewrite(t *testing.T) {
	s := newStore(t, Config{})
	const rows = 10_000
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketErasable))
		for i := range uint64(rows) {
			if err := b.Put(indexKey(i), []byte("x")); err != nil {
				return err
			}
		}
		calls := 0
		if err := rewrite(b, func(key, value []byte) []byte {
			calls++
			if key[7]%2 == 1 {
				return nil
			}
			return append([]byte(strings.Repeat("y", 100)), value...)
		}); err != nil {
			return err
		}
		if calls != rows {
			t.Errorf("%d calls", calls)
		}
		return b.ForEach(func(key, value []byte) error {
			if want := 1 + 100*(1-int(key[7]%2)); len(value) != want {
				t.Errorf("%x has %d octets, want %d", key, len(value), want)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}

// TestNewerRow: a row of a version that this program does not know is refused, and
// found.
func TestNewerRow(t *testing.T) {
	f := fillAll(t)
	key := keyOf(f.a)
	value := f.get(t, bucketCert, key)
	value = value[:len(value)-sealSize]
	value[0] = rowVersion + 1
	f.replace(t, bucketCert, key, mark(key, value))
	if _, err := f.BySerial(t.Context(), f.a.Reserve.Issuer, f.a.Reserve.Serial); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("read: %v", err)
	}
	if found := f.findings(t); len(found) == 0 || !strings.Contains(found[0].Detail, "version 2") {
		t.Errorf("findings: %+v", found)
	}
}
