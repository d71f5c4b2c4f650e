package ca

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/ca/quota"
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
	Owner      string              `json:"owner,omitempty"`      // asked for, or the only one that the credential has
	RequestID  string              `json:"request_id,omitempty"` // that the caller was told: Request.Call
	// Omitted is how many refusals of the same requester came just before, too many
	// to be kept.
	Omitted uint64 `json:"omitted,omitempty"`
}

// NewRefusal is the refusal of req by err, at time now.
func NewRefusal(req identity.Request, err error, now time.Time) Refusal {
	p := asProblem(err)
	r := Refusal{
		Time: now.UTC(), Requester: req.Principal.String(), Profile: req.Profile, Kind: p.Kind, Reason: p.Code(),
		Detail: p.Detail, Violations: p.Violations, Owner: req.Owner, RequestID: cmp.Or(req.Call, req.ID),
	}
	if req.Owner == "" && req.Principal.Bound != nil {
		r.Owner = req.Principal.Bound.Owner
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
	// PerMinute is how many refusals of one requester are written in a minute; what
	// comes beyond is counted in the next that is. 0: 60.
	PerMinute int
}

// Refusals keeps up to 1000 refusals in the store, in as many record slots. A full
// store gives up the oldest refusal of the requester that has most: nobody can push
// out what others need to see. Issuing never waits for it: what comes faster than
// it can be written is counted and dropped.
type Refusals struct {
	store interface {
		storage.Committer
		storage.RecordReader
	}
	logger *slog.Logger
	wake   chan struct{}
	quotas *quota.Quotas

	mu      sync.Mutex
	waiting []Refusal
	dropped uint64
	omitted map[string]uint64 // by requester, at most refusalsKept

	writing sync.Mutex // held while slots are written; guards slots
	slots   *slots     // nil: not read yet
}

// NewRefusals makes a Refusals; Run writes.
func NewRefusals(cfg RefusalsConfig) *Refusals {
	r := &Refusals{
		store: cfg.Store, logger: cfg.Logger, wake: make(chan struct{}, 1), omitted: map[string]uint64{},
		quotas: quota.New(quota.Config{PerMinute: cfg.PerMinute}),
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	return r
}

// Note keeps a refusal. It never blocks.
func (r *Refusals) Note(f Refusal) {
	within := r.quotas.Take(f.Requester, f.Time)
	r.mu.Lock()
	if within && len(r.waiting) < refusalsWaiting {
		f.Omitted = r.omitted[f.Requester]
		delete(r.omitted, f.Requester)
		r.waiting = append(r.waiting, f)
	} else {
		r.dropped++
		if _, known := r.omitted[f.Requester]; known || len(r.omitted) < refusalsKept {
			r.omitted[f.Requester]++
		}
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
	err := r.each(ctx, func(_ string, f Refusal) error {
		all = append(all, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Refusal) int { return b.Time.Compare(a.Time) })
	skip = min(max(skip, 0), len(all))
	return all[skip:min(skip+max(limit, 0), len(all))], nil
}

func (r *Refusals) each(ctx context.Context, do func(id string, f Refusal) error) error {
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
			if err := do(rec.ID, f); err != nil {
				return err
			}
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
	if r.slots == nil {
		found := &slots{}
		if err := r.each(ctx, found.read); err != nil {
			return err
		}
		r.slots = found
	}
	written := r.slots.clone()
	bodies := map[int][]byte{} // by slot: a batch may come back to one
	for _, f := range batch {
		body, err := f.encode()
		if err != nil {
			return err
		}
		bodies[written.put(f.Requester, f.Time)] = body
	}
	unit := make(storage.Unit, 0, len(bodies))
	for _, n := range slices.Sorted(maps.Keys(bodies)) {
		unit = append(unit, storage.PutRecord{
			Collection: refusalCollection, ID: slotID(n), IfVersion: storage.AnyVersion, Body: bodies[n],
		})
	}
	if _, err := r.store.Commit(ctx, unit); err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	r.slots = written
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
