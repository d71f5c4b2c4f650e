package ledger

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/storage"
)

// tileHeight is that of C2SP tlog-tiles: 256 hashes.
const tileHeight = merkle.Height

// tree is a tree of hashes that grows by one leaf at a time and remembers its
// right edge only: for each level the last complete node. It is a
// tlog.HashReader of what the next leaf and the root need.
type tree struct {
	size  uint64
	nodes [64]struct {
		n    int64
		hash tlog.Hash
	}
}

// ReadHashes gives hashes of the right edge.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if t.nodes[level].n != n {
			return nil, fmt.Errorf("hash %d at level %d is not on the edge", n, level)
		}
		out[i] = t.nodes[level].hash
	}
	return out, nil
}

// append adds a leaf; each is called for every node that it completes.
func (t *tree) append(leaf tlog.Hash, each func(level int, n uint64, hash tlog.Hash)) error {
	hashes, err := tlog.StoredHashesForRecordHash(int64(t.size), leaf, t)
	if err != nil {
		return err
	}
	for level, hash := range hashes {
		n := t.size >> level
		t.nodes[level].n, t.nodes[level].hash = int64(n), hash
		if each != nil {
			each(level, n, hash)
		}
	}
	t.size++
	return nil
}

func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(int64(t.size), t) }

// loadTree reads the right edge of the tree at size from r.
func loadTree(size uint64, r tlog.HashReader) (tree, error) {
	t := tree{size: size}
	var indexes []int64
	var levels []int
	for level := 0; size>>level > 0; level++ {
		if size>>level&1 == 1 {
			levels = append(levels, level)
			indexes = append(indexes, tlog.StoredHashIndex(level, int64(size>>level-1)))
		}
	}
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return tree{}, err
	}
	for i, level := range levels {
		t.nodes[level].n, t.nodes[level].hash = int64(size>>level-1), hashes[i]
	}
	return t, nil
}

// tiles reads hashes out of the store's tiles, without trust: see authentic.
type tiles struct {
	ctx   context.Context //nolint:containedctx // tlog's readers take none; lives as long as one call
	store storage.LedgerReader
}

// ReadHashes reads each hash from the narrowest tile that has it.
func (r tiles) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(tileHeight, index)
		data, err := r.read(t)
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(t, data, index); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r tiles) read(t tlog.Tile) ([]byte, error) {
	data, err := r.store.Tile(r.ctx, t.L, uint64(t.N), t.W)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tilePath(t), err)
	}
	if len(data) != t.W*tlog.HashSize {
		return nil, fmt.Errorf("%s has %d octets, not %d", tilePath(t), len(data), t.W*tlog.HashSize)
	}
	return data, nil
}

// authentic reads hashes that are proven to be in a tree.
func authentic(ctx context.Context, store storage.LedgerReader, size uint64, root [32]byte) (tlog.HashReader, error) {
	return merkle.NewReader(size, root, func(level int, n uint64, width int) ([]byte, error) {
		return store.Tile(ctx, level, n, width)
	})
}

// Contains tells whether a store's ledger has all entries of a checkpoint, and they
// have its root; else the error says why not. The signature is not looked at.
func Contains(ctx context.Context, store storage.LedgerReader, cp Checkpoint) error {
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	if head.Size < cp.Size {
		return fmt.Errorf("the ledger has %d entries, the checkpoint covers %d", head.Size, cp.Size)
	}
	root, err := rootAt(ctx, store, cp.Size)
	if err != nil {
		return err
	}
	if root != cp.Root {
		return fmt.Errorf("the ledger's first %d entries have the root %x, the checkpoint says %x", cp.Size, root, cp.Root)
	}
	return nil
}

// tilePath is C2SP tlog-tiles' path: "tile/<level>/<n>[.p/<width>]".
func tilePath(t tlog.Tile) string {
	t.H = tileHeight
	return "tile/" + strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", tileHeight))
}
