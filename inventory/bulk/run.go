package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// The waits between tries of an operation whose step has failed.
const (
	retryWait = 5 * time.Second
	idleWait  = time.Minute // other servers may have left something
)

// maxErrorText bounds the error that a record keeps.
const maxErrorText = 500

// Run carries out operations, oldest ID first and one after the other, those of
// earlier runs too, until ctx ends. A step that fails is tried again.
func (o *Operations) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-o.wake:
		}
		wait := idleWait
		if err := o.workOff(ctx); err != nil && ctx.Err() == nil {
			wait = retryWait
			o.cfg.Logger.LogAttrs(ctx, slog.LevelError, "bulk revocation", slog.Any("error", err))
		}
		timer.Reset(wait)
	}
}

// workOff carries out all that is under way. One that fails does not keep the
// others from it.
func (o *Operations) workOff(ctx context.Context) error {
	var failed error
	var after []byte
	for {
		page, err := o.cfg.Store.Records(ctx, collection, indexState, stateRunning, after, 100)
		if err != nil {
			return errors.Join(failed, err)
		}
		for _, stored := range page.Records {
			if err := o.carryOut(ctx, stored.ID); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				failed = errors.Join(failed, fmt.Errorf("operation %s: %w", stored.ID, err))
				o.excuse(ctx, stored.ID, err)
			}
		}
		if after = page.Next; after == nil {
			return failed
		}
	}
}

// carryOut takes step after step until the operation has ended.
func (o *Operations) carryOut(ctx context.Context, id string) error {
	for {
		r, version, err := o.read(ctx, id)
		if err != nil || !r.Ended.IsZero() {
			return err
		}
		err = o.step(ctx, id, r, version)
		if errors.Is(err, storage.ErrConflict) { // something was revoked meanwhile: look again
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// step is one unit of an operation: counting, revoking some, or its end.
func (o *Operations) step(ctx context.Context, id string, r record, version uint64) error {
	r.Error = ""
	if !r.Counted {
		radius, _, err := o.count(ctx, r.Filter, r.Owners, r.Before)
		if problem.KindOf(err) == problem.Malformed { // the filter's language has changed
			return o.end(ctx, id, r, version, err)
		}
		if err != nil {
			return err
		}
		r.Counted, r.Radius = true, radius
		return o.save(ctx, id, r, version)
	}
	page, err := o.cfg.Inventory.Search(ctx, inventory.Question{Filter: r.Filter, Owners: r.Owners, OrderBy: walk, PageSize: o.cfg.Step, PageToken: r.Place})
	if problem.KindOf(err) == problem.Malformed {
		return o.end(ctx, id, r, version, err)
	}
	if err != nil {
		return err
	}
	var hit, spared []storage.Certificate
	for _, row := range page.Rows {
		switch {
		case o.hit(row.Certificate, r.Before):
			hit = append(hit, row.Certificate)
		case row.Index < r.Before:
			spared = append(spared, row.Certificate)
		}
	}
	r.Place = page.Next
	r.Revoked += uint64(len(hit))
	if page.Next == "" || beyond(page.Rows, r.Before) {
		r.Ended = o.cfg.Now().UTC()
	}
	put, err := r.put(id, version)
	if err != nil {
		return err
	}
	attach := storage.Unit{put}
	if r.Reason == identity.KeyCompromise {
		blocks, err := o.cfg.Authority.BlockKeys(ctx, without(spared, hit), r.Actor)
		if err != nil {
			return err
		}
		attach = append(attach, blocks...)
	}
	if len(hit) == 0 {
		_, err = o.cfg.Store.Commit(ctx, attach)
		return err
	}
	return o.cfg.Authority.RevokeAll(ctx, hit, r.Reason, r.Actor, attach)
}

// without leaves out the rows whose key one of the others has too.
func without(rows, others []storage.Certificate) []storage.Certificate {
	return slices.DeleteFunc(rows, func(row storage.Certificate) bool {
		return slices.ContainsFunc(others, func(other storage.Certificate) bool { return other.SPKI == row.SPKI })
	})
}

func (o *Operations) end(ctx context.Context, id string, r record, version uint64, cause error) error {
	r.Ended, r.Error = o.cfg.Now().UTC(), fmt.Sprintf("%.*s", maxErrorText, cause)
	return o.save(ctx, id, r, version)
}

func (o *Operations) save(ctx context.Context, id string, r record, version uint64) error {
	put, err := r.put(id, version)
	if err != nil {
		return err
	}
	_, err = o.cfg.Store.Commit(ctx, storage.Unit{put})
	return err
}

// excuse keeps the error with the operation, for who asks how far it is.
func (o *Operations) excuse(ctx context.Context, id string, cause error) {
	r, version, err := o.read(ctx, id)
	if err != nil || !r.Ended.IsZero() {
		return
	}
	r.Error = fmt.Sprintf("%.*s", maxErrorText, cause)
	_ = o.save(ctx, id, r, version) // the cause is logged; if the store is the cause, this fails as well
}
