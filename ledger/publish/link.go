package publish

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/layout"
)

// Link is how a checkpoint of a later epoch goes on from one of an earlier epoch.
type Link struct {
	ledger.Epoch                   // the first that has begun after the earlier checkpoint
	Previous     ledger.Checkpoint // the last of the epoch before, as its genesis names it
	// Contained tells that the later tree begins with all of the earlier one. Else
	// the entries from Index on are lost to the ledger, and the tiles cannot show that
	// those before them are the same: only a copy of the earlier tree can.
	Contained bool
	// Named tells that the earlier checkpoint is the one that the genesis names.
	Named bool
}

// Linked reads the entries of the newer tree, each proven, and checks how it goes on
// from a checkpoint of an earlier epoch (docs/ledger.md, Epochs). The verifier key is
// that of any epoch. Errors as of Consistent.
func Linked(ctx context.Context, from Source, older, newer ledger.Checkpoint, verifierKey string) (Link, error) {
	_, seen := ledger.SplitOrigin(older.Origin)
	link, err := begun(ctx, from, newer, verifierKey, seen)
	if err != nil {
		return link, err
	}
	p := link.Previous
	_, ended := ledger.SplitOrigin(p.Origin)
	switch {
	case older.Size <= link.Index:
		link.Contained = true
		return link, Consistent(ctx, from, older, newer)
	case ended != seen:
		return link, fmt.Errorf("epoch %d follows epoch %d, whose own beginning is lost: that it follows what the older checkpoint of epoch %d covers cannot be shown here; certwright-audit follow --previous can",
			link.Number, ended, seen)
	case p.Size < older.Size:
		return link, fmt.Errorf("%w: epoch %d says that %d entries were there before, the older checkpoint of epoch %d covers %d", ErrOtherHistory, link.Number, p.Size, seen, older.Size)
	case p.Size == older.Size && p.Root != older.Root:
		return link, fmt.Errorf("%w: epoch %d names %x as the root of %d entries, the older checkpoint %x", ErrOtherHistory, link.Number, p.Root, p.Size, older.Root)
	}
	link.Named = p.Size == older.Size
	return link, nil
}

// begun is the first epoch of a tree after one that has ended.
func begun(ctx context.Context, from Source, cp ledger.Checkpoint, verifierKey string, ended uint64) (link Link, err error) {
	hashes, err := merkle.NewReader(cp.Size, cp.Root, func(level int, n uint64, width int) ([]byte, error) {
		return readTile(ctx, from, layout.Tile{Level: level, N: n, Width: width})
	})
	if err != nil {
		return link, err
	}
	epochs := ledger.NewEpochs(verifierKey)
	for first := uint64(0); first < cp.Size; first += merkle.TileWidth {
		if err := ctx.Err(); err != nil {
			return link, err
		}
		raws, err := readBundle(ctx, from, layout.Tile{Level: layout.Entries, N: first / merkle.TileWidth, Width: int(min(cp.Size-first, merkle.TileWidth))})
		if err != nil {
			return link, err
		}
		leaves, err := hashes.ReadHashes(leafIndexes(first, len(raws)))
		if err != nil {
			return link, fmt.Errorf("prove the entries from %d on: %w", first, err)
		}
		for i, raw := range raws {
			index := first + uint64(i)
			if leaves[i] != tlog.RecordHash(raw) {
				return link, fmt.Errorf("entry %d is not the one under the newer checkpoint", index)
			}
			if e, err := entry.Parse(raw); err != nil || e.Kind != entry.Genesis {
				continue
			}
			if err := opened(epochs, index, raw); err != nil {
				return link, err
			}
			if last, previous := epochs.Last(); link.Number == 0 && last.Number > ended {
				link.Epoch, link.Previous = last, previous
			}
		}
	}
	last, _ := epochs.Last()
	if _, number := ledger.SplitOrigin(cp.Origin); number != last.Number {
		return link, fmt.Errorf("%w: the newer checkpoint is of epoch %d, its last genesis of epoch %d", ErrOtherHistory, number, last.Number)
	}
	return link, nil
}

func leafIndexes(first uint64, n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = tlog.StoredHashIndex(0, int64(first)+int64(i))
	}
	return all
}

// opened checks a genesis.
func opened(epochs *ledger.Epochs, index uint64, raw []byte) error {
	e, err := entry.Parse(raw)
	if err != nil {
		return err
	}
	o, err := entry.ParseGenesis(e.Draft)
	if err == nil {
		err = epochs.Take(index, o)
	}
	if err != nil {
		return fmt.Errorf("%w: the genesis at entry %d: %w", ErrOtherHistory, index, err)
	}
	return nil
}

// readBundle reads a bundle of entries; in place of a partial one the full one serves.
func readBundle(ctx context.Context, from Source, tile layout.Tile) ([][]byte, error) {
	data, err := from.File(ctx, tile.Path())
	width := tile.Width
	if err != nil && tile.Width < merkle.TileWidth {
		full := layout.Tile{Level: tile.Level, N: tile.N, Width: merkle.TileWidth}
		if whole, fullErr := from.File(ctx, full.Path()); fullErr == nil {
			data, err, width = whole, nil, merkle.TileWidth
		}
	}
	if err != nil {
		return nil, err
	}
	raws, err := layout.ParseBundle(data, width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tile.Path(), err)
	}
	return raws[:tile.Width], nil
}
