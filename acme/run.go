package acme

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/inventory/ari"
	"github.com/certwright/certwright/storage"
)

// The sweep: how often, and how much in one unit, so that requests do not wait
// for it.
const (
	sweepEvery = time.Minute
	sweepChunk = 100
	sweepMost  = 100 // chunks in a row
)

// Run validates challenges, those included that an earlier run has left in
// processing, and sweeps what has expired, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.pool.run(ctx) })
	g.Go(func() error { return every(ctx, resumeEvery, s.resume) })
	g.Go(func() error { return every(ctx, sweepEvery, s.sweep) })
	return g.Wait()
}

// every does something at once and then again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(context.Context)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// resume takes up the challenges that stand in processing and are not in memory.
func (s *Server) resume(ctx context.Context) {
	var after []byte
	for {
		page, err := s.store.Records(ctx, authzCollection, indexWork, workValue, after, 500)
		if err != nil {
			s.complain(ctx, "challenges in processing cannot be read", err)
			return
		}
		for _, r := range page.Records {
			z, err := decodeAuthorization(r)
			if err != nil {
				s.complain(ctx, "challenge in processing cannot be read", err)
				continue
			}
			s.pool.add(z.Account, z.ID, "")
		}
		if after = page.Next; after == nil || !s.pool.room() { // the rest waits for the next time
			return
		}
	}
}

func (s *Server) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.logger.LogAttrs(ctx, slog.LevelError, "ACME housekeeping failed", slog.String("what", what), slog.Any("error", err))
	}
}

// sweep deletes records that have expired, in small chunks.
func (s *Server) sweep(ctx context.Context) {
	for _, collection := range []string{orderCollection, authzCollection, replacedCollection, ari.Collection} {
		for range sweepMost {
			n, err := s.sweepChunk(ctx, collection)
			if err != nil {
				s.complain(ctx, "expired records were not swept", err)
				break
			}
			if n < sweepChunk {
				break
			}
		}
	}
}

// sweepChunk deletes one chunk, or record by record if one of them has changed
// meanwhile. It returns how many had expired.
func (s *Server) sweepChunk(ctx context.Context, collection string) (int, error) {
	expired, err := s.store.ExpiredRecords(ctx, collection, s.now(), sweepChunk)
	if err != nil || len(expired) == 0 {
		return 0, err
	}
	unit := make(storage.Unit, len(expired))
	for i, r := range expired {
		unit[i] = storage.DeleteRecord{Collection: collection, ID: r.ID, IfVersion: r.Version}
	}
	_, err = s.store.Commit(ctx, unit)
	if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
		return len(expired), err
	}
	for _, each := range unit {
		_, err := s.store.Commit(ctx, storage.Unit{each})
		if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
			return 0, err
		}
	}
	return len(expired), nil
}
