package inventory

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/certwright/certwright/storage"
)

// Expiring is the certificates whose NotAfter lies between now and within from
// now, soonest first, without those that are revoked or superseded; at most limit
// of them, and whether there are more.
func (v *Inventory) Expiring(ctx context.Context, within time.Duration, limit int) ([]Row, bool, error) {
	now := v.config.Now()
	after := newSuccessors(v.config.Store, now)
	query := storage.Query{Order: storage.ByExpiry, From: now, To: now.Add(within), Limit: 1000}
	var rows []Row
	for {
		page, err := v.config.Store.Certificates(ctx, query)
		if err != nil {
			return nil, false, fmt.Errorf("inventory: %w", err)
		}
		for _, c := range page.Certificates {
			alone, err := after.alone(ctx, c)
			if err != nil {
				return nil, false, fmt.Errorf("inventory: %w", err)
			}
			if !alone {
				continue
			}
			if len(rows) == limit {
				return rows, true, nil
			}
			rows = append(rows, Row{Certificate: c})
		}
		if page.Next == nil {
			return rows, false, nil
		}
		query.After = page.Next
	}
}

// alone tells whether the certificate is in use and has no successor.
func (s *successors) alone(ctx context.Context, c storage.Certificate) (bool, error) {
	if StateOf(c, s.now) != StateIssued {
		return false, nil
	}
	superseded, err := s.of(ctx, c)
	return !superseded, err
}

// Expiries keeps the earliest expiry of each owner, for a metric. It walks the
// index by expiry from now on, at most 20,000 certificates a step, and gives its
// result when the walk is through: for up to 20,000 valid certificates each step
// is a whole walk (about 0.2 s of CPU); a million take 50 steps. In memory is one
// time for each owner.
type Expiries struct {
	inventory *Inventory

	mu     sync.Mutex
	result map[string]time.Time

	walk *walk // under way; nil: the next step begins one. Only Step uses it.
}

type walk struct {
	query      storage.Query
	found      map[string]time.Time
	successors *successors
}

// maxStep is how many rows one step reads.
const maxStep = 20_000

// Expiries makes a keeper of the earliest expiries. It knows nothing until the
// first walk is through.
func (v *Inventory) Expiries() *Expiries { return &Expiries{inventory: v} }

// Earliest is, for each owner with a valid certificate that has no successor,
// the earliest NotAfter of these, as of the last whole walk.
func (e *Expiries) Earliest() map[string]time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.result)
}

// Run steps at once and then every interval, until ctx ends. Errors of reading
// are given to report and the walk begins again.
func (e *Expiries) Run(ctx context.Context, interval time.Duration, report func(error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := e.Step(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Step goes one bounded stretch of the walk. One goroutine at a time may call it.
func (e *Expiries) Step(ctx context.Context) error {
	if e.walk == nil {
		now := e.inventory.config.Now()
		e.walk = &walk{
			query:      storage.Query{Order: storage.ByExpiry, From: now, To: endOfTime(), Limit: 1000},
			found:      map[string]time.Time{},
			successors: newSuccessors(e.inventory.config.Store, now),
		}
	}
	for seen := 0; seen < maxStep; {
		page, err := e.inventory.config.Store.Certificates(ctx, e.walk.query)
		if err == nil {
			err = e.walk.take(ctx, page.Certificates)
		}
		if err != nil {
			e.walk = nil
			return fmt.Errorf("inventory: %w", err)
		}
		if page.Next == nil {
			e.mu.Lock()
			e.result, e.walk = e.walk.found, nil
			e.mu.Unlock()
			return nil
		}
		seen += len(page.Certificates)
		e.walk.query.After = page.Next
	}
	// What a later step finds must not rest on what an earlier one saw, and the
	// memory of the lines stays small.
	e.walk.successors = newSuccessors(e.inventory.config.Store, e.inventory.config.Now())
	return nil
}

// take keeps the first of each owner: the walk is by NotAfter.
func (w *walk) take(ctx context.Context, certificates []storage.Certificate) error {
	for _, c := range certificates {
		if _, ok := w.found[c.Intent.Owner]; ok {
			continue
		}
		alone, err := w.successors.alone(ctx, c)
		if err != nil {
			return err
		}
		if alone {
			w.found[c.Intent.Owner] = c.NotAfter
		}
	}
	return nil
}
