package ca

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

const (
	refusalCollection = "refusal"
	refusalsKept      = 1000
	refusalsWaiting   = 256  // in memory, before they are written
	refusalBody       = 8192 // octets of one stored refusal
)

// Refusal is a request that got no certificate, and why.
type Refusal struct {
	Time       time.Time           `json:"time"`
	Requester  string              `json:"requester"` // "method:ID"
	Profile    string              `json:"profile"`
	Names      []string            `json:"names"` // "type:value"
	Kind       problem.Kind        `json:"kind"`
	Reason     string              `json:"reason"`
	Detail     string              `json:"detail"`
	Violations []problem.Violation `json:"violations,omitempty"`
	RequestID  string              `json:"request_id,omitempty"`
}

// NewRefusal is the refusal of req by err, at time now.
func NewRefusal(req identity.Request, err error, now time.Time) Refusal {
	p := asProblem(err)
	r := Refusal{
		Time: now.UTC(), Requester: req.Principal.String(), Profile: req.Profile, Kind: p.Kind, Reason: p.Code(),
		Detail: p.Detail, Violations: p.Violations, RequestID: req.ID,
	}
	for _, id := range req.Identifiers {
		r.Names = append(r.Names, id.String())
	}
	return r
}

// RefusalsConfig of a Refusals.
type RefusalsConfig struct {
	Store interface {
		storage.Committer
		storage.RecordReader
	}
	Logger *slog.Logger // nil: slog.Default
}

// Refusals keeps the last 1000 refusals in the store, in a ring of record slots.
// Issuing never waits for it: what comes faster than it can be written is
// counted and dropped.
type Refusals struct {
	store interface {
		storage.Committer
		storage.RecordReader
	}
	logger *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	waiting []Refusal
	dropped uint64

	writing sync.Mutex // held while slots are written; guards next
	next    int        // the slot to write; -1: not known yet
}

// NewRefusals makes a Refusals; Run writes.
func NewRefusals(cfg RefusalsConfig) *Refusals {
	r := &Refusals{store: cfg.Store, logger: cfg.Logger, wake: make(chan struct{}, 1), next: -1}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	return r
}

// Note keeps a refusal. It never blocks.
func (r *Refusals) Note(f Refusal) {
	r.mu.Lock()
	if len(r.waiting) < refusalsWaiting {
		r.waiting = append(r.waiting, f)
	} else {
		r.dropped++
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Dropped is how many refusals were not kept.
func (r *Refusals) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Run writes what was noted, until ctx ends. A failed write is logged.
func (r *Refusals) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		if err := r.flush(ctx); err != nil && ctx.Err() == nil {
			r.logger.LogAttrs(ctx, slog.LevelWarn, "refusals were not written", slog.Any("error", err))
		}
	}
}

// List is a page of refusals, newest first, those noted and not yet written
// included: limit of them after the first skip.
func (r *Refusals) List(ctx context.Context, skip, limit int) ([]Refusal, error) {
	if err := r.flush(ctx); err != nil {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "refusals were not written", slog.Any("error", err))
	}
	var all []Refusal
	err := r.each(ctx, func(_ string, f Refusal) { all = append(all, f) })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Refusal) int { return b.Time.Compare(a.Time) })
	skip = min(max(skip, 0), len(all))
	return all[skip:min(skip+max(limit, 0), len(all))], nil
}

func (r *Refusals) each(ctx context.Context, do func(id string, f Refusal)) error {
	var after []byte
	for {
		page, err := r.store.Records(ctx, refusalCollection, "", "", after, 500)
		if err != nil {
			return fmt.Errorf("refusals: %w", err)
		}
		for _, rec := range page.Records {
			var f Refusal
			if err := json.Unmarshal(rec.Body, &f); err != nil {
				return fmt.Errorf("refusal %s: %w", rec.ID, err)
			}
			do(rec.ID, f)
		}
		if after = page.Next; after == nil {
			return nil
		}
	}
}

// flush writes what waits, in one unit; what fails is lost and counted.
func (r *Refusals) flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	batch := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := r.write(ctx, batch)
	if err != nil {
		r.mu.Lock()
		r.dropped += uint64(len(batch))
		r.mu.Unlock()
	}
	return err
}

func (r *Refusals) write(ctx context.Context, batch []Refusal) error {
	if r.next < 0 {
		if err := r.findNext(ctx); err != nil {
			return err
		}
	}
	unit := make(storage.Unit, 0, len(batch))
	for i, f := range batch {
		body, err := f.encode()
		if err != nil {
			return err
		}
		unit = append(unit, storage.PutRecord{
			Collection: refusalCollection, ID: slot((r.next + i) % refusalsKept), IfVersion: storage.AnyVersion, Body: body,
		})
	}
	if _, err := r.store.Commit(ctx, unit); err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	r.next = (r.next + len(batch)) % refusalsKept
	return nil
}

func slot(n int) string { return fmt.Sprintf("%04d", n) }

// findNext finds the slot after the newest refusal.
func (r *Refusals) findNext(ctx context.Context) error {
	type seen struct {
		id string
		at time.Time
	}
	var newest seen
	err := r.each(ctx, func(id string, f Refusal) {
		if newest.id == "" || cmp.Or(f.Time.Compare(newest.at), cmp.Compare(id, newest.id)) > 0 {
			newest = seen{id, f.Time}
		}
	})
	if err != nil {
		return err
	}
	r.next = 0
	if newest.id != "" {
		last := 0
		if _, err := fmt.Sscanf(newest.id, "%d", &last); err != nil {
			return fmt.Errorf("refusal slot %.16q: %w", newest.id, err)
		}
		r.next = (last + 1) % refusalsKept
	}
	return nil
}

// encode is the refusal as JSON, shortened to the most that a slot takes.
func (f Refusal) encode() ([]byte, error) {
	for {
		body, err := json.Marshal(f)
		if err != nil || len(body) <= refusalBody {
			return body, err
		}
		switch {
		case len(f.Violations) > 1:
			f.Violations = f.Violations[:len(f.Violations)/2]
		case len(f.Names) > 1:
			f.Names = f.Names[:len(f.Names)/2]
		default:
			f.Violations, f.Names, f.Detail = nil, nil, fmt.Sprintf("%.500s", f.Detail)
			f.RequestID, f.Profile = fmt.Sprintf("%.100s", f.RequestID), fmt.Sprintf("%.100s", f.Profile)
			return json.Marshal(f)
		}
	}
}
