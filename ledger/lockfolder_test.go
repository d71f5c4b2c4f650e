package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/problem"
)

// TestLockFolderGone: a folder of the last-seen file that is not there is made before
// anything is written; one that cannot be made leaves the ledger as it was.
func TestLockFolderGone(t *testing.T) {
	p := newPlace(t)
	s, _ := p.store(t, false)
	p.open(t, s)
	appendEntries(t, s, 5)
	size := func() uint64 {
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return head.Size
	}
	c := p.config(s)
	c.MissingLock = ledger.AcceptMissing
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	c.Lock = filepath.Join(file, "ledger.lock") // no folder can be made there
	for range 2 {
		if _, err := ledger.Open(t.Context(), c); err == nil || size() != 6 {
			t.Fatalf("%v, %d entries", err, size())
		}
	}
	c.Lock = filepath.Join(t.TempDir(), "locks", "ca", "ledger.lock")
	l, err := ledger.Open(t.Context(), c)
	if err != nil || size() != 7 {
		t.Fatalf("%v, %d entries", err, size())
	}
	if cp, _ := l.Checkpoint(t.Context()); !bytes.Equal(cp.Note, read(t, c.Lock)) {
		t.Error("the last-seen file is not the checkpoint")
	}
	if info, err := os.Stat(filepath.Dir(c.Lock)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestRecoverLockFolderGone: a recovery on a machine without the folder makes it, and
// where it cannot, nothing has been written and it goes on later.
func TestRecoverLockFolderGone(t *testing.T) {
	x := newLost(t)
	s, closed := x.store(t, false)
	x.lock = filepath.Join(t.TempDir(), "locks", "ledger.lock")
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(x.lock)
	write(t, folder, nil)
	if err := r.Run(t.Context(), &followed{}, silent); problem.KindOf(err) != problem.FailedPrecondition {
		t.Errorf("there is no folder: %v", err)
	}
	if head, err := s.Head(t.Context()); err != nil || head.Size != 100 {
		t.Errorf("%d entries, %v", head.Size, err)
	}
	remove(t, folder)
	if r, err = ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy)); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), &followed{}, silent); err != nil {
		t.Fatal(err)
	}
	closed()
	x.recovered(t, ledger.Epoch{Number: 1}, 601)
}
