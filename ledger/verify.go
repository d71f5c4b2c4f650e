package ledger

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// VerifyStore is what Verify reads.
type VerifyStore interface {
	storage.LedgerReader
	storage.CertificateReader
	storage.RecordReader
	storage.Scrubber
}

// VerifyConfig says what to verify, and how deep.
type VerifyConfig struct {
	Store VerifyStore
	// Signatures: verify the signature of every certificate too.
	Signatures bool
	// Issuers are the CA certificates for Signatures.
	Issuers []*x509.Certificate
	// VerifierKey checks the checkpoints' signatures; empty: not checked.
	VerifierKey string
	// Lock is the path of the last-seen file; empty: not compared.
	Lock string
	// Records match records with the entries they were written with; each is used
	// for this one Verify.
	Records []RecordCheck
	// Progress is called now and then with how many of the entries are done;
	// nil: never. Calls do not overlap, and done never falls.
	Progress func(done, total uint64)
}

// Summary is the result of Verify.
type Summary struct {
	Entries      uint64   // in the ledger when the check began
	Certificates uint64   // whose rows were compared with their intents
	Root         [32]byte // recomputed, at Entries
	Findings     int      // reported; 0: everything holds
}

// verification is one run of Verify.
type verification struct {
	VerifyConfig
	mu       sync.Mutex
	report   func(storage.Finding)
	summary  Summary
	head     storage.Head
	seen     []seen
	absent   []storage.Finding // of checkpoints that a new ledger may be without
	intents  bitmap            // the entries that are issuance intents
	ssh      bitmap            // the entries that are SSH intents
	walked   bool              // every entry was there
	named    map[naming]bool   // what has been reported, for the scrub not to say it again
	last     time.Time
	origin   string
	epochs   Epochs
	progress progress
	passing  *track
}

// naming is what a finding names.
type naming struct {
	kind  string
	index uint64
}

// seen is a checkpoint that the ledger must contain, and where it stands.
type seen struct {
	where string
	Checkpoint
}

// Verify recomputes the ledger from its raw entries and compares everything
// that is stored with it: every leaf hash and tile, the root, the checkpoint
// and the last-seen file, the form and time of every entry, each certificate's
// TBS with its intent's, records with the entries they came with, and by the
// store's own scrub all that follows from the entries. What is wrong goes to report, one call at a time; each names the
// entry, serial or tile. The error says only that the check itself could not be
// made. A running server may write meanwhile: what is newer than the head at
// the beginning is not looked at, except by the scrub.
func Verify(ctx context.Context, c VerifyConfig, report func(storage.Finding)) (Summary, error) {
	v := &verification{VerifyConfig: c, report: report, named: map[naming]bool{}, epochs: Epochs{verifierKey: c.VerifierKey}}
	// In this order: each may be newer than the one before, never older.
	if err := v.readSeen(ctx); err != nil {
		return v.summary, err
	}
	var err error
	if v.head, err = c.Store.Head(ctx); err != nil {
		return v.summary, fmt.Errorf("ledger: read the head: %w", err)
	}
	v.summary.Entries = v.head.Size
	for _, absent := range v.absent {
		if !fresh(v.head) {
			v.finding(absent)
		}
	}
	v.intents = make(bitmap, v.head.Size/64+1)
	v.ssh = make(bitmap, v.head.Size/64+1)
	v.progress = progress{report: c.Progress, total: v.head.Size}
	scrubbing := v.progress.track(0.5)
	v.passing = v.progress.track(0.5)
	var scrubbed []storage.Finding
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		scrubbed, err = v.scrub(both, scrubbing)
		return err
	})
	group.Go(func() error { return v.passes(both) })
	if err := group.Wait(); err != nil {
		return v.summary, fmt.Errorf("ledger: %w", err)
	}
	v.take(scrubbed)
	return v.summary, nil
}

// passes reads the entries, then what the store has of them.
func (v *verification) passes(ctx context.Context) error {
	hashed, compared := 25, 95 // percent of the work
	if v.Signatures {
		hashed, compared = 5, 98
	}
	for _, each := range []struct {
		from, to int
		pass     func(context.Context) error
	}{{0, hashed, v.hashes}, {hashed, compared, v.certificates}, {compared, 100, v.records}} {
		v.passing.span(each.from, each.to)
		if err := each.pass(ctx); err != nil {
			return err
		}
		v.passing.at(1, 1)
	}
	return nil
}

func (v *verification) finding(f storage.Finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.summary.Findings++
	if f.Index != storage.NoIndex {
		v.named[naming{f.Kind, f.Index}] = true
	}
	if v.report != nil {
		v.report(f)
	}
}

func (v *verification) wrong(kind string, index uint64, subject, format string, args ...any) {
	v.finding(storage.Finding{Kind: kind, Index: index, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

// readSeen reads the last-seen file and the stored checkpoint.
func (v *verification) readSeen(ctx context.Context) error {
	if v.Lock != "" {
		cp, err := readLock(v.Lock, v.VerifierKey)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.absent = append(v.absent, storage.Finding{
				Kind: "checkpoint", Index: storage.NoIndex, Subject: v.Lock, Detail: "there is no last-seen file: that nothing was taken away cannot be shown",
			})
		case err != nil:
			v.wrong("checkpoint", storage.NoIndex, v.Lock, "%v", err)
		default:
			v.seen = append(v.seen, seen{"last-seen file", cp})
		}
	}
	last, err := readStored(ctx, v.Store, v.VerifierKey)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		v.wrong("checkpoint", storage.NoIndex, latest, "%v", err)
	case last.version == 0:
		v.absent = append(v.absent, storage.Finding{
			Kind: "checkpoint", Index: storage.NoIndex, Subject: latest, Detail: "there is no stored checkpoint",
		})
	default:
		v.seen = append(v.seen, seen{"stored checkpoint", last.Checkpoint})
	}
	if len(v.seen) == 2 && v.seen[1].Size < v.seen[0].Size {
		v.wrong("checkpoint", storage.NoIndex, latest, "the stored checkpoint covers %d entries, the last-seen file %d: the database is older",
			v.seen[1].Size, v.seen[0].Size)
	}
	return nil
}

// hashes is the first pass: every entry, every hash.
func (v *verification) hashes(ctx context.Context) error {
	r := rehash{store: v.Store, each: v.entry, report: v.finding}
	stops := make([]uint64, 0, len(v.seen)+1)
	for _, s := range v.seen {
		if s.Size <= v.head.Size {
			stops = append(stops, s.Size)
			r.trust = append(r.trust, s.Checkpoint)
		} else {
			v.wrong("checkpoint", v.head.Size, s.where, "the %s covers %d entries, the ledger has %d: the entries from %d on are missing",
				s.where, s.Size, v.head.Size, v.head.Size)
		}
	}
	r.trust = append(r.trust, Checkpoint{Size: v.head.Size, Root: v.head.Root})
	for i, stop := range append(stops, v.head.Size) {
		if stop < r.tree.size { // the last-seen file is newer than the stored checkpoint: reported already
			continue
		}
		if err := r.to(ctx, stop); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.wrong("entry", r.tree.size, "", "%v", err)
			return nil
		}
		root, err := r.tree.root()
		if err != nil {
			return err
		}
		v.compareRoot(i, len(stops), stop, root)
	}
	v.walked = true
	return v.epoch(ctx)
}

// epoch compares the record of the newest epoch with the last genesis.
func (v *verification) epoch(ctx context.Context) error {
	e, err := CurrentEpoch(ctx, v.Store)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		v.wrong("record", storage.NoIndex, epochCollection, "%v", err)
	case v.head.Size > 0 && e != v.epochs.last:
		v.wrong("record", v.epochs.last.Index, epochCollection, "the store is in epoch %d from entry %d on, the ledger in epoch %d from entry %d on",
			e.Number, e.Index, v.epochs.last.Number, v.epochs.last.Index)
	}
	return nil
}

// compareRoot compares the recomputed root with stop i's: a seen one's, or
// after them the head's.
func (v *verification) compareRoot(i, seen int, size uint64, root [32]byte) {
	if i == seen {
		v.summary.Root = root
		if v.head.Root != root {
			v.wrong("head", storage.NoIndex, "", "the stored root of %d entries is %x, the entries' own is %x", size, v.head.Root, root)
		}
		return
	}
	for _, s := range v.seen {
		if s.Size == size && s.Root != root {
			v.wrong("checkpoint", storage.NoIndex, s.where, "the %s has the root %x at %d entries, the entries' own is %x", s.where, s.Root, size, root)
		}
		if s.Size == size && v.origin != "" && s.Origin != v.origin {
			v.wrong("checkpoint", storage.NoIndex, s.where, "the %s is of origin %q, the genesis of %q", s.where, s.Origin, v.origin)
		}
	}
}

// entry checks the form of one entry.
func (v *verification) entry(index uint64, raw []byte) {
	if index%batch == 0 {
		v.passing.at(index, v.head.Size)
	}
	e, err := entry.Parse(raw)
	if err != nil {
		v.wrong("entry", index, "", "entry %d: %v", index, err)
		return
	}
	if e.Time.Before(v.last) {
		v.wrong("entry", index, "", "entry %d is of %s, earlier than the entry before it: %s", index, e.Time.Format(time.RFC3339Nano), v.last.Format(time.RFC3339Nano))
	}
	v.last = e.Time
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		v.wrong("entry", index, "", "entry %d: %v", index, err)
		return
	}
	if index == 0 && e.Kind != entry.Genesis {
		v.wrong("entry", index, "", "entry 0 is a %s: the first entry is the genesis", e.Kind)
	}
	switch b := body.(type) {
	case entry.Origin:
		v.genesis(index, b)
	case entry.Intent:
		v.intents.set(index)
		if _, err := serialOf(b.TBS); err != nil {
			v.wrong("entry", index, "", "entry %d: %v", index, err)
		}
	case entry.SSH:
		v.ssh.set(index)
	case entry.Abandoned:
		if b.Index >= index || !v.intents.has(b.Index) && !v.ssh.has(b.Index) {
			v.wrong("entry", index, "", "entry %d abandons entry %d, which is no earlier intent", index, b.Index)
		}
	}
	v.takeUp(index, e, body)
}

// genesis checks the begin of an epoch; from there on its origin holds.
func (v *verification) genesis(index uint64, o entry.Origin) {
	if err := v.epochs.Take(index, o); err != nil {
		v.wrong("entry", index, "", "entry %d is a genesis, and %v", index, err)
		return
	}
	v.origin = o.Origin
}

// scrub has the store look for what only it can see, beside the passes.
func (v *verification) scrub(ctx context.Context, t *track) (found []storage.Finding, err error) {
	err = v.Store.Scrub(ctx, t.at, func(f storage.Finding) { found = append(found, f) })
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		found = append(found, storage.Finding{Kind: "store", Index: storage.NoIndex, Detail: fmt.Sprintf("the scrub did not end: %v", err)})
	}
	t.at(1, 1)
	return found, nil
}

// take reports what the scrub found. What it says of an entry or certificate that
// the passes have named is left out.
func (v *verification) take(scrubbed []storage.Finding) {
	named := maps.Clone(v.named)
	for _, f := range scrubbed {
		if !named[naming{f.Kind, f.Index}] && (f.Kind != "entry" || !named[naming{"tile", f.Index}]) {
			v.finding(f)
		}
	}
}
