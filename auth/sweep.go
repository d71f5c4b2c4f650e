package auth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/certwright/certwright/storage"
)

// SweepStore is what a Sweeper needs of the storage.
type SweepStore interface {
	storage.Committer
	ExpiredRecords(ctx context.Context, collection string, before time.Time, limit int) ([]storage.Record, error)
}

// Sweeper deletes records that have expired.
type Sweeper struct {
	Store       SweepStore
	Collections []string
	Now         func() time.Time
	Logger      *slog.Logger
}

const (
	sweepInterval = 10 * time.Minute
	sweepChunk    = 100
	sweepMost     = 100 // chunks of one collection at once
)

// Run sweeps now and then, until ctx ends.
func (s Sweeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		for _, collection := range s.Collections {
			if err := s.Sweep(ctx, collection); err != nil && ctx.Err() == nil {
				s.Logger.LogAttrs(ctx, slog.LevelError, "expired records were not swept", slog.String("collection", collection), slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep deletes what has expired of one collection, in small units. What another
// server has deleted or changed meanwhile is left to the next time.
func (s Sweeper) Sweep(ctx context.Context, collection string) error {
	for range sweepMost {
		expired, err := s.Store.ExpiredRecords(ctx, collection, s.Now(), sweepChunk)
		if err != nil || len(expired) == 0 {
			return err
		}
		unit := make(storage.Unit, len(expired))
		for i, r := range expired {
			unit[i] = storage.DeleteRecord{Collection: collection, ID: r.ID, IfVersion: r.Version}
		}
		_, err = s.Store.Commit(ctx, unit)
		if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil || len(expired) < sweepChunk {
			return err
		}
	}
	return nil
}
