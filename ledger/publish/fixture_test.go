package publish_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const origin = "ca.example/ledger"

// world is a ledger with its publisher.
type world struct {
	t     testing.TB
	dir   string
	store *bolt.Store
	log   *ledger.Log
	*publish.Publisher
}

// newWorld makes a ledger whose key comes from seed, with n entries.
func newWorld(t testing.TB, seed byte, n int) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir}
	w.must(bolt.Create(filepath.Join(dir, "ledger.db")))
	var err error
	// All entries have one time: two worlds of one seed are the same.
	w.store, err = bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(dir, "ledger.db"), Linger: -1, Now: func() time.Time { return time.UnixMilli(1770091506789) }})
	w.must(err)
	t.Cleanup(func() { w.must(w.store.Close()) })
	w.log, err = ledger.Open(t.Context(), ledger.Config{
		Store: w.store, Origin: origin, Signer: ed25519.NewKeyFromSeed(fill(seed)), Lock: filepath.Join(dir, "lock"), Interval: time.Hour, Issuers: [][32]byte{{1}},
	})
	w.must(err)
	w.Publisher = publish.New(publish.Config{Store: w.store, Checkpoint: w.log.Checkpoint})
	w.grow(n - 1)
	return w
}

func fill(b byte) []byte {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = b
	}
	return seed
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// grow appends n entries and signs a checkpoint of all.
func (w *world) grow(n int, details ...string) {
	w.t.Helper()
	detail := "profiles: server"
	if len(details) > 0 {
		detail = details[0]
	}
	d, err := entry.Action{Action: "token.created", Target: "0a0b", Detail: detail}.Draft("local_socket:admin")
	w.must(err)
	for n > 0 {
		var u storage.Unit
		for ; n > 0 && len(u) < 500; n-- {
			u = append(u, storage.AppendEntry{Entry: d})
		}
		_, err := w.store.Commit(w.t.Context(), u)
		w.must(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	cancel()
	w.must(w.log.Run(ctx)) // its end is a last checkpoint
}

func (w *world) checkpoint() ledger.Checkpoint {
	w.t.Helper()
	cp, err := w.log.Checkpoint(w.t.Context())
	w.must(err)
	return cp
}

// export exports into dir.
func (w *world) export(from publish.Source, dir string) (publish.Exported, error) {
	return publish.Export(w.t.Context(), publish.ExportConfig{From: from, Dir: dir, VerifierKey: w.log.VerifierKey()})
}

// counting is a source that remembers what it was asked for, and may fail after so
// many files.
type counting struct {
	publish.Source
	mu     sync.Mutex
	asked  []string
	limit  int // 0: none
	change func(path string, data []byte) []byte
}

var errCut = errors.New("the connection was cut")

func (c *counting) File(ctx context.Context, path string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, path)
	if c.limit > 0 && len(c.asked) > c.limit {
		return nil, errCut
	}
	data, err := c.Source.File(ctx, path)
	if err == nil && c.change != nil {
		data = c.change(path, append([]byte{}, data...))
	}
	return data, err
}

// files reads all files under a folder by their paths.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
