// Package tally compares the certificates that the issuers' keys have signed with
// the intents in the ledger: what was signed past the ledger shows as a difference,
// over restarts too.
package tally

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// defaultInterval is how often the two are compared.
const defaultInterval = 5 * time.Second

// Store is what a Tally needs of the storage.
type Store interface {
	storage.Committer
	storage.LedgerReader
	storage.CertificateReader
	storage.RecordReader
}

// Config of a Tally.
type Config struct {
	Store Store
	// Signatures is how many certificates the issuers' keys have signed since the
	// program started, counted at the keys. It never falls.
	Signatures func() uint64
	Interval   time.Duration // zero: 5 s
	Logger     *slog.Logger  // nil: none
}

// Count is both sides, since the ledger began.
type Count struct {
	Signatures uint64 // counted at the keys
	Intents    uint64 // in the ledger
	Abandoned  uint64 // intents that were given up; some of these were signed
	// Uncounted are further intents, of runs that ended without writing down what
	// they had signed.
	Uncounted uint64
	// Missing are certificates in the ledger that no counted signature stands for, as
	// of the last moment in which nothing was under way.
	Missing uint64
}

// Difference is the signatures too many, or (negative) too few; 0: they agree.
func (c Count) Difference() int64 {
	if c.Signatures > c.Intents {
		return int64(c.Signatures - c.Intents)
	}
	return -int64(c.Missing)
}

// Detail says in a sentence what differs; empty: nothing does.
func (c Count) Detail() string {
	switch d := c.Difference(); {
	case d > 0:
		return fmt.Sprintf("the issuers' keys have signed %d more than the ledger has intents for: something was signed past the ledger", d)
	case d < 0:
		return fmt.Sprintf("the ledger has %d more than the issuers' keys have signed here: another program has a key, or the database was written to", -d)
	}
	return ""
}

// Tally counts. Its methods may be called by many goroutines at once.
type Tally struct {
	config Config

	mu      sync.Mutex
	saved   record
	version uint64 // of the stored record
	now     record // saved, and what has happened since the program started
	differs bool
}

// Open reads what earlier runs have counted, and the entries since. It is called
// once the intents of earlier runs are settled, and before the first signature.
func Open(ctx context.Context, c Config) (*Tally, error) {
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Tally{config: c}
	if err := t.open(ctx); err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	return t, nil
}

func (t *Tally) open(ctx context.Context) error {
	var err error
	if t.saved, t.version, err = read(ctx, t.config.Store); err != nil {
		return err
	}
	// Entries that came after the last count: of them nobody knows what was signed.
	gap := record{Size: t.saved.Size}
	if err := walk(ctx, t.config.Store, &gap); err != nil {
		return err
	}
	t.saved.Size = gap.Size
	t.saved.Uncounted += gap.Intents
	if !t.saved.Ended {
		t.saved.writeOff()
	}
	t.saved.Ended = false
	t.now = t.saved
	return nil
}

// Now compares, and gives the result.
func (t *Tally) Now(ctx context.Context) (Count, error) {
	err := t.Look(ctx)
	return t.Count(), err
}

// Count is how the two stood at the last look.
func (t *Tally) Count() Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now.Count
}

// Run compares now and then, until ctx ends; then, when nothing is signed any
// more, it writes down the last count.
func (t *Tally) Run(ctx context.Context) error {
	ticker := time.NewTicker(t.config.Interval)
	defer ticker.Stop()
	t.whole(ctx)
	for {
		select {
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.config.Interval)
			defer cancel()
			t.look(final, true)
			return nil
		case <-ticker.C:
			t.whole(ctx)
		}
	}
}

// whole is a look that an end does not cut off: a count that is on its way to the
// store would be in the way of the last one.
func (t *Tally) whole(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.config.Interval)
	defer cancel()
	t.look(ctx, false)
}

// look compares once and keeps the result; what fails is tried again.
func (t *Tally) look(ctx context.Context, last bool) {
	err := t.Look(ctx)
	if err == nil {
		err = t.save(ctx, last)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrReadOnly) {
		t.config.Logger.WarnContext(ctx, "signatures and intents could not be compared", slog.Any("error", err))
	}
}

// Look compares once.
func (t *Tally) Look(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Signatures first: an intent is durable before its signature, so that there are
	// never more signatures than intents at any later moment.
	next := t.now
	next.Signatures = t.saved.Signatures + t.config.Signatures()
	if err := walk(ctx, t.config.Store, &next); err != nil {
		return err
	}
	quiet, err := t.quiet(ctx, next.Size)
	if err != nil {
		return err
	}
	if quiet {
		// Every intent is a certificate or given up, and every signature is counted.
		signed := t.saved.Signatures + t.config.Signatures()
		next.Missing = missing(next.Intents, next.Abandoned, signed)
	}
	t.now = next
	if detail := next.Detail(); (detail != "") != t.differs {
		t.differs = detail != ""
		if t.differs {
			t.config.Logger.ErrorContext(ctx, "signatures and intents differ", slog.String("detail", detail), slog.Uint64("signatures", next.Signatures), slog.Uint64("intents", next.Intents))
		}
	}
	return nil
}

// quiet tells whether no issuance is under way in a ledger of size entries.
func (t *Tally) quiet(ctx context.Context, size uint64) (bool, error) {
	page, err := t.config.Store.Certificates(ctx, storage.Query{Order: storage.ByUnresolved, Limit: 1})
	if err != nil || len(page.Certificates) > 0 {
		return false, err
	}
	head, err := t.config.Store.Head(ctx)
	return err == nil && head.Size == size, err
}

// missing is how many certificates no signature stands for. Some that were given up
// were signed before, so that this is the least that it can be.
func missing(intents, abandoned, signatures uint64) uint64 {
	if intents > abandoned+signatures {
		return intents - abandoned - signatures
	}
	return 0
}

// walk counts the entries from r.Size on.
func walk(ctx context.Context, store storage.LedgerReader, r *record) error {
	for {
		raws, err := store.Entries(ctx, r.Size, 1000)
		if err != nil {
			return err
		}
		if len(raws) == 0 {
			return nil
		}
		for _, raw := range raws {
			e, err := entry.Parse(raw)
			if err != nil {
				return fmt.Errorf("entry %d: %w", r.Size, err)
			}
			switch e.Kind {
			case entry.IssuanceIntent, entry.SSHIntent:
				r.Intents++
			case entry.AbandonedIntent:
				r.Abandoned++
			}
			r.Size++
		}
	}
}
