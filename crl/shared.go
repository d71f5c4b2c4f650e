package crl

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// maxCopies is how many lists that are kept in the store alone are in memory at
// once for being fetched.
const maxCopies = 4

// errCrowded: as many others are being fetched as may be at once.
var errCrowded = errors.New("too many lists are being fetched")

// shared are the lists that are read from the store while somebody fetches them: of
// each publication one copy, however many fetch it and however slowly.
type shared struct {
	free     chan struct{} // one element for each copy
	patience time.Duration // how long a copy waits for a place, and its reading may last

	mu   sync.Mutex
	open map[*list]*copied // the newest of each list
}

// copied is a publication in memory for those who fetch it.
type copied struct {
	wanted  uint64        // at least this number
	readers int           // guarded by shared.mu
	ready   chan struct{} // closed when what is below is set

	current *published
	der     []byte
	held    bool // a place is held
	err     error
}

func newShared() *shared {
	return &shared{free: make(chan struct{}, maxCopies), patience: 5 * time.Second, open: map[*list]*copied{}}
}

// take is the list's copy in memory, which must be given back with give, also
// where the error says that there is none.
func (s *shared) take(ctx context.Context, store Store, l *list, c *published) (*copied, error) {
	s.mu.Lock()
	got := s.open[l]
	first := got == nil || got.wanted < c.number
	if first {
		got = &copied{wanted: c.number, ready: make(chan struct{})}
		s.open[l] = got
	}
	got.readers++
	s.mu.Unlock()
	if first {
		if got.err = s.read(ctx, store, l, c, got); got.err != nil {
			s.mu.Lock()
			s.forget(l, got) // the next one tries again
			s.mu.Unlock()
		}
		close(got.ready)
	}
	select {
	case <-got.ready:
		return got, got.err
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// read reads the list for all who wait for it: whoever is the first may go away.
func (s *shared) read(ctx context.Context, store Store, l *list, c *published, into *copied) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		return errCrowded
	}
	stored, err := store.CRL(ctx, l.signer.KeyID(), l.shard)
	if err != nil {
		<-s.free
		return err
	}
	if stored.Number != c.number { // a newer one, between its commit and its show
		newer := *c
		newer.number, newer.sum = stored.Number, sha256.Sum256(stored.DER)
		c = &newer
	}
	into.current, into.der, into.held = c, stored.DER, true
	return nil
}

// give ends a reader's use; the last one's ends the copy. The first, who reads it,
// is among them until it is read.
func (s *shared) give(l *list, c *copied) {
	s.mu.Lock()
	c.readers--
	last := c.readers == 0
	if last {
		s.forget(l, c)
	}
	s.mu.Unlock()
	if last && c.held {
		<-s.free
	}
}

// forget takes a copy out of the map, unless a newer one is in its place.
func (s *shared) forget(l *list, c *copied) {
	if s.open[l] == c {
		delete(s.open, l)
	}
}
