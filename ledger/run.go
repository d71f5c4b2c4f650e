package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// finalTimeout bounds the last checkpoint, at shutdown.
const finalTimeout = 5 * time.Second

// Run is the checkpoint loop. It ends with ctx, after a last checkpoint of all
// that is in the ledger; an error says that this one failed. A step that fails
// is logged, shown by Healthy, and tried again.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(l.config.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
			defer cancel()
			if err := l.advance(final); err != nil {
				return fmt.Errorf("ledger: last checkpoint: %w", err)
			}
			return nil
		case <-ticker.C:
			if err := l.advance(ctx); err != nil && ctx.Err() == nil {
				l.config.Logger.ErrorContext(ctx, "no new checkpoint", slog.Any("error", err))
			}
		}
	}
}

// advance is one step of the loop, and keeps count of it.
func (l *Log) advance(ctx context.Context) error {
	l.step.Lock()
	defer l.step.Unlock()
	err := l.checkpoint(ctx)
	if errors.Is(err, storage.ErrConflict) {
		err = nil // another server was faster: the next step takes up its checkpoint
	}
	if err != nil && ctx.Err() != nil {
		return err // the caller gave up, nothing failed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
	if err != nil {
		l.stats.Failures++
	}
	return err
}

// checkpoint brings what is published up to the ledger's head:
//
//  1. compare the last-seen file, outside the database, with what this server has
//     seen there last, and keep others from it until the end of the step;
//  2. take up the stored checkpoint, if it is newer (another server's, or one
//     that this server stored and could not publish);
//  3. re-read the new entries from the store and rehash them against the tiles;
//  4. sign;
//  5. compare-and-swap the stored checkpoint;
//  6. write the last-seen file;
//  7. publish.
//
// What fails at one step leaves the later ones undone: a server that is not the
// only one to go on from what was last seen signs nothing.
func (l *Log) checkpoint(ctx context.Context) (err error) {
	// 1.
	lock, err := holdLock(l.config.Lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	last, err := readStored(ctx, l.config.Store, l.signer.verifierKey)
	if err != nil {
		return err
	}
	if err := compareLock(l.config.Lock, l.seen, last.Note); err != nil {
		return err
	}
	// 2.
	l.version = last.version
	if last.Size >= l.base.size && last.Size > l.published.Size {
		if err := l.extend(ctx, last.Size, last.Root); err != nil {
			return fmt.Errorf("the stored checkpoint: %w", err)
		}
		if err := l.publish(lock, last.Checkpoint); err != nil {
			return err
		}
	}
	head, err := l.config.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	if head.Size == l.published.Size && head.Root == l.published.Root {
		return nil
	}
	// 3.
	if err := l.extend(ctx, head.Size, head.Root); err != nil {
		return err
	}
	// 4.
	cp, err := l.signer.sign(head.Size, head.Root)
	if err != nil {
		return err
	}
	cp.Time = l.config.Now().UTC().Truncate(time.Millisecond)
	l.mu.Lock()
	l.stats.Signatures++
	l.mu.Unlock()
	// 5.
	if _, err := l.config.Store.Commit(ctx, storage.Unit{putStored(cp, l.version)}); err != nil {
		return fmt.Errorf("store the checkpoint: %w", err)
	}
	// 6. and 7.
	return l.publish(lock, cp)
}

// extend re-reads entries up to size and checks that the root is as given. What
// was rehashed once is not read again.
func (l *Log) extend(ctx context.Context, size uint64, root [32]byte) error {
	if size < l.base.size {
		return fmt.Errorf("the ledger has %d entries, after %d before: entries are missing", size, l.base.size)
	}
	var found []error
	r := rehash{store: l.config.Store, tree: l.base, report: func(f storage.Finding) {
		if len(found) < 5 {
			found = append(found, errors.New(f.Detail))
		}
	}}
	if err := r.to(ctx, size); err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("what is stored is not what was written: %w", errors.Join(found...))
	}
	own, err := r.tree.root()
	if err != nil {
		return err
	}
	if own != root {
		return fmt.Errorf("the root of %d entries is %x, not %x", size, [32]byte(own), root)
	}
	l.base = r.tree
	return nil
}

// publish keeps the checkpoint as last seen, then shows it.
func (l *Log) publish(lock *heldLock, cp Checkpoint) error {
	if err := lock.write(cp.Note); err != nil {
		return err
	}
	l.seen = cp.Note
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published, l.cosigned = cp, nil
	l.stats.Size, l.stats.Time = cp.Size, cp.Time
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// Wait returns when a published checkpoint covers the entry at index. If ctx
// ends before, the error is a problem.Unavailable.
func (l *Log) Wait(ctx context.Context, index uint64) error {
	for {
		l.mu.Lock()
		size, changed, failure := l.published.Size, l.changed, l.failure
		l.mu.Unlock()
		if index < size {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &problem.Problem{
				Kind:   problem.Unavailable,
				Detail: fmt.Sprintf("no checkpoint covers entry %d yet", index),
				Help:   "the entry is in the ledger: ask for its proof later",
				Err:    errors.Join(failure, ctx.Err()),
			}
		}
	}
}
