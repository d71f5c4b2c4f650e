package book_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
)

// TestEpoch follows a ledger through real recoveries from older backups: what is lost
// is named and kept, and what comes after is linked to what was seen.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	old := w.issue("a.internal")
	w.actions(300)
	backup := w.backup()
	lost := w.issue("b.internal")
	w.apply(append(policy.Default(), "\n# another\n"...))
	w.actions(400)
	lostToo := w.issue("c.internal") // under the policy that is lost
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	all := w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	last := a.Checkpoint()

	if epoch := w.restore(backup, last.Note, ""); epoch != 2 {
		t.Fatalf("epoch %d", epoch)
	}
	w.policy = entry.Policy{Document: policy.Default()}.Hash()
	second := w.backup()
	fresh := w.issue("d.internal")
	w.actions(10)
	next := w.publish(tree)
	want(t, w.step(a))
	archive := filepath.Join(state, "epochs/0001")
	if len(a.noticed) != 1 || !strings.Contains(a.noticed[0], "epoch 2 begins at entry 304 and is linked to epoch 1") ||
		!strings.Contains(a.noticed[0], "; entries 304 to 706 of epoch 1 (403) were seen and are lost to the ledger: "+archive+" has them") {
		t.Errorf("noticed: %q", a.noticed)
	}
	if a.Epoch() != 2 || a.Checkpoint().Size != uint64(len(next)) {
		t.Fatalf("epoch %d of %d entries", a.Epoch(), a.Checkpoint().Size)
	}
	a.found, a.noticed = nil, nil
	check(t, a.Lookup([]book.Shown{{Where: "old", Certificate: old}, {Where: "lost", Certificate: lost}, {Where: "too", Certificate: lostToo}, {Where: "new", Certificate: fresh}, {Where: "ca", Certificate: w.ca}}))
	want(t, lines(a.found))
	if len(a.noticed) != 2 || !strings.Contains(a.noticed[0], "in the book of epoch 1, at entry 304, which is lost") {
		t.Errorf("noticed: %q", a.noticed)
	}
	before := t.TempDir()
	w.signer = w.signerOf(origin)
	w.show(before, all)
	same(t, before, archive)
	w.signer = w.signerOf(origin + "/epoch-2")

	// Lost again, before it was looked at again; and grown over what was lost.
	w.issue("e.internal")
	more := t.TempDir()
	seen := w.show(more, w.raws())
	if epoch := w.restore(second, seen, ""); epoch != 3 {
		t.Fatalf("epoch %d", epoch)
	}
	w.issue("f.internal")
	w.actions(600)
	w.publish(tree)
	check(t, a.Close())
	a = w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	if a.Epoch() != 3 || len(a.noticed) != 1 || !strings.Contains(a.noticed[0], "--previous names a folder") {
		t.Errorf("epoch %d, noticed: %q", a.Epoch(), a.noticed)
	}
	want(t, w.step(a))
	check(t, a.Close())
	same(t, tree, state)
	compared(t, w, nil, tree, archive, filepath.Join(state, "epochs/0002"))

	// The epochs before again are no new ones.
	for _, ended := range []string{before, more} {
		a = w.auditor(state, nil, book.Folder(ended))
		want(t, w.step(a), "shorter ")
		check(t, a.Close())
	}
	// Who looks for the first time reads all epochs.
	want(t, w.step(w.auditor(t.TempDir(), nil, book.Folder(tree))))
}

// compared asks for the trees of several sources.
func compared(t *testing.T, w *world, begin []string, dirs ...string) {
	t.Helper()
	var sources []book.Source
	for _, dir := range dirs {
		sources = append(sources, book.Folder(dir))
	}
	var found []book.Finding
	_, err := book.Compare(t.Context(), sources, []book.Key{w.vkey}, func(f book.Finding) { found = append(found, f) })
	check(t, err)
	want(t, lines(found), begin...)
}

// TestEpochs has two epochs begin between two looks, of which the second has the first
// in it, or has lost it.
func TestEpochs(t *testing.T) {
	w := newWorld(t)
	w.actions(100)
	early := w.backup()
	w.actions(200)
	later := w.backup()
	w.actions(30)
	tree, ended := t.TempDir(), t.TempDir()
	w.publish(tree)
	a := w.auditor(filepath.Join(t.TempDir(), "state"), nil, book.Folder(tree))
	want(t, w.step(a))
	check(t, a.Close())
	states := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	for _, dir := range states {
		a := w.auditor(dir, nil, book.Folder(tree))
		want(t, w.step(a))
		check(t, a.Close())
	}
	last := a.Checkpoint()

	w.restore(later, last.Note, "")
	w.actions(5)
	inside := w.backup()
	w.actions(50)
	seen := w.show(ended, w.raws())
	w.restore(inside, seen, "")
	w.publish(tree)
	a = w.auditor(states[0], nil, book.Folder(tree))
	want(t, w.step(a))
	if a.Epoch() != 3 || len(a.noticed) != 1 || !strings.Contains(a.noticed[0], "; epoch 3 begins at entry ") {
		t.Errorf("epoch %d, noticed: %q", a.Epoch(), a.noticed)
	}

	// The genesis of epoch 2 is among what is lost: who has not seen it cannot tell
	// whether epoch 2 followed epoch 1.
	w.restore(early, seen, "")
	w.publish(tree)
	a = w.auditor(states[1], nil, book.Folder(tree))
	want(t, w.step(a), "epoch ", "shorter ", "entry-replaced entry 102")
	check(t, a.Close())
	compared(t, w, []string{"split ", "split entry 102"}, tree, states[1])
	a = w.auditor(states[1], func(c *book.Config) { c.Previous = []book.Source{book.Folder(ended)} }, book.Folder(tree))
	want(t, w.step(a))
	if a.Epoch() != 3 || len(a.noticed) != 2 {
		t.Errorf("epoch %d, noticed: %q", a.Epoch(), a.noticed)
	}
	check(t, a.Close())
	same(t, tree, states[1])
	same(t, ended, filepath.Join(states[1], "epochs/0002"))
}

// TestSameHistory has a recovery take all back from the auditor's copy: there is no new
// epoch, and nothing to notice.
func TestSameHistory(t *testing.T) {
	w := newWorld(t)
	w.actions(10)
	backup := w.backup()
	w.actions(300)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	if epoch := w.restore(backup, a.Checkpoint().Note, state); epoch != 0 {
		t.Fatalf("epoch %d", epoch)
	}
	w.publish(tree)
	want(t, w.step(a))
	if len(a.noticed) != 0 || a.Epoch() != 1 {
		t.Errorf("epoch %d, noticed: %q", a.Epoch(), a.noticed)
	}
}

// TestEpochUnseen has a recovery lose nothing that the auditor has seen.
func TestEpochUnseen(t *testing.T) {
	w := newWorld(t)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	w.actions(10)
	backup := w.backup()
	w.actions(300)
	seen := w.show(t.TempDir(), w.raws())
	w.restore(backup, seen, "")
	w.publish(tree)
	want(t, w.step(a))
	if a.Epoch() != 2 || len(a.noticed) != 1 || !strings.Contains(a.noticed[0], "contains what was seen, 2 entries, root ") || !strings.Contains(a.noticed[0], "; 300 entries of epoch 1 ") {
		t.Errorf("epoch %d, noticed: %q", a.Epoch(), a.noticed)
	}
	if _, err := os.Stat(filepath.Join(state, "epochs")); err == nil {
		t.Error("something was kept apart, and nothing was lost")
	}
}

// TestEpochCrash ends the auditor between moving the old epoch away and beginning the
// new one.
func TestEpochCrash(t *testing.T) {
	w := newWorld(t)
	w.actions(300)
	backup := w.backup()
	w.actions(300)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	last := a.Checkpoint()
	check(t, a.Close())
	archive := filepath.Join(state, "epochs/0001")
	check(t, os.MkdirAll(archive, 0o700))
	check(t, os.Rename(filepath.Join(state, "tile"), filepath.Join(archive, "tile")))
	check(t, os.MkdirAll(filepath.Join(state, "tile/entries"), 0o700)) // and began to share it
	check(t, os.Link(filepath.Join(archive, "tile/entries/000"), filepath.Join(state, "tile/entries/000")))
	a = w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	same(t, tree, state)
	w.restore(backup, last.Note, "")
	w.publish(tree)
	want(t, w.step(a))
	check(t, a.Close())
	same(t, tree, state)
}

// falseEpoch is a new epoch that only somebody with the log's key can make.
type falseEpoch struct {
	name     string
	keep     [][]byte // what it begins with
	origin   string   // of its genesis
	previous []byte
	from     []book.Source
	accept   bool
	epoch    uint64
	want     []string
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
	ended, forked := t.TempDir(), t.TempDir()
	all := w.publish(ended)
	full, err := os.ReadFile(filepath.Join(ended, "checkpoint"))
	check(t, err)
	rewritten := w.show(forked, audittest.Replace(all, 7, all[8]))
	sameSize := w.show(t.TempDir(), audittest.Replace(all[:seen.Size], 7, all[8]))
	shorter := w.show(t.TempDir(), all[:200])
	tiny := w.show(t.TempDir(), all[:100])
	strange := newWorld(t).show(t.TempDir(), all)
	keep, two := all[:100], origin+"/epoch-2"
	w.signer = w.signerOf(two)
	ofTwo := w.show(t.TempDir(), all)
	replaced := []string{"epoch ", "shorter ", "entry-replaced entry 100"}

	for _, test := range []falseEpoch{
		{"an honest one", keep, two, seen.Note, nil, false, 2, nil},
		{"it continues what was not seen yet", keep, two, full, nil, false, 2, nil},
		{"which a folder shows", keep, two, full, []book.Source{book.Folder(forked), book.Folder(ended)}, false, 2, nil},
		{"it leaves out what was seen", keep, two, shorter, nil, false, 1, replaced},
		{"and is accepted", keep, two, shorter, nil, true, 2, []string{"epoch ", "epoch "}},
		{"it follows another history", keep, two, sameSize, nil, false, 1, replaced},
		{"it follows a history that was rewritten", keep, two, rewritten, []book.Source{book.Folder(forked)}, false, 1, []string{"changed ", "entry-replaced entry 7", "epoch ", "shorter ", "entry-replaced entry 100"}},
		{"it follows a stranger", keep, two, strange, nil, false, 1, replaced},
		{"it follows rubbish", keep, two, []byte("hello"), nil, false, 1, replaced},
		{"it follows nothing", keep, two, nil, nil, false, 1, replaced},
		{"it follows itself", keep, two, ofTwo, nil, false, 1, replaced},
		{"nothing was lost", keep, two, tiny, nil, false, 1, replaced},
		{"its genesis is of epoch 3", keep, origin + "/epoch-3", seen.Note, nil, false, 1, replaced},
		{"its genesis is of epoch 1", keep, origin, seen.Note, nil, false, 1, replaced},
		{"its genesis is another's", keep, "ca.elsewhere/ledger/epoch-2", seen.Note, nil, false, 1, replaced},
		{"what it begins with was rewritten", audittest.Replace(keep, 7, all[8]), two, seen.Note, nil, false, 1, []string{"epoch ", "shorter ", "entry-replaced entry 7"}},
		{"it begins anew", nil, two, seen.Note, nil, false, 1, []string{"epoch ", "shorter ", "entry-replaced entry 0"}},
		{"and is accepted all the same", keep, two, []byte("hello"), nil, true, 2, []string{"epoch ", "epoch ", "epoch entry 100: "}},
		{"and all that was seen is there", all[:305], two, tiny, nil, false, 1, []string{"epoch "}},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, w, state) })
	}
}

func (test falseEpoch) run(t *testing.T, w *world, state string) {
	genesis, err := audittest.Entry(entry.Origin{Origin: test.origin, Previous: test.previous, Certificates: [][32]byte{{9}}}, "system:server", time.Now())
	check(t, err)
	shown := t.TempDir()
	w.show(shown, append(test.keep[:len(test.keep):len(test.keep)], genesis))
	copied := filepath.Join(t.TempDir(), "state")
	check(t, os.CopyFS(copied, os.DirFS(state)))
	a := w.auditor(copied, func(c *book.Config) { c.Previous, c.AcceptEpoch = test.from, test.accept }, book.Folder(shown))
	want(t, w.step(a), test.want...)
	if a.Epoch() != test.epoch {
		t.Errorf("epoch %d, noticed %q", a.Epoch(), a.noticed)
	}
	if len(test.want) == 0 {
		want(t, w.step(a))
		return
	}
	kept, err := os.ReadDir(filepath.Join(copied, "evidence"))
	if err != nil || len(kept) < 2 {
		t.Errorf("evidence: %d checkpoints (%v)", len(kept), err)
	}
}
