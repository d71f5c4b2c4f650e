package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestLedgerVerifyNamesTampering changes a stopped server's database behind its
// back, one fault at a time; verify exits 8 and names what.
func TestLedgerVerifyNamesTampering(t *testing.T) {
	s := newServer(t)
	s.start()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	var serials []string
	for i := range 5 {
		c, err := client.SignCertificate(context.Background(), &certwrightv1.SignCertificateRequest{
			Csr: csrPEM(t, newKey(t), fmt.Sprintf("host%d.internal", i)), Profile: "server",
		})
		if err != nil {
			t.Fatal(err)
		}
		serials = append(serials, c.Serial)
	}
	s.stop()
	db := filepath.Join(s.data, "ledger.db")
	whole := readAll(t, db)

	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, tx *bbolt.Tx)
		names  []string // one of these must be named
	}{
		{"one byte of an entry", func(t *testing.T, tx *bbolt.Tx) {
			flip(t, tx.Bucket([]byte("entry")), containing("host2.internal"))
		}, []string{"entry"}},
		{"one byte of a certificate row", func(t *testing.T, tx *bbolt.Tx) {
			flip(t, tx.Bucket([]byte("cert")), keyWith(serials[1]))
		}, serials[1:2]},
		{"a certificate row deleted", func(t *testing.T, tx *bbolt.Tx) {
			b := tx.Bucket([]byte("cert"))
			k, _ := find(t, b, keyWith(serials[3]))
			check(t, b.Delete(k))
		}, serials[3:4]},
		{"two certificate rows swapped", func(t *testing.T, tx *bbolt.Tx) {
			b := tx.Bucket([]byte("cert"))
			k1, v1 := find(t, b, keyWith(serials[0]))
			k2, v2 := find(t, b, keyWith(serials[4]))
			check(t, b.Put(k1, v2))
			check(t, b.Put(k2, v1))
		}, []string{serials[0], serials[4]}},
		{"an owner index altered", func(t *testing.T, tx *bbolt.Tx) {
			b := tx.Bucket([]byte("owner"))
			k, v := find(t, b, keyContaining("platform"))
			check(t, b.Delete(k))
			check(t, b.Put(bytes.Replace(k, []byte("platform"), []byte("platfxrm"), 1), v))
		}, []string{"platfxrm", "owner"}},
		{"the last entry dropped", func(t *testing.T, tx *bbolt.Tx) {
			b := tx.Bucket([]byte("entry"))
			k, _ := b.Cursor().Last()
			check(t, b.Delete(bytes.Clone(k)))
		}, []string{"entry", "entries"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			check(t, os.WriteFile(db, []byte(whole), 0o600))
			b, err := bbolt.Open(db, 0o600, nil)
			check(t, err)
			check(t, b.Update(func(tx *bbolt.Tx) error { tc.tamper(t, tx); return nil }))
			check(t, b.Close())
			r := s.run(t.TempDir(), "ledger", "verify")
			if r.code != 8 {
				t.Fatalf("exit %d, want 8\n%s%s", r.code, r.stdout, r.stderr)
			}
			out := r.stdout + r.stderr
			for _, name := range tc.names {
				if strings.Contains(out, name) {
					t.Logf("%s", firstLine(out))
					return
				}
			}
			t.Errorf("none of %q is named:\n%s", tc.names, out)
		})
	}
	check(t, os.WriteFile(db, []byte(whole), 0o600))
	s.must(t.TempDir(), "ledger", "verify", "--signatures")
}

// TestLedgerVerifyLive changes one byte of an entry in the file of a running
// server: its own verification finds it.
func TestLedgerVerifyLive(t *testing.T) {
	s := newServer(t)
	s.start()
	s.must(t.TempDir(), "cert", "issue", "live-tamper.internal")
	db, err := os.OpenFile(filepath.Join(s.data, "ledger.db"), os.O_RDWR, 0)
	check(t, err)
	defer db.Close()
	// The server's own work may move the row meanwhile, and then what was changed is a
	// page that is free: it counts once nothing else has changed.
	changed, alone := 0, false
	for tries := 0; tries < 50 && !alone; tries++ {
		want := readWhole(t, db)
		needle := []byte("live-tamper.internal")
		for at := 0; ; {
			i := bytes.Index(want[at:], needle)
			if i < 0 {
				break
			}
			at += i
			want[at] = 'L'
			_, err := db.WriteAt(want[at:at+1], int64(at))
			check(t, err)
			changed++
		}
		alone = bytes.Equal(readWhole(t, db), want)
	}
	if changed == 0 || !alone {
		t.Fatalf("the name stands in the file %d times, alone: %v", changed, alone)
	}
	r := s.run(t.TempDir(), "ledger", "verify")
	if r.code != 8 || !strings.Contains(r.stdout+r.stderr, "entry") {
		t.Fatalf("exit %d, want 8 with the entry named\n%s%s", r.code, r.stdout, r.stderr)
	}
	s.kill()
}

func readWhole(t *testing.T, f *os.File) []byte {
	t.Helper()
	info, err := f.Stat()
	check(t, err)
	content, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
	check(t, err)
	return content
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// find is a copy of the first key and value that match.
func find(t *testing.T, b *bbolt.Bucket, match func(k, v []byte) bool) (key, value []byte) {
	t.Helper()
	if b == nil {
		t.Fatal("there is no such bucket")
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if match(k, v) {
			return bytes.Clone(k), bytes.Clone(v)
		}
	}
	t.Fatal("there is no such row")
	return nil, nil
}

// flip changes one bit in the middle of the row that matches.
func flip(t *testing.T, b *bbolt.Bucket, match func(k, v []byte) bool) {
	t.Helper()
	k, v := find(t, b, match)
	v[len(v)/2] ^= 1
	check(t, b.Put(k, v))
}

func containing(text string) func(k, v []byte) bool {
	return func(_, v []byte) bool { return bytes.Contains(v, []byte(text)) }
}

func keyContaining(text string) func(k, v []byte) bool {
	return func(k, _ []byte) bool { return bytes.Contains(k, []byte(text)) }
}

func keyWith(serial string) func(k, v []byte) bool {
	return func(k, _ []byte) bool { return strings.HasSuffix(fmt.Sprintf("%x", k), serial) }
}
