package ari_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/inventory/ari"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

func TestWindow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	from := time.Now().UTC().Truncate(time.Second)
	c := storage.Certificate{NotBefore: from, NotAfter: from.Add(12 * time.Hour)}
	expect := func(name string, c storage.Certificate, now, start, end time.Time, explanation string) {
		t.Helper()
		w, err := ari.Of(t.Context(), store, c, now)
		if err != nil || !w.Start.Equal(start) || !w.End.Equal(end) || w.Explanation != explanation || w.AskAgain != 36*time.Minute {
			t.Errorf("%s: %+v %v", name, w, err)
		}
	}
	expect("usual", c, from, from.Add(8*time.Hour), from.Add(9*time.Hour), "")
	revoked := c
	revoked.Revocation = &storage.RevocationFact{At: from.Add(time.Hour)}
	expect("revoked", revoked, from.Add(2*time.Hour), from, from.Add(time.Hour), "")
	put, err := ari.Pull(c, from.Add(4*time.Hour), "https://x/why")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Commit(t.Context(), storage.Unit{put}); err != nil {
		t.Fatal(err)
	}
	expect("pulled forward", c, from, from.Add(3*time.Hour), from.Add(4*time.Hour), "https://x/why")
	expect("pulled, and begun", c, from.Add(210*time.Minute), from.Add(210*time.Minute), from.Add(4*time.Hour), "https://x/why")
	expect("revoked before", revoked, from.Add(2*time.Hour), from, from.Add(time.Hour), "https://x/why")
}
