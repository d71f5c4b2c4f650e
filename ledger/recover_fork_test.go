package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// refusedAs wants a problem with a reason, in one line that holds a text.
func refusedAs(t *testing.T, err error, reason, text string) {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) || p.Reason != reason || !strings.Contains(p.Detail, text) || p.Help == "" {
		t.Errorf("%v, want %s with %q", err, reason, text)
	}
}

// recover plans a recovery and carries it out.
func (x *lost) recover(t *testing.T, from string) {
	t.Helper()
	s, closed := x.store(t, false)
	defer closed()
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), &followed{}, silent); err != nil {
		t.Fatal(err)
	}
}

// epoch2 makes the ledger go on in epoch 2 from its 100 entries, to so many, and gives
// the last-seen file; the database is as before then.
func (x *lost) epoch2(t *testing.T, size int) (seen []byte) {
	t.Helper()
	old, err := os.ReadFile(x.db)
	if err != nil {
		t.Fatal(err)
	}
	x.recover(t, "")
	s, closed := x.store(t, false)
	end := run(t, x.open(t, s))
	appendEntries(t, s, size-102)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	closed()
	if seen, err = os.ReadFile(x.lock); err != nil {
		t.Fatal(err)
	}
	write(t, x.db, old)
	return seen
}

// TestRecoverLongerEarlierEpoch: a database of the epoch before that has more entries
// than were seen of the new one is another history, and nothing is counted below zero.
func TestRecoverLongerEarlierEpoch(t *testing.T) {
	x := newLost(t)
	seen := x.epoch2(t, 110)
	write(t, x.lock, x.seen)
	x.recover(t, x.copy) // epoch 1 with all that it had
	write(t, x.lock, seen)
	s, _ := x.store(t, false)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, ""))
	if err == nil {
		t.Fatalf("planned: epoch %d, %d come back, %d are lost", r.Epoch, r.Taken(), r.Lost())
	}
	refusedAs(t, err, "LEDGER_FORKED", "first 110 entries")
}

// TestRecoverCopyOfEarlierEpoch: what a copy has of an epoch that has ended may be what
// the new one has replaced.
func TestRecoverCopyOfEarlierEpoch(t *testing.T) {
	x := newLost(t)
	write(t, x.lock, x.epoch2(t, 700))
	s, _ := x.store(t, false)
	_, err := ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	refusedAs(t, err, "COPY_UNUSABLE", "epoch 1")
	if r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, "")); err != nil || r.Epoch != 3 || r.Lost() != 600 {
		t.Errorf("without the copy: %+v, %v", r, err)
	}
}

// TestForgedEpoch: who can write the database, and not the last-seen file, cannot take
// entries away by a genesis of his own.
func TestForgedEpoch(t *testing.T) {
	x := newLost(t)
	s, closed := x.store(t, false)
	d, err := entry.Origin{Origin: origin + "/epoch-2", Certificates: [][32]byte{{1}}, Previous: x.seen}.Draft("local_socket:admin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), storage.Unit{
		storage.AppendEntry{Entry: d},
		storage.PutRecord{
			Collection: "epoch", ID: "latest", IfVersion: storage.AnyVersion, WithEntry: true,
			Body: binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 2), 100),
		},
		storage.DeleteRecord{Collection: "checkpoint", ID: "latest", IfVersion: storage.AnyVersion},
	}); err != nil {
		t.Fatal(err)
	}
	defer closed()
	_, err = ledger.Open(t.Context(), x.config(s))
	refusedAs(t, err, "LEDGER_EPOCH", "epoch 1 with 600 entries")
	if now, err := os.ReadFile(x.lock); err != nil || string(now) != string(x.seen) {
		t.Errorf("the last-seen file: %s, %v", now, err)
	}
}

// TestRecoverEndedWithoutItsCopy: what an earlier run has brought back is shown to the
// follower, also if the copy that had it is not there any more: a token that was revoked
// in it must not live on.
func TestRecoverEndedWithoutItsCopy(t *testing.T) {
	x := newLost(t)
	s, _ := x.store(t, false)
	x.forget(t, s)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), &followed{endAt: 599}, silent); !errors.Is(err, errEnded) {
		t.Fatal(err)
	}
	head, err := s.Head(t.Context())
	if err != nil || head.Size <= 100 {
		t.Fatalf("%+v, %v", head, err)
	}
	r, err = ledger.PlanRecovery(t.Context(), x.recovery(s, ""))
	if err != nil || r.Taken() != head.Size-100 || r.Lost() != 0 || r.Epoch != 0 {
		t.Fatalf("%d come back, %d are lost, epoch %d, %v", r.Taken(), r.Lost(), r.Epoch, err)
	}
	f := &followed{}
	if err := r.Run(t.Context(), f, silent); err != nil || uint64(f.there) != head.Size-100 {
		t.Errorf("%+v of %d, %v", f, head.Size-100, err)
	}
}

// forget makes the last-seen file that of the database: only the copy knows of more.
func (x *lost) forget(t *testing.T, s ledger.Store) {
	t.Helper()
	if err := os.Remove(x.lock); err != nil {
		t.Fatal(err)
	}
	c := x.config(s)
	c.MissingLock = ledger.WarnMissing
	if _, err := ledger.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// TestRecoverCopyChanges: what is taken from a copy is what was checked, also if
// somebody changes the copy while the admin thinks about it.
func TestRecoverCopyChanges(t *testing.T) {
	x := newLost(t)
	s, _ := x.store(t, false)
	x.forget(t, s)
	r, err := ledger.PlanRecovery(t.Context(), x.recovery(s, x.copy))
	if err != nil || r.Taken() != 500 {
		t.Fatalf("%+v, %v", r, err)
	}
	x.edit(t, "tile/entries/001", func(b []byte) { copy(b[bytes.LastIndex(b, []byte("admin")):], "other") }) // another actor
	if err := r.Run(t.Context(), &followed{}, silent); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("%v", err)
	}
	if head, err := s.Head(t.Context()); err != nil || head.Size > 256 {
		t.Errorf("%+v, %v", head, err)
	}
}
