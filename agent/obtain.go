package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/agent/source"
)

// Result is what became of one certificate that was asked for once.
type Result struct {
	CertificateStatus
	Obtained bool  // there is a new one
	Err      error // why there is none, or why its hook failed
}

// Obtain asks once for each certificate of these names that is due; no names: for
// all. With force also for those that are not. What failed before does not hold an
// attempt up, but there are no more in an hour than the file allows.
func (a *Agent) Obtain(ctx context.Context, names []string, force bool) ([]Result, error) {
	var chosen []*keeper
	for _, k := range a.all() {
		if len(names) == 0 {
			chosen = append(chosen, k)
		}
	}
	for _, name := range names {
		found := false
		for _, k := range a.all() {
			if k.config.Name == name {
				chosen, found = append(chosen, k), true
			}
		}
		if !found {
			return nil, a.config.Lacking(name)
		}
	}
	var results []Result
	for _, k := range chosen {
		r := k.once(ctx, force)
		r.CertificateStatus = k.status(time.Now())
		results = append(results, r)
	}
	a.saveStatus()
	return results, ctx.Err()
}

// once is one attempt, if it is due, and the hook, if that is.
func (k *keeper) once(ctx context.Context, force bool) (r Result) {
	if !k.agent.options.Anew {
		k.ask(ctx)
	}
	now := time.Now()
	k.mu.Lock()
	plan, failed := k.record.Plan, k.record.LastError
	k.mu.Unlock()
	plan.Retry = time.Time{}
	next := k.rules.Next(plan, now)
	switch {
	case force || !next.After(now):
		r.Err = k.attempt(ctx)
		r.Obtained = r.Err == nil
	case !plan.Due.After(now):
		r.Err = &source.Failure{Err: fmt.Errorf("there were %d attempts already, and it failed last because: %s; the next is at %s, --force makes one now",
			k.rules.Recent(plan, now), failed, next.UTC().Format(time.RFC3339))}
	}
	if r.Obtained {
		_ = k.change(func(r *record) { r.HookRetry = time.Time{} })
	}
	k.runHook(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.record.HookError != "" {
		r.Err = errors.Join(r.Err, errors.New(k.record.HookError))
	}
	return r
}
