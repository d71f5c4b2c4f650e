package ocsp

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// errBusy: all signers are at work and enough callers wait for one.
var errBusy = errors.New("too many answers to sign")

// slots bounds how many answers are signed at once, and how many callers wait
// to be next, and for how long.
type slots struct {
	free     chan struct{} // one element for each signer at work
	waiting  atomic.Int64
	queue    int64
	patience time.Duration
}

func newSlots(signers, queue int) *slots {
	return &slots{free: make(chan struct{}, signers), queue: int64(queue), patience: 2 * time.Second}
}

// take takes a slot, which must be given back with give.
func (s *slots) take(ctx context.Context) error {
	select {
	case s.free <- struct{}{}:
		return nil
	default:
	}
	if s.waiting.Add(1) > s.queue {
		s.waiting.Add(-1)
		return errBusy
	}
	defer s.waiting.Add(-1)
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case s.free <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slots) give() { <-s.free }
