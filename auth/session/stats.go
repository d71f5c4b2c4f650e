package session

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/certwright/certwright/problem"
)

// Stats are what Sessions has done since New.
type Stats struct {
	Opened, Revoked uint64            // by this server; the oldest that made room for another is not counted
	Refused         map[string]uint64 // to open one, or to be believed in one, by the problem's reason
}

// maxReasons bounds how many reasons are counted apart; there are about ten.
const maxReasons = 32

// tally counts for Stats. Safe for concurrent use.
type tally struct {
	mu    sync.Mutex
	stats Stats
}

func (t *tally) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Opened++
}

func (t *tally) revoked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Revoked++
}

// refused counts err if it is a refusal with a reason, and returns it.
func (t *tally) refused(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind == problem.Internal || p.Reason == "" {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := p.Reason
	if _, known := t.stats.Refused[reason]; !known && len(t.stats.Refused) >= maxReasons {
		reason = "OTHER"
	}
	if t.stats.Refused == nil {
		t.stats.Refused = map[string]uint64{}
	}
	t.stats.Refused[reason]++
	return err
}

// Stats are the counts at this time.
func (s *Sessions) Stats() Stats {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	out := s.tally.stats
	out.Refused = maps.Clone(out.Refused)
	return out
}

// Active is how many sessions can be used now, of all servers of the store; limit (1
// to 1000) of the newest are looked at.
func (s *Sessions) Active(ctx context.Context, limit int) (int, error) {
	page, err := s.List(ctx, "", nil, limit)
	if err != nil {
		return 0, err
	}
	active, now := 0, s.config.Now()
	for _, each := range page.Sessions {
		if each.State(now) == Active {
			active++
		}
	}
	return active, nil
}
