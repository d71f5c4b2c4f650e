package publish

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
)

// ErrOtherHistory says that two checkpoints cannot be of one append-only ledger:
// proof that something was changed or taken away.
var ErrOtherHistory = errors.New("not one history")

// Consistent shows that the tree of the checkpoint newer begins with that of older
// (RFC 6962 §2.1.2), by tiles of the source, each of which is proven to be in newer
// first. Neither signature is checked. Errors: ErrOtherHistory; any other says that
// it could not be shown.
func Consistent(ctx context.Context, from Source, older, newer ledger.Checkpoint) error {
	switch {
	case older.Size > newer.Size:
		return fmt.Errorf("the first checkpoint covers %d entries, the second %d: give the older one first", older.Size, newer.Size)
	case older.Size == newer.Size && older.Root != newer.Root:
		return fmt.Errorf("%w: both checkpoints cover %d entries, with the roots %x and %x", ErrOtherHistory, older.Size, older.Root, newer.Root)
	case older.Size == newer.Size:
		return nil
	case older.Size == 0:
		empty, err := tlog.TreeHash(0, nil)
		if err == nil && empty != older.Root {
			err = fmt.Errorf("%w: the first checkpoint covers no entries, but has the root %x", ErrOtherHistory, older.Root)
		}
		return err
	}
	hashes, err := merkle.NewReader(newer.Size, newer.Root, func(level int, n uint64, width int) ([]byte, error) {
		return readTile(ctx, from, layout.Tile{Level: level, N: n, Width: width})
	})
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(int64(older.Size), hashes)
	if err != nil {
		return fmt.Errorf("the tiles do not lead to the root of %d entries: %w", newer.Size, err)
	}
	if root != older.Root {
		return fmt.Errorf("%w: the first %d entries under the second checkpoint have the root %x, the first checkpoint says %x",
			ErrOtherHistory, older.Size, [32]byte(root), older.Root)
	}
	proof, err := tlog.ProveTree(int64(newer.Size), int64(older.Size), hashes)
	if err != nil {
		return fmt.Errorf("consistency proof: %w", err)
	}
	return tlog.CheckTree(proof, int64(newer.Size), newer.Root, int64(older.Size), older.Root)
}

// readTile reads a tile of hashes; in place of a partial one the full one serves,
// for which partial ones may be deleted.
func readTile(ctx context.Context, from Source, tile layout.Tile) ([]byte, error) {
	data, err := from.File(ctx, tile.Path())
	if err != nil && tile.Width < merkle.TileWidth {
		full := layout.Tile{Level: tile.Level, N: tile.N, Width: merkle.TileWidth}
		if whole, fullErr := from.File(ctx, full.Path()); fullErr == nil && len(whole) == merkle.TileWidth*merkle.HashSize {
			return whole[:tile.Width*merkle.HashSize], nil
		}
	}
	if err == nil && len(data) != tile.Width*merkle.HashSize {
		err = fmt.Errorf("%s has %d octets, not %d", tile.Path(), len(data), tile.Width*merkle.HashSize)
	}
	return data, err
}
