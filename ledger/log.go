// Package ledger makes a transparency log of the store's entries: it signs
// checkpoints of the tree (C2SP tlog-checkpoint, signed notes), remembers the
// last one outside the database, proves entries (RFC 6962 §2.1.1), verifies the
// whole, and describes entries for people. Hashes and proofs are tlog's,
// signatures note's. docs/ledger.md is the format byte for byte.
package ledger

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Store is what a Log needs of the storage.
type Store interface {
	storage.Committer
	storage.LedgerReader
	storage.RecordReader
}

// Config of a Log.
type Config struct {
	Store Store
	// Origin is the name of the ledger: the checkpoints' first line and the
	// name of their key. No spaces, no "+", at most 255 octets, for ever.
	Origin string
	// Signer is the Ed25519 key that signs checkpoints, and nothing else.
	Signer crypto.Signer
	// Lock is the path of the last-seen file. It belongs outside the database
	// and outside its backup: it is what shows that an old copy was restored.
	Lock string
	// MissingLock is what to do if that file is not there although the ledger is
	// not new.
	MissingLock MissingLock
	// Interval between checkpoints; zero: one second. Without new entries
	// nothing is signed.
	Interval time.Duration
	// Issuers are the SHA-256 of the CA certificates' DER, for the genesis of
	// an empty ledger.
	Issuers [][32]byte
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: nothing is logged

	recovering bool // a recovery opens it
}

// MissingLock is what Open does without a last-seen file.
type MissingLock int

const (
	// RefuseMissing refuses: without the file nobody can tell whether this is the
	// newest database.
	RefuseMissing MissingLock = iota
	// AcceptMissing goes on from what is there, and writes into the ledger that it
	// did.
	AcceptMissing
	// WarnMissing goes on with a warning in the log: for development.
	WarnMissing
)

// Log is an open ledger. All methods may be called concurrently.
type Log struct {
	config Config
	epoch  Epoch
	signer *signer

	step    sync.Mutex // held for one step of the checkpoint loop
	base    tree       // what has been re-read and rehashed
	version uint64     // of the stored checkpoint's record
	seen    []byte     // the last-seen file's content; nil: there is none

	mu        sync.Mutex
	published Checkpoint
	cosigned  []string      // the lines by which witnesses have signed it, too
	changed   chan struct{} // closed when published changes
	stats     Stats
	failure   error
}

// Stats counts since Open.
type Stats struct {
	Signatures uint64    // checkpoints signed
	Failures   uint64    // steps of the loop that failed
	Size       uint64    // entries under the newest checkpoint
	Time       time.Time // when the newest checkpoint was signed
}

// system is the actor of what the server does by itself.
func system() string {
	return identity.Principal{Method: identity.System, ID: "server"}.String()
}

// Open opens the ledger: an empty one gets its genesis. It refuses
// (problem.FailedPrecondition) a ledger that does not contain what the
// last-seen file says was there: one that is shorter, or has another past; and
// one of another origin or key. When it returns there is a checkpoint of all
// that is in the ledger.
func Open(ctx context.Context, c Config) (*Log, error) {
	if c.Lock == "" {
		return nil, errors.New("ledger: no path for the last-seen file")
	}
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	epoch, err := CurrentEpoch(ctx, c.Store)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", refused(err, "run \"certwright ledger verify\""))
	}
	s, err := newSigner(EpochOrigin(c.Origin, epoch.Number), c.Signer)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Log{config: c, epoch: epoch, signer: s, changed: make(chan struct{})}
	if l.seen, err = lockContent(c.Lock); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if err := l.start(ctx); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	// A store that takes no writes any more is still good for reading.
	if err := l.advance(ctx); err != nil && (!errors.Is(err, storage.ErrReadOnly) || l.published.Size == 0) {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}

// start finds out where the checkpoint loop goes on from.
func (l *Log) start(ctx context.Context) error {
	lock, err := l.lastSeen(ctx)
	if err != nil {
		return err
	}
	last, err := readStored(ctx, l.config.Store, l.signer.verifierKey)
	if err != nil {
		return refused(err, "the ledger's checkpoint key and origin must stay the same; run \"certwright ledger verify\"")
	}
	head, err := l.config.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	for _, seen := range []struct {
		where string
		Checkpoint
	}{{"last-seen file " + l.config.Lock, lock}, {"stored checkpoint", last.Checkpoint}} {
		if err := l.contains(ctx, head, seen.Checkpoint, seen.where); err != nil {
			return err
		}
	}
	if head.Size == 0 {
		return l.genesis(ctx)
	}
	if err := l.checkOrigin(ctx); err != nil {
		return err
	}
	l.version = last.version
	from := lock
	switch {
	case lock.Note == nil && lock.Origin != "": // of the epoch before, and nothing follows the genesis
	case lock.Note == nil:
		if err := l.missing(ctx, head); err != nil {
			return err
		}
		from = last.Checkpoint
	case last.Size < lock.Size:
		l.config.Logger.WarnContext(ctx, "the stored checkpoint is behind the last-seen file",
			slog.Uint64("stored", last.Size), slog.Uint64("seen", lock.Size))
	}
	l.base, err = loadTree(from.Size, tiles{ctx, l.config.Store})
	return err
}

// fresh tells whether a ledger is so new that its last-seen file may not be there
// yet: nothing follows the genesis.
func fresh(head storage.Head) bool { return head.Size <= 1 }

// missing decides what to do without a last-seen file.
func (l *Log) missing(ctx context.Context, head storage.Head) error {
	if l.config.MissingLock != RefuseMissing || fresh(head) {
		if err := prepareLock(l.config.Lock); err != nil {
			return err
		}
	}
	if fresh(head) {
		return nil // an earlier start ended before it could write the file
	}
	path, entries := slog.String("path", l.config.Lock), slog.Uint64("entries", head.Size)
	switch l.config.MissingLock {
	case WarnMissing:
		l.config.Logger.WarnContext(ctx, "no last-seen file: an older copy of the database would not be noticed", path, entries)
		return nil
	case AcceptMissing:
		d, err := entry.Action{Action: "ledger.lock-missing", Target: "last-seen file", Detail: fmt.Sprintf("accepted at entries=%d", head.Size)}.Draft(system())
		if err != nil {
			return err
		}
		if _, err := l.config.Store.Commit(ctx, storage.Unit{storage.AppendEntry{Entry: d}}); err != nil {
			return fmt.Errorf("record the missing last-seen file: %w", err)
		}
		l.config.Logger.WarnContext(ctx, "no last-seen file: accepted, and written into the ledger", path, entries)
		return nil
	case RefuseMissing:
	}
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "LEDGER_LOCK_MISSING",
		Detail: fmt.Sprintf("the ledger has %d entries, but there is no last-seen file %s: an older copy of the database would not be noticed", head.Size, l.config.Lock),
		Help:   "put the file back or correct ledger.lock; if it is lost and this is the newest database, start once with \"certwright serve --accept-missing-lock\", which the ledger records",
	}
}

// contains tells whether the stored tree begins with the tree of seen.
func (l *Log) contains(ctx context.Context, head storage.Head, seen Checkpoint, where string) error {
	if seen.Note == nil {
		return nil
	}
	if head.Size < seen.Size {
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "LEDGER_BEHIND",
			Detail: fmt.Sprintf("the ledger has %d entries, but the %s has seen %d: the database is an older copy, %d entries are missing",
				head.Size, where, seen.Size, seen.Size-head.Size),
			Help: helpBehind,
		}
	}
	root, err := rootAt(ctx, l.config.Store, seen.Size)
	if err != nil {
		return fmt.Errorf("recompute the root at %d: %w", seen.Size, err)
	}
	if root != seen.Root {
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "LEDGER_FORKED",
			Detail: fmt.Sprintf("the ledger's first %d entries have the root %x, but the %s says %x: the database was changed or is another one",
				seen.Size, root, where, seen.Root),
			Help: "put back the database that this server has written; \"certwright ledger verify\" names what differs",
		}
	}
	return nil
}

// genesis appends the first entry.
func (l *Log) genesis(ctx context.Context) error {
	d, err := entry.Origin{Origin: l.config.Origin, Certificates: l.config.Issuers}.Draft(system())
	if err != nil {
		return err
	}
	if _, err := l.config.Store.Commit(ctx, storage.Unit{storage.AppendEntry{Entry: d}}); err != nil {
		return fmt.Errorf("append the genesis: %w", err)
	}
	return nil
}

// checkOrigin compares the genesis with the configuration.
func (l *Log) checkOrigin(ctx context.Context) error {
	for index, want := range map[uint64]string{0: l.config.Origin, l.epoch.Index: EpochOrigin(l.config.Origin, l.epoch.Number)} {
		o, err := genesisAt(ctx, l.config.Store, index)
		if err != nil {
			return refused(err, "run \"certwright ledger verify\"")
		}
		if o.Origin != want {
			return refused(fmt.Errorf("the ledger's origin is %q, not %q", o.Origin, want), "an origin is for ever: configure the ledger's own")
		}
	}
	return nil
}

func refused(err error, help string) error {
	return &problem.Problem{Kind: problem.FailedPrecondition, Detail: err.Error(), Help: help}
}

// VerifierKey is the note verifier key of this ledger's checkpoints.
func (l *Log) VerifierKey() string { return l.signer.verifierKey }

// Checkpoint is the newest published checkpoint, with the cosignatures that have
// arrived for it.
func (l *Log) Checkpoint(_ context.Context) (Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cp := l.published
	for _, line := range l.cosigned {
		cp.Note = append(cp.Note[:len(cp.Note):len(cp.Note)], line...)
	}
	return cp, nil
}

// Cosign adds a witness's signature line, which the caller has verified, to the
// published checkpoint. If that is another one by now, it is let be.
func (l *Log) Cosign(cp Checkpoint, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.published.Size == cp.Size && l.published.Root == cp.Root && !slices.Contains(l.cosigned, string(line)) {
		l.cosigned = append(l.cosigned, string(line))
	}
}

// Healthy is nil, or why the last step of the checkpoint loop failed: until it
// succeeds nothing new is published.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// Hold is nil, or why nothing may be issued: somebody else has written the last-seen
// file, so that this server may be one of two that go on from one history. It is a
// problem.Unavailable, and ends when the file is again what this server has written.
func (l *Log) Hold() error {
	var p *problem.Problem
	if err := l.Healthy(); !errors.As(err, &p) || p.Reason != lockChanged {
		return nil
	}
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: p.Reason, Rule: "ledger", Detail: "signing is held: " + p.Detail, Help: p.Help,
	}
}

// Stats counts what the log did.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
