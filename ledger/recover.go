package ledger

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// RecoverConfig is what a recovery goes by. The store is that of a stopped server.
type RecoverConfig struct {
	Store  Store
	Origin string // of the first epoch: as in the configuration
	Signer crypto.Signer
	Lock   string // path of the last-seen file
	// From is a folder with a copy of the ledger: an export, or an auditor's. Empty:
	// none.
	From    string
	Actor   string // who recovers, for the ledger
	Issuers [][32]byte
	Logger  *slog.Logger // nil: nothing is logged
}

// Recovery is a ledger that is behind what was last seen of it, and what can be done.
type Recovery struct {
	config RecoverConfig
	folder *Folder // nil: none, or it has nothing that is missing
	number uint64  // the epoch of Seen
	key    string  // verifier key of the store's epoch
	begun  bool    // an earlier recovery has not ended
	opened bool    // it has opened the new epoch already
	epoch  Epoch   // the store's

	Start uint64     // entries in the store, before any was taken back
	Have  uint64     // entries in the store now
	Seen  Checkpoint // the newest that is known
	Until uint64     // entries that the ledger will have again
	// Epoch is the number of the epoch that begins; 0: none has to.
	Epoch uint64
}

// Taken is how many entries come back from the copy.
func (r *Recovery) Taken() uint64 { return r.Until - r.Start }

// Lost is how many entries stay lost.
func (r *Recovery) Lost() uint64 { return r.Seen.Size - min(r.Until, r.Seen.Size) }

// PlanRecovery finds out what is missing and what of it the copy has, checked
// against what was last seen. Nothing is written. A ledger that lacks nothing is a
// problem.FailedPrecondition.
func PlanRecovery(ctx context.Context, c RecoverConfig) (*Recovery, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recovery{config: c}
	err := r.plan(ctx)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return r, nil
}

func (r *Recovery) plan(ctx context.Context) error {
	c := r.config
	var err error
	if r.epoch, err = CurrentEpoch(ctx, c.Store); err != nil {
		return err
	}
	if r.key, err = VerifierKey(EpochOrigin(c.Origin, r.epoch.Number), c.Signer.Public()); err != nil {
		return err
	}
	first, err := genesisAt(ctx, c.Store, 0)
	if err != nil {
		return err
	}
	if first.Origin != c.Origin {
		return refused(fmt.Errorf("the ledger's origin is %q, not %q", first.Origin, c.Origin), "configure the ledger's own")
	}
	head, err := c.Store.Head(ctx)
	if err != nil {
		return err
	}
	r.Have, r.Start = head.Size, head.Size
	if err := r.earlier(ctx); err != nil || r.opened {
		return err
	}
	seen, number, err := r.newest()
	if err != nil {
		return err
	}
	r.Seen, r.number, r.Until = seen, number, min(head.Size, seen.Size)
	if err := r.behind(ctx, head, number); err != nil {
		return err
	}
	if err := r.useful(); err != nil {
		return err
	}
	if r.folder != nil {
		if err := r.compare(ctx); err != nil {
			return err
		}
	}
	if r.begun { // what an earlier run brought back was checked then
		r.Until = max(r.Until, r.Have)
	}
	if r.Until < r.Seen.Size {
		r.Epoch = number + 1
	}
	return nil
}

// earlier takes up where a recovery that was ended before its end has begun.
func (r *Recovery) earlier(ctx context.Context) error {
	rec, err := r.config.Store.Record(ctx, epochCollection, epochRecovering)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var opened uint64
	if r.Start, opened, err = parseRecovering(rec.Body); err != nil || r.Start > r.Have {
		return errors.New("the record of the recovery cannot be read")
	}
	r.begun, r.opened = true, opened > 0 && opened == r.epoch.Number
	if !r.opened {
		return nil
	}
	o, err := genesisAt(ctx, r.config.Store, r.epoch.Index)
	if err != nil {
		return err
	}
	r.Until, r.Epoch = r.epoch.Index, r.epoch.Number
	r.Seen, err = ParseCheckpoint(o.Previous, "")
	return err
}

// newest is the newest checkpoint of the last-seen file and the copy, and its epoch.
func (r *Recovery) newest() (seen Checkpoint, number uint64, err error) {
	c := r.config
	data, err := plainfile.Read(c.Lock, maxCheckpoint)
	switch {
	case err == nil:
		var ok bool
		if seen, number, ok = anyEpoch(data, c.Origin, r.key); !ok {
			return seen, 0, refused(fmt.Errorf("the last-seen file %s was not signed by this ledger's key for the origin %q", c.Lock, c.Origin),
				"put back the checkpoint key and the last-seen file that belong together")
		}
	case !errors.Is(err, fs.ErrNotExist):
		return seen, 0, fmt.Errorf("last-seen file: %w", err)
	case c.From == "":
		return seen, 0, refused(fmt.Errorf("there is no last-seen file %s", c.Lock),
			"name a copy of the ledger with --from; if this is the newest database, start once with \"certwright serve --accept-missing-lock\"")
	}
	if c.From == "" {
		return seen, number, nil
	}
	if r.folder, err = OpenFolder(c.From, c.Origin, r.key); err != nil {
		return seen, 0, refused(err, "name an export of this ledger, or the folder of an auditor that follows it")
	}
	if f := r.folder; f.epoch > number || f.epoch == number && f.Checkpoint.Size > seen.Size {
		seen, number = f.Checkpoint, f.epoch
	}
	return seen, number, nil
}

// behind refuses a ledger that is not behind what was last seen, or is another's: such
// as one of an earlier epoch that is not shorter, which lacks the later one's genesis.
func (r *Recovery) behind(ctx context.Context, head storage.Head, number uint64) error {
	if number < r.epoch.Number {
		return r.nothing("epoch %d of the ledger has begun, and what was last seen is of epoch %d", r.epoch.Number, number)
	}
	if head.Size < r.Seen.Size {
		return nil
	}
	root, err := rootAt(ctx, r.config.Store, r.Seen.Size)
	if err != nil {
		return err
	}
	if root != r.Seen.Root {
		return forked(r.Seen.Size, root, r.Seen.Root)
	}
	if r.begun {
		return nil
	}
	return r.nothing("it has %d entries and holds all %d that were last seen", head.Size, r.Seen.Size)
}

func (r *Recovery) nothing(format string, args ...any) error {
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "NOTHING_TO_RECOVER",
		Detail: "the ledger is not behind: " + fmt.Sprintf(format, args...), Help: "start the server",
	}
}

func forked(size uint64, own, seen [32]byte) error {
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "LEDGER_FORKED",
		Detail: fmt.Sprintf("the database is no earlier state of this ledger: its first %d entries lead to the root %x, not to %x", size, own, seen),
		Help:   "restore a backup of this ledger, and recover from there",
	}
}

// useful lets a copy be that has nothing, and refuses one of an earlier epoch: what it
// has may be what was lost then, and is replaced.
func (r *Recovery) useful() error {
	switch f := r.folder; {
	case f == nil:
	case f.Checkpoint.Size <= r.Have:
		r.folder = nil
	case f.epoch < r.number:
		return r.unusable("its checkpoint is of epoch %d, and epoch %d was seen", f.epoch, r.number)
	}
	return nil
}

// compare checks that the copy goes on from what the store has, to its own
// checkpoint and to the one that was last seen, and finds out how far it reaches.
func (r *Recovery) compare(ctx context.Context) error {
	f := r.folder
	t, err := loadTree(r.Have, tiles{ctx, r.config.Store})
	if err != nil {
		return err
	}
	for t.size < f.Checkpoint.Size {
		if t.size%batch == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw, err := f.Entry(t.size)
		if err != nil {
			return r.unusable("%v", err)
		}
		if _, err := entry.Parse(raw); err != nil {
			return r.unusable("entry %d: %v", t.size, err)
		}
		if err := t.append(tlog.RecordHash(raw), nil); err != nil {
			return err
		}
		if t.size != r.Seen.Size && t.size != f.Checkpoint.Size {
			continue
		}
		root, err := t.root()
		if err != nil {
			return err
		}
		for _, cp := range []Checkpoint{r.Seen, f.Checkpoint} {
			if cp.Size == t.size && root != cp.Root {
				return r.unusable("the database's %d entries and the copy's up to %d lead to the root %x, the signed one is %x: one of them is of another history, or was changed",
					r.Have, t.size, [32]byte(root), cp.Root)
			}
		}
	}
	r.Until = min(f.Checkpoint.Size, r.Seen.Size)
	return nil
}

func (r *Recovery) unusable(format string, args ...any) error {
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "COPY_UNUSABLE", Detail: fmt.Sprintf("the copy in %s cannot be used: ", r.config.From) + fmt.Sprintf(format, args...),
		Help: "name another copy with --from, or restore another backup",
	}
}
