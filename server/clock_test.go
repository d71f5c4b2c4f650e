package server

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// clocks are the two clocks of a machine, and a ledger under them.
type clocks struct {
	t     *testing.T
	store *bolt.Store
	now   time.Time
	up    time.Duration
	guard *clockGuard
}

var beganAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newClocks(t *testing.T) *clocks {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	c := &clocks{t: t, now: beganAt, up: time.Hour}
	var err error
	c.store, err = bolt.Open(t.Context(), bolt.Config{Path: path, Now: func() time.Time { return c.now }, Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.store.Close() })
	c.entry()
	return c
}

// entry appends an entry at the time that the clock says.
func (c *clocks) entry() {
	c.t.Helper()
	d, err := entry.Action{Action: "token.created", Target: "x"}.Draft("local_socket:admin")
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.store.Commit(c.t.Context(), storage.Unit{storage.AppendEntry{Entry: d}}); err != nil {
		c.t.Fatal(err)
	}
}

// restart is a new run of the server.
func (c *clocks) restart() {
	c.t.Helper()
	var err error
	c.guard, err = newClockGuard(c.t.Context(), func() time.Time { return c.now }, func() time.Duration { return c.up }, c.store, slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *clocks) pass(wall, up time.Duration) {
	c.now, c.up = c.now.Add(wall), c.up+up
	c.guard.look(c.t.Context())
}

// held wants the guard to hold signing, or not.
func (c *clocks) held(want bool, why string) {
	c.t.Helper()
	err := c.guard.err()
	if (err != nil) != want || want && !strings.Contains(err.Error(), why) {
		c.t.Fatalf("held: %v, want %v (%s)", err, want, why)
	}
	if err != nil && (problem.KindOf(err) != problem.Unavailable || strings.Contains(err.Error(), "\n")) {
		c.t.Errorf("kind %v: %v", problem.KindOf(err), err)
	}
}

func (c *clocks) accept() {
	c.t.Helper()
	got, err := c.guard.AcceptClock(c.t.Context(), "local_socket:admin")
	if err != nil || got.Held != "" {
		c.t.Fatalf("accepted: %+v, %v", got, err)
	}
}

func TestClockGuard(t *testing.T) {
	for _, test := range []struct {
		name     string
		behind   time.Duration // of the ledger's last entry, at the start
		wall, up time.Duration // how far the clocks go
		held     string
		jumped   bool
	}{
		{"right", 0, time.Hour, time.Hour, "", false},
		{"a little behind", 5 * time.Second, 0, 0, "", false},
		{"behind", 6 * time.Second, 0, 0, "6s behind", false},
		{"behind, and caught up", time.Minute, time.Minute, time.Minute, "1m0s behind", false},
		{"a sleep", 0, 8 * time.Hour, 8 * time.Hour, "", false},
		{"a jump forth", 0, time.Hour, time.Minute, "jumped by 59m0s", true},
		{"a jump back", 0, -time.Hour, time.Minute, "1h0m0s behind", true},
		{"slewed", 0, time.Hour, 57 * time.Minute, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClocks(t)
			c.now = beganAt.Add(-test.behind)
			c.restart()
			c.pass(test.wall, test.up)
			c.held(test.held != "", test.held)
			if err := c.guard.jumpErr(); (err != nil) != test.jumped {
				t.Errorf("lists are held: %v", err)
			}
			if test.held == "" {
				return
			}
			// Right again: it does not let go by itself, nor by a restart.
			c.now, c.up = beganAt.Add(24*time.Hour), 25*time.Hour+test.behind
			c.guard.look(t.Context())
			c.held(true, test.held)
			if err := c.guard.jumpErr(); err != nil {
				t.Errorf("lists are held by a clock that is right: %v", err)
			}
			c.up = time.Minute
			c.restart()
			c.held(true, test.held)
			c.accept()
			c.held(false, "")
			c.restart()
			c.held(false, "")
		})
	}
	if first, second := sinceBoot(), sinceBoot(); second < first || first == 0 {
		t.Errorf("time since boot %v, then %v", first, second)
	}
}

// TestAcceptBehind: a clock that is right, after one that was ahead, is accepted
// although it is behind the ledger, until it falls further back.
func TestAcceptBehind(t *testing.T) {
	c := newClocks(t)
	c.now = beganAt.Add(time.Hour)
	c.entry() // by a clock that was an hour ahead
	c.now = beganAt.Add(time.Minute)
	c.restart()
	c.held(true, "59m0s behind")
	c.accept()
	c.entry() // as late as the one before
	c.pass(time.Minute, time.Minute)
	c.held(false, "")
	c.restart()
	c.held(false, "")
	head, err := c.store.Head(t.Context())
	if err != nil || !head.LastTime.Equal(beganAt.Add(time.Hour)) {
		t.Fatalf("the newest entry is of %v, %v", head.LastTime, err)
	}
	c.now = beganAt // behind what was accepted
	c.restart()
	c.held(true, "behind")
	c.accept()
	// Caught up: what was accepted counts no more.
	c.now = beganAt.Add(2 * time.Hour)
	c.entry()
	c.now = beganAt.Add(90 * time.Minute)
	c.restart()
	c.held(true, "30m0s behind")
}

// TestAcceptIsRecorded: the ledger tells who accepted the clock; without a hold there
// is nothing to tell.
func TestAcceptIsRecorded(t *testing.T) {
	c := newClocks(t)
	c.restart()
	c.accept()
	if head, err := c.store.Head(t.Context()); err != nil || head.Size != 1 {
		t.Fatalf("%d entries, %v", head.Size, err)
	}
	c.pass(time.Hour, time.Second)
	c.held(true, "jumped")
	c.accept()
	c.pass(time.Hour, time.Hour)
	c.held(false, "")
	raws, err := c.store.Entries(t.Context(), 1, 10)
	if err != nil || len(raws) != 1 {
		t.Fatalf("%d entries, %v", len(raws), err)
	}
	e, err := entry.Parse(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := entry.ParseAdminAction(e.Draft)
	if err != nil || a.Action != "clock.accepted" || !strings.Contains(a.Detail, "jumped by") || e.Actor != "local_socket:admin" {
		t.Errorf("%+v by %s, %v", a, e.Actor, err)
	}
}

// TestDamagedHold: a record that cannot be read does not let signing go.
func TestDamagedHold(t *testing.T) {
	c := newClocks(t)
	put := storage.PutRecord{Collection: clockCollection, ID: clockHold, IfVersion: storage.AnyVersion, Body: []byte("{")}
	if _, err := c.store.Commit(t.Context(), storage.Unit{put}); err != nil {
		t.Fatal(err)
	}
	if _, err := newClockGuard(t.Context(), time.Now, sinceBoot, c.store, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it is taken for no hold")
	}
}
