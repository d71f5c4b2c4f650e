package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/certwright/certwright/problem"
)

// TestLockIsSwapped: the last-seen file is replaced only if it still is what this
// server has written; else nothing is published, and health says why.
func TestLockIsSwapped(t *testing.T) {
	for name, row := range map[string]struct {
		change func(t *testing.T, p *place)
		says   string
	}{
		"another checkpoint": {func(t *testing.T, p *place) {
			other := newPlace(t)
			other.key = p.key
			s, _ := other.store(t, false)
			other.open(t, s)
			write(t, p.lock, read(t, other.lock))
		}, "it covers 1 entries"},
		"removed": {func(t *testing.T, p *place) { remove(t, p.lock) }, "is gone"},
		"garbage": {func(t *testing.T, p *place) { write(t, p.lock, []byte("garbage")) }, "is no checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			s, _ := p.store(t, false)
			l := p.open(t, s)
			before := read(t, p.lock)
			row.change(t, p)
			appendEntries(t, s, 3)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Run(ctx); err == nil || !strings.Contains(err.Error(), row.says) || problem.KindOf(err) != problem.FailedPrecondition {
				t.Errorf("got %v", err)
			}
			if cp, _ := l.Checkpoint(t.Context()); cp.Size != 1 {
				t.Errorf("a checkpoint of %d was published", cp.Size)
			}
			if l.Healthy() == nil {
				t.Error("the ledger is healthy")
			}
			// What was there comes back: the loop goes on.
			write(t, p.lock, before)
			if err := l.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if cp, _ := l.Checkpoint(t.Context()); cp.Size != 4 || string(read(t, p.lock)) != string(cp.Note) {
				t.Errorf("checkpoint of %d", cp.Size)
			}
		})
	}
}

// TestClones: of two clones of a database with one last-seen file the one that comes
// second signs and stores nothing, with new entries and without, and holds issuance.
func TestClones(t *testing.T) {
	for name, entries := range map[string]int{"with new entries": 2, "without": 0} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			s, closed := p.store(t, false)
			p.open(t, s)
			closed()
			clone := &place{db: p.db + ".clone", lock: p.lock, key: p.key}
			write(t, clone.db, read(t, p.db))
			s, _ = p.store(t, false)
			winner := p.open(t, s)
			other, _ := clone.store(t, false)
			loser := clone.open(t, other)
			before, err := other.Record(t.Context(), "checkpoint", "latest")
			if err != nil {
				t.Fatal(err)
			}
			appendEntries(t, s, 3)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := winner.Run(ctx); err != nil || winner.Hold() != nil {
				t.Fatal(err, winner.Hold())
			}
			seen := read(t, p.lock)
			if entries > 0 {
				appendEntries(t, other, entries)
			}
			if err := loser.Run(ctx); problem.KindOf(err) != problem.FailedPrecondition {
				t.Errorf("got %v", err)
			}
			var held *problem.Problem
			if err := loser.Hold(); !errors.As(err, &held) || held.Kind != problem.Unavailable || held.Reason != "LEDGER_LOCK_CHANGED" {
				t.Errorf("hold: %v", err)
			}
			after, err := other.Record(t.Context(), "checkpoint", "latest")
			if err != nil || after.Version != before.Version || loser.Stats().Signatures != 0 {
				t.Errorf("it has stored version %d after %d and signed %d, %v", after.Version, before.Version, loser.Stats().Signatures, err)
			}
			if !bytes.Equal(read(t, p.lock), seen) {
				t.Error("the last-seen file was changed")
			}
		})
	}
}
