package book

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Compare asks several sources of one ledger for their trees, and reports those that
// cannot both be true: of any two the larger must contain the smaller. It returns the
// checkpoints, in the order of the sources; one that was not good has no Note.
func Compare(ctx context.Context, sources []Source, keys []note.Verifier, report Report) ([]Checkpoint, error) {
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
			err := compare(ctx, newTree(sources[j], all[j]), newTree(sources[i], all[i]), report)
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
func compare(ctx context.Context, a, b *tree, report Report) error {
	subject := a.source.String() + " " + b.source.String()
	if a.Origin != b.Origin {
		report.of(KindOrigin, subject, "they show two logs: %q and %q", a.Origin, b.Origin)
		return nil
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

// splitAt reports the first entry at which two trees part.
func splitAt(ctx context.Context, a, b *tree, report Report) error {
	x, err := a.hashes(ctx)
	if err != nil {
		return err
	}
	y, err := b.hashes(ctx)
	if err != nil {
		return err
	}
	at, err := firstDifference(ctx, view{x, a.Size}, view{y, b.Size})
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
