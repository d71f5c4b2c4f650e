package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/client/schedule"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const (
	// attemptTime is how long one attempt may take.
	attemptTime = time.Minute
	// longestSleep bounds how late a machine notices that its clock was set, or that it
	// has slept.
	longestSleep = time.Minute
	// longestFirst is the longest wait between attempts while there is no certificate.
	longestFirst = 30 * time.Second
	// longestTold is the longest wait that a server can ask for then.
	longestTold = 5 * time.Minute
)

// first obtains the certificate that there is not yet.
func (k *Keeper) first(ctx context.Context) error {
	for wait := firstWait; ; wait = min(2*wait, longestFirst) {
		err := k.attempt(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("no certificate yet: %w", errors.Join(ctx.Err(), err))
		case !passes(err):
			return err
		}
		pause := max(wait/2+time.Duration(rand.Int64N(int64(wait/2))), min(RetryDelay(err), longestTold)) //nolint:gosec // jitter, no secret
		k.tell(Event{Kind: Failed, Err: err, Next: wall().Add(pause)})
		if !pauseFor(ctx, pause) {
			return fmt.Errorf("no certificate yet: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// passes tells whether an error may be gone a little later.
func passes(err error) bool {
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable:
		return !unsafe(err)
	case codes.ResourceExhausted, codes.DeadlineExceeded, codes.Aborted, codes.Internal:
		return true
	default:
		return false
	}
}

// run renews until the context ends.
func (k *Keeper) run(ctx context.Context) {
	defer close(k.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case answer := <-k.wanted:
			answer <- k.renew(ctx)
		case <-timer.C:
			k.turn(ctx)
		}
		timer.Reset(k.sleep())
	}
}

// turn does what is due now.
func (k *Keeper) turn(ctx context.Context) {
	plan, now := k.planned(), wall()
	if !k.rules.Next(plan, now).After(now) {
		_ = k.renew(ctx) // it is in the status, and told
		return
	}
	if !plan.Ask.After(now) {
		k.ask(ctx)
	}
}

// sleep is how long nothing is due.
func (k *Keeper) sleep() time.Duration {
	plan, now := k.planned(), wall()
	next := k.rules.Next(plan, now)
	if plan.Ask.Before(next) {
		next = plan.Ask
	}
	return min(max(next.Sub(now), 0), longestSleep)
}

func (k *Keeper) planned() schedule.Plan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.plan
}

func (k *Keeper) change(with func(schedule.Plan) schedule.Plan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plan = with(k.plan)
}

// renew makes an attempt, and plans the next if it fails.
func (k *Keeper) renew(ctx context.Context) error {
	k.change(func(p schedule.Plan) schedule.Plan { return k.rules.Tried(p, wall()) })
	err := k.attempt(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	k.change(func(p schedule.Plan) schedule.Plan { return k.rules.Failed(p, RetryDelay(err), wall()) })
	k.mu.Lock()
	k.last = err
	k.mu.Unlock()
	k.tell(Event{Kind: Failed, Err: err})
	return err
}

// ask asks the CA when the certificate is to be renewed.
func (k *Keeper) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	now := k.held.Load()
	leaf := now.certificate.Leaf
	if k.refused || wall().After(leaf.NotAfter) { // it is due whatever the CA says
		k.change(func(p schedule.Plan) schedule.Plan { return k.rules.Unanswered(p, wall()) })
		return
	}
	w, err := k.ca.window(ctx, now.certificate)
	switch {
	case err == nil:
		k.change(func(p schedule.Plan) schedule.Plan {
			return k.rules.Suggested(p, windowOf(w), w.GetRetryAfter().AsDuration(), wall())
		})
	case refusal(err): // revoked, most likely: it is due
		k.refused = true
		k.wish.Logger.LogAttrs(ctx, slog.LevelWarn, "the CA does not take the certificate any more", slog.Any("error", err))
		k.change(func(p schedule.Plan) schedule.Plan {
			return k.rules.Suggested(p, schedule.Window{Start: leaf.NotBefore, End: leaf.NotBefore}, p.NotAfter.Sub(p.NotBefore)/10, wall())
		})
	default:
		k.wish.Logger.LogAttrs(ctx, slog.LevelDebug, "the CA does not say when to renew", slog.Any("error", err))
		k.change(func(p schedule.Plan) schedule.Plan { return k.rules.Unanswered(p, wall()) })
	}
}

// windowOf is the suggested window; none if it has no begin or no end.
func windowOf(info *certwrightv1.RenewalInfo) schedule.Window {
	if info.GetStartTime() == nil || info.GetEndTime() == nil {
		return schedule.Window{}
	}
	return schedule.Window{Start: info.GetStartTime().AsTime(), End: info.GetEndTime().AsTime()}
}

// tell says what happened to whoever wants to know.
func (k *Keeper) tell(e Event) {
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("event", string(e.Kind)), slog.Any("names", k.wish.Names)}
	if now := k.held.Load(); now != nil {
		e.Leaf = now.certificate.Leaf
		attrs = append(attrs, slog.String("serial", fmt.Sprintf("%032x", e.Leaf.SerialNumber)), slog.Time("not_after", e.Leaf.NotAfter))
		if e.Next.IsZero() {
			e.Next = k.rules.Next(k.planned(), wall())
		}
	}
	attrs = append(attrs, slog.Time("next", e.Next))
	if e.Err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Any("error", e.Err))
		if e.Leaf != nil && wall().After(e.Leaf.NotAfter) {
			level = slog.LevelError
			attrs = append(attrs, slog.Bool("expired", true))
		}
	}
	k.wish.Logger.LogAttrs(context.Background(), level, "certificate", attrs...)
	if k.wish.OnEvent != nil {
		k.wish.OnEvent(e)
	}
}
