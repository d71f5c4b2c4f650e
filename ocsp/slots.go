package ocsp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// errBusy: all signers are at work and enough callers wait for one.
var errBusy = errors.New("too many answers to sign")

// slots bounds how many answers are signed at once, and how many callers wait to be
// next, and for how long. Sources have equal shares of it: they take turns, and in a
// full queue one that has less waiting takes the place of the one that has most.
type slots struct {
	signers, queue int
	patience       time.Duration

	mu      sync.Mutex
	busy    int                  // signers at work
	waiting int                  // callers in lines
	lines   map[string][]*waiter // by source; none is empty
	turns   []string             // the sources in lines, the next one first
}

// waiter is a caller who waits; ready gets nil for a slot, or errBusy.
type waiter struct{ ready chan error }

func newSlots(signers, queue int) *slots {
	return &slots{signers: signers, queue: queue, patience: 2 * time.Second, lines: map[string][]*waiter{}}
}

// take takes a slot, which must be given back with give, for a source: whatever
// text names it.
func (s *slots) take(ctx context.Context, source string) error {
	s.mu.Lock()
	if s.busy < s.signers {
		s.busy++
		s.mu.Unlock()
		return nil
	}
	w := s.join(source)
	s.mu.Unlock()
	if w == nil {
		return errBusy
	}
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case err := <-w.ready:
		return err
	case <-timer.C:
		return s.leave(source, w, errBusy)
	case <-ctx.Done():
		return s.leave(source, w, ctx.Err())
	}
}

// join puts a caller into the line of its source; nil: there is no room. All signers
// are at work whenever somebody waits.
func (s *slots) join(source string) *waiter {
	if s.waiting >= s.queue && !s.displace(len(s.lines[source])) {
		return nil
	}
	w := &waiter{make(chan error, 1)}
	if len(s.lines[source]) == 0 {
		s.turns = append(s.turns, source)
	}
	s.lines[source] = append(s.lines[source], w)
	s.waiting++
	return w
}

// displace sends the last of the longest line away, if that is longer than one of
// mine would be.
func (s *slots) displace(mine int) bool {
	longest := ""
	for _, source := range s.turns {
		if len(s.lines[source]) > len(s.lines[longest]) || longest == "" {
			longest = source
		}
	}
	line := s.lines[longest]
	if len(line) <= mine+1 {
		return false
	}
	last := line[len(line)-1]
	s.drop(longest, len(line)-1)
	last.ready <- errBusy
	return true
}

// drop takes a caller out of a line.
func (s *slots) drop(source string, i int) {
	s.waiting--
	if s.lines[source] = slices.Delete(s.lines[source], i, i+1); len(s.lines[source]) > 0 {
		return
	}
	delete(s.lines, source)
	s.turns = slices.DeleteFunc(s.turns, func(t string) bool { return t == source })
}

// leave takes one out of its line who waits no longer; if its turn has come
// meanwhile, it goes first.
func (s *slots) leave(source string, w *waiter, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.lines[source], w); i >= 0 {
		s.drop(source, i)
		return cause
	}
	return <-w.ready
}

// give hands the slot to the first of the line whose turn it is.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.turns) == 0 {
		s.busy--
		return
	}
	source := s.turns[0]
	next := s.lines[source][0]
	s.drop(source, 0)
	if len(s.lines[source]) > 0 {
		s.turns = append(s.turns[1:], source)
	}
	next.ready <- nil
}

// sourceOf is whom a request counts for: its address; of IPv6 the network of 64
// bits, which is one machine's.
func sourceOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	address := at.Addr().Unmap().WithZone("")
	if !address.Is6() {
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}
