package book_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/entry"
)

// TestEpoch follows a ledger whose genesis names the last checkpoint of the epoch
// before, as an honest recovery makes it.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	old := w.issue("a.internal")
	w.actions(300)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	all := w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	last := a.Checkpoint()
	firstCopy := filepath.Join(t.TempDir(), "first")
	check(t, os.CopyFS(firstCopy, os.DirFS(state)))

	w.begin(last.Note)
	fresh := w.issue("b.internal")
	next := w.publish(tree)
	want(t, w.step(a))
	if a.Epoch() != 1 || a.Checkpoint().Size != uint64(len(next)) {
		t.Fatalf("epoch %d of %d entries", a.Epoch(), a.Checkpoint().Size)
	}
	a.found = nil
	check(t, a.Lookup([]book.Shown{{Where: "old", Certificate: old}, {Where: "new", Certificate: fresh}, {Where: "ca", Certificate: w.ca}}))
	want(t, lines(a.found))
	w.issue("c.internal")
	w.publish(tree)
	want(t, w.step(a))
	check(t, a.Close())
	same(t, tree, state)
	before := t.TempDir()
	w.show(before, all)
	same(t, before, filepath.Join(state, "epochs/0000"))

	// The old epoch again is no new one.
	a = w.auditor(state, nil, book.Folder(before))
	found := w.step(a)
	if len(found) == 0 || a.Epoch() != 1 {
		t.Errorf("the ended epoch was taken up again: %q", found)
	}
}

// TestEpochCrash ends the auditor between moving the old epoch away and beginning the
// new one.
func TestEpochCrash(t *testing.T) {
	w := newWorld(t)
	w.actions(300)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	last := a.Checkpoint()
	check(t, a.Close())
	archive := filepath.Join(state, "epochs/0000")
	check(t, os.MkdirAll(archive, 0o700))
	check(t, os.Rename(filepath.Join(state, "tile"), filepath.Join(archive, "tile")))
	a = w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	w.begin(last.Note)
	w.publish(tree)
	want(t, w.step(a))
	check(t, a.Close())
	same(t, tree, state)
}

// TestFalseEpoch shows new epochs that do not follow what was seen.
func TestFalseEpoch(t *testing.T) {
	w := newWorld(t)
	w.actions(300)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	seen := a.Checkpoint()
	check(t, a.Close())

	w.actions(10)
	ended := t.TempDir()
	all := w.publish(ended)
	full, err := os.ReadFile(filepath.Join(ended, "checkpoint"))
	check(t, err)
	forked := t.TempDir()
	rewritten := w.show(forked, audittest.Replace(all, 7, all[8]))
	sameSize := w.show(t.TempDir(), audittest.Replace(all[:seen.Size], 7, all[8]))
	shorter := w.show(t.TempDir(), all[:100])
	stranger := newWorld(t)
	strange := stranger.show(t.TempDir(), all)

	tests := []struct {
		name     string
		previous []byte
		from     []book.Source
		accept   bool
		epoch    uint32
		want     []string
	}{
		{"it continues what was not seen yet", full, nil, false, 0, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"which a folder shows", full, []book.Source{book.Folder(forked), book.Folder(ended)}, false, 1, nil},
		{"which is accepted unseen", full, nil, true, 1, []string{"epoch ", "epoch "}},
		{"it leaves out what was seen", shorter, nil, false, 0, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"and is accepted", shorter, nil, true, 1, []string{"epoch ", "epoch "}},
		{"it follows another history", sameSize, nil, false, 0, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"it follows a history that was rewritten", rewritten, []book.Source{book.Folder(forked)}, false, 0, []string{"epoch ", "epoch ", "shorter ", "entry-replaced entry 0"}},
		{"it follows a stranger", strange, nil, false, 0, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"it follows rubbish", []byte("hello"), nil, true, 0, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"it follows nothing", nil, nil, true, 0, []string{"shorter ", "entry-replaced entry 0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			genesis, err := audittest.Entry(entry.Origin{Origin: origin, Previous: test.previous, Certificates: [][32]byte{{9}}}, "system:server", time.Now())
			check(t, err)
			shown := t.TempDir()
			w.show(shown, [][]byte{genesis})
			copied := filepath.Join(t.TempDir(), "state")
			check(t, os.CopyFS(copied, os.DirFS(state)))
			a := w.auditor(copied, func(c *book.Config) { c.Previous, c.AcceptEpoch = test.from, test.accept }, book.Folder(shown))
			want(t, w.step(a), test.want...)
			if a.Epoch() != test.epoch {
				t.Errorf("epoch %d", a.Epoch())
			}
		})
	}
}
