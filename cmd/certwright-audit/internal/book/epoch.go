package book

import (
	"context"
	"errors"
	"fmt"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// epoch tells whether a signed tree that does not contain the last one is the first
// of a new epoch that follows it: its genesis names, as previous, the last
// checkpoint of the epoch before. If so, it is taken, and what there was is kept
// apart.
func (f *Follower) epoch(ctx context.Context, t *tree) (bool, error) {
	genesis, err := f.genesisOf(ctx, t)
	if err != nil || genesis == nil || len(genesis.Previous) == 0 {
		return false, err
	}
	subject := t.source.String()
	previous, err := Open(genesis.Previous, f.config.Keys)
	if err != nil {
		f.report.of(KindEpoch, subject, "a new epoch, whose genesis names a last checkpoint that does not hold: %v", err)
		return false, nil
	}
	if previous.Origin != f.state.cp.Origin {
		f.report.of(KindEpoch, subject, "a new epoch, which follows %q, and not %q", previous.Origin, f.state.cp.Origin)
		return false, nil
	}
	ok, err := f.follows(ctx, subject, previous)
	if err != nil || !ok && !f.config.AcceptEpoch {
		return false, err
	}
	if !ok {
		f.report.of(KindEpoch, subject, "the new epoch was accepted although it does not follow what was seen")
	}
	return true, f.begin(t)
}

// genesisOf is the genesis of a tree, if it is another than the one that was seen.
func (f *Follower) genesisOf(ctx context.Context, t *tree) (*entry.Origin, error) {
	if t.Size == 0 || f.state.edge.Size() == 0 {
		return nil, nil
	}
	raw, err := t.entry(ctx, 0)
	if err != nil {
		return nil, err
	}
	seen, err := f.entry(0)
	if err != nil {
		return nil, err
	}
	if merkle.LeafHash(raw) == merkle.LeafHash(seen) {
		return nil, nil
	}
	e, err := entry.Parse(raw)
	if err != nil {
		return nil, nil //nolint:nilerr // it is no genesis: the caller tells of what was changed
	}
	genesis, err := entry.ParseGenesis(e.Draft)
	if err != nil {
		return nil, nil //nolint:nilerr // as above
	}
	return &genesis, nil
}

// follows tells whether the last checkpoint of the epoch before, as the new one names
// it, is that of all that was seen.
func (f *Follower) follows(ctx context.Context, subject string, previous Checkpoint) (bool, error) {
	old := f.state.cp
	switch {
	case previous.Size == old.Size && previous.Root == old.Root:
		if read, err := f.catchUp(ctx, subject, previous); read || err != nil {
			return read, err
		}
		f.report.of(KindEpoch, subject, "the new epoch follows what was seen, but of its %d entries only %d have been read before it began", old.Size, f.state.edge.Size())
		return true, nil
	case previous.Size == old.Size:
		f.report.of(KindEpoch, subject, "a new epoch follows %s, and %x was the root of %d entries", previous, old.Root[:8], old.Size)
	case previous.Size < old.Size:
		f.report.of(KindEpoch, subject, "a new epoch follows %s, and %d entries were there: it leaves out %d that were seen, from entry %d on",
			previous, old.Size, old.Size-previous.Size, previous.Size)
	default:
		ok, err := f.catchUp(ctx, subject, previous)
		if ok || err != nil {
			return ok, err
		}
		f.report.of(KindEpoch, subject, "a new epoch follows %s, of which %d entries were seen: that the rest follows them is not shown; name a folder that has it with --previous",
			previous, old.Size)
	}
	return false, f.evidence(old, previous)
}

// catchUp reads the end of the epoch before, as far as it was not seen.
func (f *Follower) catchUp(ctx context.Context, subject string, previous Checkpoint) (bool, error) {
	if f.state.cp.Size == previous.Size && f.state.edge.Size() == previous.Size {
		return true, nil
	}
	for _, source := range f.config.Previous {
		t := newTree(source, previous)
		same, err := t.contains(ctx, f.state.cp)
		switch {
		case errors.Is(err, errServed):
			continue // it has another ledger, or not all of this one
		case err != nil:
			return false, fmt.Errorf("%s: %w", source, err)
		case !same:
			f.report.of(KindEpoch, subject, "the epoch that the new one follows, %s, does not contain what was seen: %s", previous, f.state.cp)
			return false, nil
		}
		f.state.cp = previous
		if err := f.read(ctx, t); err != nil {
			return false, fmt.Errorf("%s: %w", source, err)
		}
		return true, nil
	}
	return false, nil
}

// begin takes up the first tree of a new epoch.
func (f *Follower) begin(t *tree) error {
	if err := f.mirror.archive(f.state.Epoch); err != nil {
		return err
	}
	next := &state{
		Version: stateVersion, Certificates: f.state.Certificates, Intents: f.state.Intents, Epoch: f.state.Epoch + 1,
		cp: t.Checkpoint, edge: &merkle.Edge{},
	}
	if err := next.save(f.config.Dir); err != nil {
		return err
	}
	f.state, f.rules = next, nil
	return nil
}
