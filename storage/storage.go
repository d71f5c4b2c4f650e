// Package storage is the contract between Certwright and the places it keeps
// its state: typed commands as data, committed in units, and narrow reads. The
// backends are rooms of their own (bolt; PostgreSQL later) and pass one suite
// (storagetest).
//
// What stands behind the contract: the ledger's entries and tiles, the
// certificates that follow from them, revocations, CRLs, join-token uses,
// erasable values, and records (small versioned documents).
package storage

import (
	"context"
	"errors"
	"time"
)

// The outcomes a caller steers by. Each comes wrapped.
var (
	// ErrConflict: a precondition does not hold (a version, a state).
	ErrConflict = errors.New("conflict")
	// ErrDuplicateSerial: this issuer has issued this serial.
	ErrDuplicateSerial = errors.New("serial exists")
	// ErrDuplicateRequest: an intent stands under this request key.
	ErrDuplicateRequest = errors.New("request exists")
	// ErrTokenSpent: the join token has no use left.
	ErrTokenSpent = errors.New("token is spent")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUnknownOutcome: the unit may or may not be durable; the store takes no
	// more writes until it is opened again.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrOverloaded: the queue of units is full; nothing was done.
	ErrOverloaded = errors.New("overloaded")
	// ErrReadOnly: the store takes no writes, after a failed one or by how it
	// was opened.
	ErrReadOnly = errors.New("store is read-only")
)

// Committer writes.
type Committer interface {
	// Commit does all commands of the unit or none, and is durable on return.
	// Units of many callers share one transaction; each stands alone: the
	// preconditions of a unit are checked against the state that the units
	// before it left, before its own first write. A command fails the unit with
	// ErrConflict, ErrDuplicateSerial, ErrDuplicateRequest, ErrTokenSpent or
	// ErrNotFound. If ctx ends while the unit waits in the queue, nothing is
	// done; once it is taken up, Commit waits for the outcome.
	Commit(ctx context.Context, u Unit) (Receipt, error)
}

// Unit is a list of commands that stand or fall together.
type Unit []Command

// Receipt says where the unit's entries stand.
type Receipt struct {
	// Indexes are the ledger indexes of the unit's entries, in the order of the
	// commands that carry one.
	Indexes []uint64
	// Time is the time given to these entries; zero if there are none.
	Time time.Time
}

// Store is everything a backend offers; consumers take the narrow interface
// that they need.
type Store interface { //nolint:interfacebloat // the sum of the narrow ones, for the wiring alone
	Committer
	LedgerReader
	CertificateReader
	RevocationReader
	RecordReader
	Scrubber
	// Close ends the store after the units that are under way. It may be
	// called once.
	Close() error
}
