package bolt

import (
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// snapshots give readers the last state that is durable. bbolt's own would not do:
// a transaction that begins while another commits sees its root page as soon as it
// is written, before it is synced, and for ever after a sync that failed. Who reads
// that a certificate is issued may hand it out, and a power cut takes it back.
//
// So all readers share one read transaction, begun when the last commit had
// returned. A bbolt transaction that only reads keeps no state but atomic counters,
// which makes this safe (TestPowerCut, TestSnapshots under the race detector).
type snapshots struct {
	gate sync.RWMutex // held to write while nobody may read: see exclusive
	mu   sync.Mutex
	last *snapshot // nil: closed, or in exclusive
}

type snapshot struct {
	tx    *bbolt.Tx
	users int // one of them is being the last
}

// take gives a reader the last snapshot; leave gives it back.
func (s *snapshots) take() (*snapshot, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil, bberrors.ErrDatabaseNotOpen
	}
	s.last.users++
	return s.last, nil
}

func (s *snapshots) leave(old *snapshot) error {
	if old == nil {
		return nil
	}
	s.mu.Lock()
	old.users--
	unused := old.users == 0
	s.mu.Unlock()
	if !unused {
		return nil
	}
	return old.tx.Rollback()
}

// renew makes what is committed the last snapshot. The caller is the writer, or
// there is none.
func (s *snapshots) renew(db *bbolt.DB) error {
	tx, err := db.Begin(false)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return s.leave(s.swap(&snapshot{tx: tx, users: 1}))
}

func (s *snapshots) swap(next *snapshot) (old *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.last = s.last, next
	return old
}

// exclusive runs a transaction that may have to map the file anew, for which bbolt
// waits until nobody reads: readers wait for it, and there is no snapshot after one
// that failed.
func (s *snapshots) exclusive(transact func() error) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	return errors.Join(s.leave(s.swap(nil)), transact())
}
