package book

import (
	"context"
	"errors"
	"fmt"
)

// Compare asks several sources of one ledger for their trees, and reports those that
// cannot both be true: of any two the larger must contain the smaller. It returns the
// checkpoints, in the order of the sources; one that was not good has no Note.
func Compare(ctx context.Context, sources []Source, keys []Key, report Report) ([]Checkpoint, error) {
	all := make([]Checkpoint, len(sources))
	for i, source := range sources {
		data, err := source.Read(ctx, "checkpoint", MaxCheckpoint)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if all[i], err = Open(data, keys); err != nil {
			report.of(KindForged, source.String(), "%v", err)
		}
	}
	for i := range all {
		for j := range i {
			if all[i].Note == nil || all[j].Note == nil {
				continue
			}
			err := compare(ctx, newTree(sources[j], all[j]), newTree(sources[i], all[i]), keys, report)
			if errors.Is(err, errServed) {
				report.of(KindServed, sources[j].String()+" "+sources[i].String(), "%v", err)
			} else if err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// compare holds two trees against each other.
func compare(ctx context.Context, a, b *tree, keys []Key, report Report) error {
	subject := a.source.String() + " " + b.source.String()
	if a.Ledger != b.Ledger {
		report.of(KindOrigin, subject, "they show two logs: %q and %q", a.Origin, b.Origin)
		return nil
	}
	if a.Epoch != b.Epoch {
		return compareEpochs(ctx, a, b, keys, report)
	}
	small, large := a, b
	if a.Size > b.Size {
		small, large = b, a
	}
	same, err := large.contains(ctx, small.Checkpoint)
	if same || err != nil {
		return err
	}
	if small.Size == large.Size {
		report.of(KindSplit, subject, "two trees of %d entries, both signed by the log: the roots are %x and %x", a.Size, a.Root, b.Root)
	} else {
		report.of(KindSplit, subject, "two trees, both signed by the log: the first %d entries of the larger are not the smaller tree of root %x", small.Size, small.Root)
	}
	return splitAt(ctx, small, large, report)
}

// compareEpochs holds the tree of an epoch against that of a later one.
func compareEpochs(ctx context.Context, a, b *tree, keys []Key, report Report) error {
	old, next := a, b
	if a.Epoch > b.Epoch {
		old, next = b, a
	}
	whole, err := next.contains(ctx, old.Checkpoint)
	if err != nil {
		return err
	}
	same := old.Size
	if !whole {
		if same, err = parting(ctx, old, next); err != nil {
			return err
		}
	}
	all, err := next.openings(ctx, same, chain{keys: keys, ledger: next.Ledger, last: opening{Epoch: old.Epoch}})
	if err == nil && !whole {
		_, err = cut(old.Checkpoint, same, all)
	}
	if !errors.Is(err, errChain) {
		return err
	}
	report.of(KindSplit, a.source.String()+" "+b.source.String(), "two trees, both signed by the log, of epochs %d and %d: %v", a.Epoch, b.Epoch, err)
	if whole {
		return nil
	}
	return splitAt(ctx, old, next, report)
}

// parting is how many entries two trees both begin with.
func parting(ctx context.Context, a, b *tree) (uint64, error) {
	x, err := a.hashes(ctx)
	if err != nil {
		return 0, err
	}
	y, err := b.hashes(ctx)
	if err != nil {
		return 0, err
	}
	return firstDifference(ctx, view{x, a.Size}, view{y, b.Size})
}

// splitAt reports the first entry at which two trees part.
func splitAt(ctx context.Context, a, b *tree, report Report) error {
	at, err := parting(ctx, a, b)
	if err != nil || at >= min(a.Size, b.Size) {
		return err
	}
	show := func(t *tree) string {
		raw, err := t.entry(ctx, at)
		if err != nil {
			return "an entry that cannot be read"
		}
		return describe(raw)
	}
	report.at(KindSplit, at, a.source.String()+" "+b.source.String(), "the first entry that is not the same: here %s, there %s", show(a), show(b))
	return nil
}
