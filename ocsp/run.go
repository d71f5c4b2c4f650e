package ocsp

import (
	"context"
	"log/slog"
	"time"
)

// Run renews responder certificates and signs hot answers ahead of their half
// life, until ctx ends. It returns nil then.
func (r *Responder) Run(ctx context.Context) error {
	tick := min(max(r.lifetime/64, time.Second), 30*time.Second)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := tick
		if retry := r.renewDue(ctx); retry > 0 {
			wait = min(wait, retry)
		}
		r.refresh(ctx)
		timer.Reset(wait)
	}
}

// renewDue renews what is due and may be tried again; the result is how long to
// wait for the next try, 0 if none is pending.
func (r *Responder) renewDue(ctx context.Context) time.Duration {
	var wait time.Duration
	for _, is := range r.issuers {
		if is.profile == "" || ctx.Err() != nil {
			continue
		}
		is.mu.Lock()
		retryAt := is.retryAt
		is.mu.Unlock()
		left := retryAt.Sub(r.now())
		if left <= 0 {
			err := r.renew(ctx, is)
			if err == nil {
				continue
			}
			r.logger.Error("OCSP responder certificate", slog.String("issuer", is.name), slog.Any("error", err))
			left = time.Second
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// refresh drops answers past their time and signs hot ones anew, one by one.
func (r *Responder) refresh(ctx context.Context) {
	for i := range r.cache.shards {
		for _, k := range r.cache.shards[i].sweep(r.now()) {
			if ctx.Err() != nil {
				return
			}
			kept, f := r.cache.shards[i].lead(k)
			if f == nil {
				continue
			}
			r.counters.ahead.Add(1)
			r.fly(ctx, r.issuers[k.issuer], k, f, kept, "")
		}
	}
}
