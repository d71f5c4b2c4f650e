package bolt

import "sync/atomic"

type counters struct {
	units, transactions, fsyncs, overloaded atomic.Uint64
	failed                                  atomic.Bool
}

// Stats are counters since Open.
type Stats struct {
	// Units that the writer has done, those with a broken precondition
	// included.
	Units uint64
	// Transactions committed.
	Transactions uint64
	// Fsyncs as bbolt does them: two for each transaction, and one each time
	// the file grows.
	Fsyncs uint64
	// Queue is how many units are waiting.
	Queue int
	// Overloaded is how many units were refused because the queue was full.
	Overloaded uint64
	// Failed is set once a write has failed: see storage.ErrReadOnly.
	Failed bool
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Units: s.counters.units.Load(), Transactions: s.counters.transactions.Load(),
		Fsyncs: s.counters.fsyncs.Load(), Queue: len(s.queue), Overloaded: s.counters.overloaded.Load(), Failed: s.counters.failed.Load(),
	}
}
