package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/agent/judge"
	"github.com/certwright/certwright/agent/source"
)

// patience is how long one attempt may take.
const patience = 5 * time.Minute

// attempt gets one certificate, in steps of which each can be the last before a
// crash:
//
//  1. Note the attempt: it counts, whatever becomes of it.
//  2. Make sure that the files can be written.
//  3. Keep the key and the request.
//  4. Ask.
//  5. Judge the answer.
//  6. Publish the files, all at once.
//  7. Note what there is now, and that the hook is due.
//  8. Forget the request.
func (k *keeper) attempt(ctx context.Context) error {
	select {
	case k.agent.slots <- struct{}{}:
		defer func() { <-k.agent.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := time.Now()
	if err := k.change(func(r *record) { r.Plan, r.Request = k.rules.Tried(r.Plan, now), k.asks }); err != nil {
		return k.failed(ctx, fmt.Errorf("the state folder cannot be written to: %w", err))
	}
	if err := k.agent.holdFolder(k.folder.Dir); err != nil {
		return k.failed(ctx, fmt.Errorf("cannot write into %s: %w", k.folder.Dir, err))
	}
	if err := k.folder.Ready(); err != nil {
		return k.failed(ctx, err)
	}
	p, err := k.request(ctx, now)
	if err != nil {
		return k.failed(ctx, err)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	answer, err := k.issuer.Obtain(limited, k.asked(p))
	cancel()
	if err != nil {
		return k.failed(ctx, err)
	}
	chain, err := judge.Chain(answer.Certificate, answer.Chain, judge.Want{Public: p.key.Public(), Names: k.names, Roots: k.roots, Now: time.Now()})
	if err != nil {
		return k.failed(ctx, source.Refusal(err))
	}
	held := &folder.Held{Key: p.key, Chain: chain}
	if err := k.folder.Publish(held); err != nil {
		return k.failed(ctx, err)
	}
	return errors.Join(k.obtained(held, answer.Note), k.drop())
}

// asked is the request as the source takes it.
func (k *keeper) asked(p *pending) source.Request {
	r := source.Request{
		ID: p.ID, CSR: p.csr, CSRPEM: p.CSR, Names: k.names, Profile: k.config.Profile, Owner: k.config.Owner,
		Labels: k.config.Labels, Validity: time.Duration(k.config.Validity),
	}
	// What is wanted otherwise than before is not renewed but asked for anew; only the
	// key may be another.
	if k.held != nil && !k.agent.options.Anew && k.sameOrder() {
		r.Predecessor = k.held
	}
	return r
}

// obtained notes a new certificate.
func (k *keeper) obtained(h *folder.Held, note string) error {
	leaf := h.Leaf()
	if k.before != "" {
		note, k.before = strings.TrimPrefix(note+"; "+k.before, "; "), ""
	}
	k.mu.Lock()
	k.held = h
	k.mu.Unlock()
	err := k.change(func(r *record) {
		r.Plan = k.rules.Renewed(r.Plan, leaf.NotBefore, leaf.NotAfter, time.Now())
		r.Certificate, r.Order, r.Note = h.ID(), k.order, note
		r.LastError, r.LastErrorAt = "", time.Time{}
		r.HookDue, r.HookFailures, r.HookRetry, r.HookError = k.hasHook(), 0, time.Time{}, ""
	})
	level := slog.LevelInfo
	if note != "" {
		level = slog.LevelWarn
	}
	k.log.Log(context.Background(), level, "there is a new certificate", slog.String("serial", serialOf(leaf)),
		slog.Time("not_after", leaf.NotAfter), slog.String("note", note))
	return err
}

// failed notes a failure and answers it.
func (k *keeper) failed(ctx context.Context, err error) error {
	f := source.Of(err)
	if ctx.Err() != nil {
		// The agent is told to end: the request goes on at the next start.
		return err
	}
	now := time.Now()
	saved := k.change(func(r *record) {
		r.Plan = k.rules.Failed(r.Plan, f.Wait, now)
		r.LastError, r.LastErrorAt = err.Error(), now
	})
	if f.Refused {
		saved = errors.Join(saved, k.drop())
	}
	if saved != nil {
		k.log.Error("the state cannot be kept", slog.String("error", saved.Error()))
	}
	return err
}
