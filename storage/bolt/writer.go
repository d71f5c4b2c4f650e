package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/storage"
)

// maxBatch is how many units one transaction takes.
const maxBatch = 1024

// job is a unit on its way through the writer.
type job struct {
	ops     []operation
	grows   bool        // it reserves certificates
	must    bool        // it ends what has begun, or revokes
	taken   atomic.Bool // by the writer, or by a caller who gave up
	receipt storage.Receipt
	err     error
	done    chan struct{}
}

// Commit implements storage.Committer.
func (s *Store) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	ops, err := prepare(u)
	if err != nil {
		return storage.Receipt{}, fmt.Errorf("storage: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return storage.Receipt{}, err
	}
	j := &job{ops: ops, grows: reserves(u), must: ends(u), done: make(chan struct{})}
	if err := s.enqueue(j); err != nil {
		return storage.Receipt{}, fmt.Errorf("storage: %w", err)
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return storage.Receipt{}, ctx.Err()
		}
		<-j.done
	}
	if j.err != nil {
		return storage.Receipt{}, fmt.Errorf("storage: %w", j.err)
	}
	return j.receipt, nil
}

func reserves(u storage.Unit) bool {
	return slices.ContainsFunc(u, func(c storage.Command) bool {
		_, ok := c.(storage.ReserveIssuance)
		return ok
	})
}

// ends tells whether a unit ends what has begun, or revokes: it gets in where others
// are refused.
func ends(u storage.Unit) bool {
	return slices.ContainsFunc(u, func(c storage.Command) bool {
		switch c.(type) {
		case storage.CompleteIssuance, storage.Abandon, storage.Revoke, storage.PutCRL:
			return true
		}
		return false
	})
}

func (s *Store) enqueue(j *job) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	switch {
	case s.config.ReadOnly:
		return fmt.Errorf("%w: it was opened so", storage.ErrReadOnly)
	case s.closed:
		return fmt.Errorf("%w: it is closed", storage.ErrReadOnly)
	case s.counters.failed.Load():
		return errFailedBefore()
	}
	if !j.must && s.ordinary.Add(1) > int64(s.config.Queue) {
		s.ordinary.Add(-1)
		s.counters.overloaded.Add(1)
		return storage.ErrOverloaded
	}
	select {
	case s.queue <- j:
		return nil
	default:
		s.left(j)
		s.counters.overloaded.Add(1)
		return storage.ErrOverloaded
	}
}

// left says that a job is not in the queue any more.
func (s *Store) left(j *job) {
	if !j.must {
		s.ordinary.Add(-1)
	}
}

// places is the length of the queue: the share beyond Queue is for units that must
// get in whatever else waits.
func (c *Config) places() int { return c.Queue + max(c.Queue/4, 16) }

func errFailedBefore() error {
	return fmt.Errorf("%w: a write failed; start the server again when its cause is gone", storage.ErrReadOnly)
}

// write is the writer goroutine: it takes what is waiting into one transaction
// after the other, until the queue is closed and empty.
func (s *Store) write() {
	for first := range s.queue {
		s.left(first)
		batch := s.gather(first)
		s.do(batch)
		// Whoever waited in this batch or waits now is there at the same time.
		// It is counted before anyone is told, so that a lone caller's next
		// unit is not taken for a second caller.
		seen := len(batch) + len(s.queue)
		if seen > 1 {
			seen = max(seen, s.expect*3/4)
		}
		s.expect = seen
		for _, j := range batch {
			close(j.done)
		}
	}
}

// gather takes what is waiting, and waits a little for as many callers as were
// there lately.
func (s *Store) gather(first *job) []*job {
	batch := append(make([]*job, 0, s.expect), first)
	for len(batch) < maxBatch {
		select {
		case j, ok := <-s.queue:
			if !ok {
				return batch
			}
			s.left(j)
			batch = append(batch, j)
			continue
		default:
		}
		break
	}
	if len(batch) >= s.expect || s.config.Linger < 0 {
		return batch
	}
	timer := time.NewTimer(s.config.Linger)
	defer timer.Stop()
	for len(batch) < min(s.expect, maxBatch) {
		select {
		case j, ok := <-s.queue:
			if !ok {
				return batch
			}
			s.left(j)
			batch = append(batch, j)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// do carries out a batch and sets each unit's outcome.
func (s *Store) do(batch []*job) {
	batch = taken(batch)
	if len(batch) == 0 {
		return
	}
	if s.counters.failed.Load() {
		for _, j := range batch {
			j.err = errFailedBefore()
		}
		return
	}
	if err := s.transact(batch); err != nil {
		s.fail(batch, err)
		return
	}
	s.counters.units.Add(uint64(len(batch)))
}

// taken are the jobs whose callers have not given up.
func taken(batch []*job) []*job {
	out := make([]*job, 0, len(batch))
	for _, j := range batch {
		if j.taken.CompareAndSwap(false, true) {
			out = append(out, j)
		}
	}
	return out
}

// fail makes the store read-only: whether the transaction is in the file is not
// known before the file is opened again.
func (s *Store) fail(batch []*job, cause error) {
	s.counters.failed.Store(true)
	if full := fullError(s.config.Path, cause); full != nil {
		cause = full
	}
	s.config.Logger.Error("a write failed: the store is read-only from here on",
		slog.String("path", s.config.Path), slog.Int("units", len(batch)), slog.Any("error", cause))
	for _, j := range batch {
		j.receipt, j.err = storage.Receipt{}, fmt.Errorf("%w: %w", storage.ErrUnknownOutcome, cause)
	}
}

// roomy is more than one transaction grows the file by.
const roomy = 4 << 30

// transact does the units of a batch in one transaction, and shows the readers
// what it has left. What it returns is the failure of the transaction; the units'
// own errors are in their jobs.
func (s *Store) transact(batch []*job) error {
	do := func() error {
		w, err := s.attempt(batch)
		if err != nil || !w.changed && s.snapshots.last != nil {
			return err
		}
		if err := s.snapshots.renew(s.db); err != nil {
			return err
		}
		s.recent.change(w.records)
		return nil
	}
	if s.size+min(roomy, mapSize()/2) > s.mapped {
		return s.snapshots.exclusive(do)
	}
	return do()
}

// attempt is one transaction.
func (s *Store) attempt(batch []*job) (w work, err error) {
	defer guard(&err)()
	tx, err := s.db.Begin(true)
	if err != nil {
		return w, err
	}
	defer func() {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, bberrors.ErrTxClosed) {
			err = errors.Join(err, rerr)
		}
	}()
	for _, b := range buckets() {
		tx.Bucket([]byte(b)).FillPercent = b.fill()
	}
	w = work{
		tx: tx, edge: s.edge.Clone(), last: s.last, now: s.config.Now().UTC().Truncate(time.Millisecond),
		full: s.config.Reserve > 0 && freeSpace(s.file) < uint64(s.config.Reserve),
	}
	for _, j := range batch {
		if w.full && j.grows {
			j.err = nearlyFull(s.config.Path)
			continue
		}
		if err := w.do(j); err != nil {
			return w, err
		}
	}
	if !w.changed {
		return w, nil
	}
	return w, s.settle(w)
}

// work is a transaction under way.
type work struct {
	tx      *bbolt.Tx
	edge    *merkle.Edge // after the units so far
	last    time.Time    // of the last entry so far
	now     time.Time
	full    bool // the disk is nearly full
	changed bool
	records []recordChange
}

// do carries out one unit. What it returns ends the whole transaction; the
// unit's own error is in its job.
func (w *work) do(j *job) error {
	u := newUnit(w.tx, w.edge.Size(), later(w.now, w.last), w.last)
	if j.err = u.run(j.ops); j.err == nil {
		return w.take(u, j)
	}
	return nil
}

// take writes what a unit has gathered.
func (w *work) take(u *unit, j *job) error {
	if err := u.flush(w.edge); err != nil {
		return err
	}
	j.receipt = u.receipt()
	w.records = append(w.records, u.records...)
	w.changed = w.changed || len(u.writes) > 0 || len(u.entries) > 0
	if len(u.entries) > 0 {
		w.last = u.at
	}
	return nil
}

// settle makes the transaction durable.
func (s *Store) settle(w work) error {
	if w.edge.Size() != s.edge.Size() {
		if err := putEdge(w.tx, w.edge, w.last); err != nil {
			return err
		}
	}
	if err := w.tx.Commit(); err != nil {
		return err
	}
	s.edge, s.last = w.edge, w.last
	s.counters.transactions.Add(1)
	s.counters.fsyncs.Add(2) // the pages, then the meta page
	if info, err := s.file.Stat(); err == nil && info.Size() != s.size {
		s.size = info.Size()
		s.counters.fsyncs.Add(1) // of the longer file
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// run does the unit's commands in its own memory. A panic is this unit's error:
// nothing of it has been written.
func (u *unit) run(ops []operation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	for _, op := range ops {
		if err := op(u); err != nil {
			return err
		}
	}
	return nil
}
