package crl

import (
	"context"
	"errors"
	"time"

	"github.com/certwright/certwright/problem"
)

// maxSleep bounds how long Run sleeps: the wall clock may be set while a timer,
// which does not follow it, runs.
const maxSleep = time.Minute

// Run builds lists when they are due, until ctx ends. A list that cannot be built
// is tried again; the error is logged and counted.
func (p *Publisher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
		wait := maxSleep
		for _, l := range p.lists {
			if ctx.Err() != nil {
				return nil
			}
			if !p.due(l).After(p.cfg.Now()) {
				_ = p.build(ctx, l, systemActor) // logged, counted and kept with the list
			}
			wait = min(wait, p.due(l).Sub(p.cfg.Now()))
		}
		timer.Reset(max(wait, 0))
	}
}

// due is when a list is to be built again. A time that is ahead of what it can be
// was taken while the clock was ahead: it makes nothing wait.
func (p *Publisher) due(l *list) time.Time {
	current := l.current.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := p.cfg.Now() // under the lock: no time below is later, if the clock is right
	var at time.Time   // now, if there is none yet
	switch {
	case l.tooLong.After(now) || current != nil && current.thisUpdate.After(now) || l.dirty.After(now):
	case !l.tooLong.IsZero():
		at = l.tooLong.Add(p.cfg.Lifetime / 3)
	case current != nil:
		at = current.thisUpdate.Add(current.nextUpdate.Sub(current.thisUpdate) / 3)
		if end := current.thisUpdate.Add(p.cfg.Lifetime / 3); end.Before(at) { // the configuration has changed
			at = end
		}
	}
	if !l.dirty.IsZero() {
		if soon := l.dirty.Add(p.cfg.RebuildDelay); soon.Before(at) {
			at = soon
		}
	}
	if l.retry.After(now.Add(maxRetry)) {
		return at
	}
	return later(at, l.retry)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Publish builds lists at once: those of an issuer ("": all), of a shard ("": all
// and the complete one). The result describes them. NotFound if there is none such.
func (p *Publisher) Publish(ctx context.Context, issuer, shard, actor string) ([]Info, error) {
	var out []Info
	var failed error
	for _, l := range p.lists {
		if issuer != "" && l.signer.Name() != issuer || shard != "" && l.shard != shard {
			continue
		}
		failed = errors.Join(failed, p.build(ctx, l, actor))
		out = append(out, l.info())
	}
	if len(out) == 0 {
		return nil, &problem.Problem{Kind: problem.NotFound, Detail: "there is no such CRL", Help: "see the list of CRLs"}
	}
	return out, failed
}
