package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const (
	clockBehind = 5 * time.Second // servers differ by so much
	clockJump   = 5 * time.Minute
	clockLook   = 5 * time.Second // how often the two clocks are compared
)

// Where the hold and the last acceptance stand in the store.
const (
	clockCollection = "clock"
	clockHold       = "hold"
	clockAccepted   = "accepted"
)

// clockStore is what the guard needs of the storage.
type clockStore interface {
	storage.Committer
	storage.RecordReader
	Head(ctx context.Context) (storage.Head, error)
}

// clockGuard holds the signing when the wall clock cannot be trusted: it is further
// behind the ledger's last entry than servers differ, or has jumped against the
// clock that counts since boot, sleep included. It never lets go by itself, not by a
// restart either: an admin accepts the clock.
type clockGuard struct {
	now     func() time.Time
	sinceUp func() time.Duration
	store   clockStore
	logger  *slog.Logger

	mu       sync.Mutex
	started  time.Time     // the jump is measured from here
	upAtThen time.Duration // and here
	held     string        // why; empty: not held
	stored   bool          // the hold is in the store
	jumped   bool          // the clock is elsewhere than it should be at this moment
	accepted acceptedClock
}

// acceptedClock is what was accepted last: while no entry is later than Last, the
// clock may be behind that, but not behind At.
type acceptedClock struct {
	At   time.Time `json:"at"`
	Last time.Time `json:"last"`
}

// heldClock is a hold that outlives the server.
type heldClock struct {
	Why  string    `json:"why"`
	Time time.Time `json:"time"` // by the clock that is not trusted
}

// newClockGuard takes up a hold of an earlier run, and looks.
func newClockGuard(ctx context.Context, now func() time.Time, sinceUp func() time.Duration, store clockStore, logger *slog.Logger) (*clockGuard, error) {
	g := &clockGuard{now: now, sinceUp: sinceUp, store: store, logger: logger}
	g.started, g.upAtThen = now().Round(0), sinceUp()
	var hold heldClock
	if _, err := g.read(ctx, clockHold, &hold); err != nil {
		return nil, err
	}
	if _, err := g.read(ctx, clockAccepted, &g.accepted); err != nil {
		return nil, err
	}
	if g.held = hold.Why; g.held != "" {
		g.stored = true
		g.tell()
	}
	g.look(ctx)
	return g, nil
}

// read reads one of the guard's records.
func (g *clockGuard) read(ctx context.Context, id string, into any) (storage.Record, error) {
	rec, err := g.store.Record(ctx, clockCollection, id)
	if errors.Is(err, storage.ErrNotFound) {
		return rec, nil
	}
	if err == nil {
		err = json.Unmarshal(rec.Body, into)
	}
	if err != nil {
		err = fmt.Errorf("clock: record %q: %w", id, err)
	}
	return rec, err
}

// look compares the clocks.
func (g *clockGuard) look(ctx context.Context) {
	head, err := g.store.Head(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().Round(0) // without Go's own monotonic reading
	drift := now.Sub(g.started) - (g.sinceUp() - g.upAtThen)
	g.jumped = drift > clockJump || drift < -clockJump
	floor := head.LastTime
	if !floor.After(g.accepted.Last) {
		floor = g.accepted.At
	}
	behind := floor.Sub(now)
	why := ""
	switch {
	case err == nil && behind > clockBehind:
		why = "the clock is " + behind.Round(time.Second).String() + " behind the ledger's last entry"
	case g.jumped:
		why = "the clock has jumped by " + drift.Round(time.Second).String()
	}
	if why != "" && g.held == "" {
		g.held = why
		g.tell()
	}
	if g.held != "" && !g.stored {
		g.keep(ctx, now)
	}
}

func (g *clockGuard) tell() {
	g.logger.Error("signing is held: set the clock, then accept it with \"certwright ledger clock --accept\"", slog.String("reason", g.held))
}

// keep puts the hold into the store. If that fails it is tried again.
func (g *clockGuard) keep(ctx context.Context, now time.Time) {
	body, err := json.Marshal(heldClock{Why: g.held, Time: now.UTC()})
	if err == nil {
		_, err = g.store.Commit(ctx, storage.Unit{storage.PutRecord{Collection: clockCollection, ID: clockHold, IfVersion: storage.AnyVersion, Body: body}})
	}
	if err != nil {
		g.logger.ErrorContext(ctx, "the hold of the signing is not stored: a restart would forget it", slog.Any("error", err))
		return
	}
	g.stored = true
}

// Clock is how the clock stands.
func (g *clockGuard) Clock(ctx context.Context) (api.Clock, error) {
	head, err := g.store.Head(ctx)
	if err != nil {
		return api.Clock{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return api.Clock{Now: g.now(), Entry: head.LastTime, Held: g.held}, nil
}

// AcceptClock lets signing go on by the clock as it stands, and enters it into the
// ledger. Where nothing is held it does nothing.
func (g *clockGuard) AcceptClock(ctx context.Context, actor string) (api.Clock, error) {
	g.look(ctx)
	head, err := g.store.Head(ctx)
	if err != nil {
		return api.Clock{}, err
	}
	if err := g.accept(ctx, actor, head.LastTime); err != nil {
		return api.Clock{}, err
	}
	return g.Clock(ctx)
}

func (g *clockGuard) accept(ctx context.Context, actor string, last time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == "" {
		return nil
	}
	now := g.now().Round(0).UTC()
	d, err := entry.Action{Action: "clock.accepted", Target: "clock", Detail: fmt.Sprintf("clock=%s held=%q", now.Format(time.RFC3339), g.held)}.Draft(actor)
	if err != nil {
		return err
	}
	// The entry itself is not earlier than the last one; what follows may be as late.
	accepted := acceptedClock{At: now, Last: later(now, last)}
	body, err := json.Marshal(accepted)
	if err != nil {
		return err
	}
	unit := storage.Unit{
		storage.AppendEntry{Entry: d},
		storage.PutRecord{Collection: clockCollection, ID: clockAccepted, IfVersion: storage.AnyVersion, Body: body},
	}
	if g.stored {
		unit = append(unit, storage.DeleteRecord{Collection: clockCollection, ID: clockHold, IfVersion: storage.AnyVersion})
	}
	if _, err := g.store.Commit(ctx, unit); err != nil {
		return fmt.Errorf("accept the clock: %w", err)
	}
	g.logger.WarnContext(ctx, "the clock was accepted: signing goes on", slog.String("by", actor), slog.Time("clock", now), slog.String("held", g.held))
	g.held, g.stored, g.jumped, g.accepted = "", false, false, accepted
	g.started, g.upAtThen = now, g.sinceUp()
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// err is nil, or a problem of kind Unavailable while signing is held.
func (g *clockGuard) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == "" {
		return nil
	}
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: "CLOCK", Rule: "clock", Detail: "signing is held: " + g.held,
		Help: "set the server's clock, then accept it with \"certwright ledger clock --accept\"",
	}
}

// jumpErr is err while the clock is elsewhere than it should be; a clock that is
// merely behind the ledger, or right again, does not hold lists back, which would
// lapse.
func (g *clockGuard) jumpErr() error {
	g.mu.Lock()
	jumped := g.jumped
	g.mu.Unlock()
	if !jumped {
		return nil
	}
	return g.err()
}

// run looks at the clocks until ctx ends.
func (g *clockGuard) run(ctx context.Context) error {
	ticker := time.NewTicker(clockLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			g.look(ctx)
		}
	}
}
