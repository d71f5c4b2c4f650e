package crl

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

const tenDays = 10 * 24 * time.Hour

// publishAll builds all lists at once.
func (w *world) publishAll(t *testing.T) {
	t.Helper()
	if _, err := w.Publish(t.Context(), "", "", "local_socket:admin"); err != nil {
		t.Fatal(err)
	}
}

// TestClockJump: lists that were made while the clock was ahead are replaced as
// soon as it is right, also after a restart, and what is valid still is listed.
func TestClockJump(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, nil)
		c := w.issue(t)
		w.revoke(t, c, identity.Superseded)
		w.publishAll(t)
		w.offset.Store(int64(tenDays))
		late := w.issue(t)
		w.revoke(t, late, identity.Superseded) // at a time that is yet to come
		w.publishAll(t)
		w.publishAll(t)
		ahead := w.Lists()
		w.offset.Store(0)
		if restart {
			w.reopen(t, nil)
		}
		for _, l := range w.lists {
			if due := w.due(l); due.After(time.Now()) {
				t.Errorf("restart %v: list %s is due in %s", restart, l.shard, time.Until(due))
			}
		}
		w.run(t)
		until(t, "all anew", func() bool {
			for i, l := range w.Lists() {
				if l.Number <= ahead[i].Number {
					return false
				}
			}
			return true
		})
		for _, l := range w.Lists() {
			if l.ThisUpdate.After(time.Now()) {
				t.Errorf("restart %v: list %s: thisUpdate in %s", restart, l.Shard, time.Until(l.ThisUpdate))
			}
		}
		if listed(w.fetch(t, shardPath(c.CRLShard)), c) == nil || listed(w.fetch(t, "/crl/issuing.crl"), c) == nil {
			t.Errorf("restart %v: what was revoked is not listed", restart)
		}
		e := listed(w.fetch(t, shardPath(late.CRLShard)), late)
		if e == nil || e.RevocationTime.After(time.Now()) {
			t.Errorf("restart %v: revoked while the clock was ahead: %+v", restart, e)
		}
	}
}

// TestHeld: nothing is published while signing is held; what was revoked then is
// listed soon after, though the clock was ahead when that failed.
func TestHeld(t *testing.T) {
	var held atomic.Bool
	w := newWorld(t, func(c *testConfig) {
		c.Hold = func() error {
			if !held.Load() {
				return nil
			}
			return &problem.Problem{Kind: problem.Unavailable, Reason: "CLOCK", Detail: "signing is held"}
		}
	})
	w.publishAll(t)
	before := w.Lists()
	held.Store(true)
	w.offset.Store(int64(tenDays))
	c := w.issue(t)
	w.revoke(t, c, identity.Superseded)
	if _, err := w.Publish(t.Context(), "", "", "x:y"); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("published: %v", err)
	}
	for i, l := range w.Lists() {
		if l.Number != before[i].Number || l.Error == "" {
			t.Errorf("while held: %+v", l)
		}
	}
	if due := w.due(w.lists[0]); !due.After(w.now()) {
		t.Errorf("tried again at once: %s", due)
	}
	held.Store(false)
	w.offset.Store(0)
	w.run(t)
	until(t, "list", func() bool { return listed(w.fetch(t, shardPath(c.CRLShard)), c) != nil })
}

// TestHiddenKeepsItsNumber: the list that comes after one that was hidden has a
// greater number, though the clock has gone back meanwhile.
func TestHiddenKeepsItsNumber(t *testing.T) {
	for _, restart := range []bool{false, true} {
		one := func(c *testConfig) { c.CompleteLimit = 1 }
		w := newWorld(t, one)
		w.offset.Store(int64(time.Hour))
		w.publishAll(t)
		before := w.Lists()[0].Number
		w.revoke(t, w.issue(t), identity.Superseded)
		w.revoke(t, w.issue(t), identity.Superseded)
		w.publishAll(t)
		if i := w.Lists()[0]; !i.TooLong || i.Number != 0 {
			t.Fatalf("not hidden: %+v", i)
		}
		w.offset.Store(0)
		if restart {
			w.reopen(t, one)
		}
		w.Publisher.cfg.CompleteLimit = 2
		hidden := w.lists[0].current.Load()
		if hidden != nil {
			t.Errorf("restart %v: it is shown again: %+v", restart, hidden)
		}
		w.publishAll(t)
		if i := w.Lists()[0]; i.TooLong || i.Number <= before || i.Entries != 2 {
			t.Errorf("restart %v: after number %d: %+v", restart, before, i)
		}
	}
}

// TestTooLongEnds: what has expired does not keep a complete list hidden.
func TestTooLongEnds(t *testing.T) {
	w := newWorld(t, func(c *testConfig) { c.CompleteLimit = 1 })
	for range 2 {
		w.revoke(t, w.issue(t), identity.Superseded)
	}
	w.publishAll(t)
	if !w.Lists()[0].TooLong {
		t.Fatal("it is not too long")
	}
	w.offset.Store(int64(3 * tenDays)) // they were for an hour
	w.publishAll(t)
	if i := w.Lists()[0]; i.TooLong || i.Number == 0 || i.Entries != 0 {
		t.Errorf("all have expired: %+v", i)
	}
}
