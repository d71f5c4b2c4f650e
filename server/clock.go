package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/problem"
)

const (
	clockBehind = 5 * time.Second // servers differ by so much
	clockJump   = 5 * time.Minute
	clockLook   = 5 * time.Second // how often the two clocks are compared
)

// clockGuard holds the signing while the wall clock cannot be trusted: while it
// is further behind the ledger's last entry than servers differ, or has jumped
// against the clock that counts since boot, sleep included. It lets go when the
// clock is right again.
type clockGuard struct {
	now      func() time.Time
	sinceUp  func() time.Duration
	last     func() time.Time // of the ledger's last entry
	started  time.Time
	upAtThen time.Duration
	held     atomic.Pointer[string] // why; nil: not held
	jumped   atomic.Bool            // it is held for a jump
	logger   *slog.Logger
}

func newClockGuard(now func() time.Time, sinceUp func() time.Duration, last func() time.Time, logger *slog.Logger) *clockGuard {
	g := &clockGuard{now: now, sinceUp: sinceUp, last: last, logger: logger}
	g.started, g.upAtThen = now().Round(0), sinceUp()
	g.look()
	return g
}

// look compares the clocks.
func (g *clockGuard) look() {
	now := g.now().Round(0) // without Go's own monotonic reading
	drift := now.Sub(g.started) - (g.sinceUp() - g.upAtThen)
	behind := g.last().Sub(now)
	why := ""
	switch {
	case behind > clockBehind:
		why = "the clock is " + behind.Round(time.Second).String() + " behind the ledger's last entry"
	case drift > clockJump || drift < -clockJump:
		why = "the clock has jumped by " + drift.Round(time.Second).String()
	}
	g.jumped.Store(drift > clockJump || drift < -clockJump)
	was := g.held.Load()
	switch {
	case why == "" && was != nil:
		g.logger.Info("the clock is right again: signing goes on")
		g.held.Store(nil)
	case why != "":
		if was == nil {
			g.logger.Error("signing is held: set the clock, or restart the server if the clock is right now", slog.String("reason", why))
		}
		g.held.Store(&why)
	}
}

// err is nil, or a problem of kind Unavailable while signing is held.
func (g *clockGuard) err() error {
	why := g.held.Load()
	if why == nil {
		return nil
	}
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: "CLOCK", Rule: "clock", Detail: "signing is held: " + *why,
		Help: "set the server's clock; if it is right now, restart the server",
	}
}

// jumpErr is err while the clock has jumped; a clock that is merely behind the
// ledger does not hold lists back, which would lapse.
func (g *clockGuard) jumpErr() error {
	if !g.jumped.Load() {
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
			g.look()
		}
	}
}
