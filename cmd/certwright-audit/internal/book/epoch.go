package book

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// opening is where an epoch begins: its genesis (docs/ledger.md, Epochs).
type opening struct {
	Epoch uint64 `json:"epoch"`
	Index uint64 `json:"index"`

	previous Checkpoint // of the epoch before; without a Note in the first
}

// chain checks the genesis of each epoch, in the order of the entries.
type chain struct {
	keys   []Key
	ledger string  // the origin of the first epoch
	last   opening // its Epoch is 0 before the first genesis
}

// take checks a genesis and takes it up.
func (c *chain) take(index uint64, o entry.Origin) (opening, error) {
	ledger, epoch := epochOf(o.Origin)
	next := opening{Epoch: epoch, Index: index}
	switch {
	case ledger != c.ledger:
		return next, fmt.Errorf("the genesis is of %.128q, the checkpoints are of %q", o.Origin, c.ledger)
	case index == 0 && (epoch != 1 || len(o.Previous) > 0):
		return next, errors.New("the first genesis is that of a later epoch")
	case index > 0 && epoch <= max(c.last.Epoch, 1):
		return next, fmt.Errorf("a genesis of epoch %d, after that of epoch %d", epoch, c.last.Epoch)
	case index == 0:
		c.last = next
		return next, nil
	}
	previous, err := Open(o.Previous, c.keys)
	switch want := originOf(c.ledger, epoch-1); {
	case err != nil:
		return next, fmt.Errorf("epoch %d names a last checkpoint of the epoch before that does not hold: %w", epoch, err)
	case previous.Origin != want:
		return next, fmt.Errorf("epoch %d names a checkpoint of %q as the last of the epoch before, and not one of %q", epoch, previous.Origin, want)
	case previous.Size <= index:
		return next, fmt.Errorf("epoch %d begins at entry %d, and says that %d were there: nothing was lost, and no epoch had to begin", epoch, index, previous.Size)
	}
	next.previous, c.last = previous, next
	return next, nil
}

// openings are the epochs that begin at entry from or later, each checked. The error
// is errChain if one does not hold, or if they do not lead to the checkpoint's.
func (t *tree) openings(ctx context.Context, from uint64, c chain) ([]opening, error) {
	hashes, err := t.hashes(ctx)
	if err != nil {
		return nil, err
	}
	var all []opening
	for n := from / merkle.TileWidth; n*merkle.TileWidth < t.Size; n++ {
		entries, _, err := t.proven(ctx, hashes, n)
		if err != nil {
			return nil, err
		}
		for i, raw := range entries {
			index := n*merkle.TileWidth + uint64(i)
			genesis := genesisOf(raw)
			if genesis == nil || index < from {
				continue
			}
			next, err := c.take(index, *genesis)
			if err != nil {
				return nil, fmt.Errorf("%w: entry %d: %w", errChain, index, err)
			}
			all = append(all, next)
		}
	}
	if c.last.Epoch != t.Epoch {
		return nil, fmt.Errorf("%w: the checkpoint is of epoch %d, its newest genesis of epoch %d", errChain, t.Epoch, c.last.Epoch)
	}
	return all, nil
}

// errChain is in the chain of what is wrong with the beginning of an epoch.
var errChain = errors.New("not a new epoch of what was there")

// genesisOf is the genesis that an entry is; nil: it is none.
func genesisOf(raw []byte) *entry.Origin {
	e, err := entry.Parse(raw)
	if err != nil || e.Kind != entry.Genesis {
		return nil
	}
	o, err := entry.ParseGenesis(e.Draft)
	if err != nil {
		return nil
	}
	return &o
}

// proven reads a bundle, and proves each of its entries.
func (t *tree) proven(ctx context.Context, hashes tlog.HashReader, n uint64) (entries [][]byte, leaves []tlog.Hash, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	width := widthAt(n, t.Size)
	if entries, err = t.bundle(ctx, n, width); err != nil {
		return nil, nil, err
	}
	first := n * merkle.TileWidth
	if leaves, err = (view{hashes, t.Size}).leaves(first, first+uint64(width)); err != nil {
		return nil, nil, err
	}
	for i, raw := range entries {
		if tlog.RecordHash(raw) != leaves[i] {
			return nil, nil, fmt.Errorf("entry %d in %s: %w", first+uint64(i), bundlePath(n, width), errServed)
		}
	}
	return entries, leaves, nil
}

// cut says how a tree of a later epoch goes on from one of an earlier epoch that it
// does not contain: same is how many entries both begin with. An error is errChain,
// and says why it does not go on from there.
func cut(old Checkpoint, same uint64, all []opening) (opening, error) {
	fail := func(format string, args ...any) (opening, error) {
		return opening{}, fmt.Errorf("%w: %s", errChain, fmt.Sprintf(format, args...))
	}
	if len(all) == 0 || all[0].Index > same {
		return fail("it differs already before the genesis, at entry %d", same)
	}
	g := all[0]
	switch p := g.previous; {
	case p.Epoch != old.Epoch:
		return fail("epoch %d follows epoch %d, of which nothing was seen: %s was seen", g.Epoch, p.Epoch, old)
	case p.Size < old.Size:
		return fail("epoch %d follows %s, and says nothing of entries %d to %d, which were seen", g.Epoch, p, p.Size, old.Size-1)
	case p.Size == old.Size && p.Root != old.Root:
		return fail("epoch %d follows %s, and %x was the root of %d entries", g.Epoch, p, old.Root[:8], old.Size)
	}
	return g, nil
}
