package publish_test

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// recovered is the ledger that goes on from an older copy of the database, in a new
// epoch.
func recovered(t *testing.T, db string, seen ledger.Checkpoint) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	key, lock := ed25519.NewKeyFromSeed(fill(1)), filepath.Join(w.dir, "lock")
	w.must(os.WriteFile(lock, seen.Note, 0o600))
	var err error
	w.store, err = bolt.Open(t.Context(), bolt.Config{Path: db, Linger: -1})
	w.must(err)
	t.Cleanup(func() { w.must(w.store.Close()) })
	r, err := ledger.PlanRecovery(t.Context(), ledger.RecoverConfig{Store: w.store, Origin: origin, Signer: key, Lock: lock, Actor: "local_socket:admin"})
	w.must(err)
	w.must(r.Run(t.Context(), nobody{}, func(uint64, uint64) {}))
	w.log, err = ledger.Open(t.Context(), ledger.Config{Store: w.store, Origin: origin, Signer: key, Lock: lock})
	w.must(err)
	w.Publisher = publish.New(publish.Config{Store: w.store, Checkpoint: w.log.Checkpoint})
	return w
}

type nobody struct{}

func (nobody) Back(context.Context, uint64, entry.Entry, entry.Body, bool) ([]storage.Command, error) {
	return nil, nil
}
func (nobody) Last(context.Context) ([]storage.Command, error) { return nil, nil }

func (w *world) backup() string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "ledger.db"))
	w.must(err)
	copied := filepath.Join(w.t.TempDir(), "ledger.db")
	w.must(os.WriteFile(copied, data, 0o600))
	return copied
}

func TestLinked(t *testing.T) {
	w := newWorld(t, 1, 300)
	first, copied := w.checkpoint(), filepath.Join(t.TempDir(), "copy")
	_, err := w.export(w, copied)
	w.must(err)
	backup, again := w.backup(), w.backup()
	w.grow(10)
	middle, lost := w.checkpoint(), filepath.Join(t.TempDir(), "lost")
	_, err = w.export(w, lost)
	w.must(err)
	w.grow(10)
	last := w.checkpoint()
	w.grow(10)
	later := w.checkpoint()
	next := recovered(t, backup, last)
	newest := next.checkpoint()
	other := last
	other.Root[5] ^= 1
	for name, test := range map[string]struct {
		older            ledger.Checkpoint
		contained, named bool
		other            bool
	}{
		"nothing of it is lost": {first, true, false, false}, "some is lost": {middle, false, false, false}, "the last": {last, false, true, false},
		"another root": {other, false, false, true}, "one that the genesis knows nothing of": {later, false, false, true},
	} {
		for _, key := range []string{w.log.VerifierKey(), next.log.VerifierKey()} {
			link, err := publish.Linked(t.Context(), next, test.older, newest, key)
			if isOther(err) != test.other || err != nil != test.other {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil && (link.Contained != test.contained || link.Named != test.named || link.Index != 300 || link.Number != 2 || link.Previous.Size != 320) {
				t.Errorf("%s: %+v", name, link)
			}
		}
	}
	_, err = publish.Linked(t.Context(), next, last, newest, newWorld(t, 2, 1).log.VerifierKey())
	if !isOther(err) || !strings.Contains(err.Error(), "the genesis at entry 300") {
		t.Errorf("with another key: %v", err)
	}
	lies := &counting{Source: next, change: func(path string, data []byte) []byte {
		if strings.HasPrefix(path, "tile/entries/001") {
			data[len(data)-1] ^= 1
		}
		return data
	}}
	if _, err := publish.Linked(t.Context(), lies, last, newest, w.log.VerifierKey()); err == nil || isOther(err) {
		t.Errorf("a source that lies: %v", err)
	}

	// An export goes on over a new epoch, if it has nothing that is lost.
	if done, err := next.export(next, copied); err != nil || done.Before != 300 || done.Checkpoint.Origin != origin+"/epoch-2" {
		t.Errorf("%+v %v", done, err)
	}
	if _, err := next.export(next, lost); !isOther(err) || !strings.Contains(err.Error(), "export into another folder") {
		t.Errorf("an export with what is lost: %v", err)
	}

	// The same again, with the genesis of epoch 2 among what is lost.
	third := recovered(t, again, newest)
	if _, err := publish.Linked(t.Context(), third, last, third.checkpoint(), w.log.VerifierKey()); err == nil || isOther(err) || !strings.Contains(err.Error(), "follows epoch 2") {
		t.Errorf("a beginning that is lost: %v", err)
	}
}

// TestAnyEpoch reads checkpoints and proofs of one epoch with the key of another.
func TestAnyEpoch(t *testing.T) {
	w := newWorld(t, 1, 20)
	old, backup := w.checkpoint(), w.backup()
	proof, err := w.log.Proof(t.Context(), 7)
	w.must(err)
	file, err := proof.File()
	w.must(err)
	w.grow(5)
	next := recovered(t, backup, w.checkpoint())
	for _, key := range []string{w.log.VerifierKey(), next.log.VerifierKey()} {
		for _, cp := range []ledger.Checkpoint{old, next.checkpoint()} {
			if got, err := ledger.ParseAnyEpoch(cp.Note, key); err != nil || got.Origin != cp.Origin || got.Size != cp.Size {
				t.Errorf("%s with %s: %v", cp.Origin, key, err)
			}
		}
		if _, cp, err := ledger.OpenProof(file, key); err != nil || cp.Origin != origin {
			t.Errorf("a proof with %s: %v", key, err)
		}
	}
	stranger := newWorld(t, 2, 1).log.VerifierKey()
	for _, cp := range []ledger.Checkpoint{old, next.checkpoint()} {
		if _, err := ledger.ParseAnyEpoch(cp.Note, stranger); err == nil {
			t.Errorf("%s holds with a stranger's key", cp.Origin)
		}
	}
	if _, _, err := ledger.OpenProof(file, stranger); err == nil {
		t.Error("the proof holds with a stranger's key")
	}
	for text, want := range map[string]uint64{"a": 1, "a/epoch-2": 2, "a/epoch-1": 1, "a/epoch-02": 1, "a/epoch-": 1, "/epoch-2": 1, "a/epoch-2/epoch-3": 3} {
		if first, got := ledger.SplitOrigin(text); got != want || ledger.EpochOrigin(first, got) != text {
			t.Errorf("%s is epoch %d of %s", text, got, first)
		}
	}
}
