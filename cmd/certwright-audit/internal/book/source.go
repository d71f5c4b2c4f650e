package book

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// Source is where a published ledger can be read.
type Source interface {
	// Read returns the file of that name, such as "checkpoint" or "tile/0/000". More
	// than limit octets are an error, one that is not there fs.ErrNotExist, and what
	// may be there a moment later ErrUnavailable.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
	// String names it for people.
	String() string
}

// maxBundle is the size of a bundle of entries, each with its length.
const maxBundle = merkle.TileWidth * (2 + entry.MaxSize)

// tilePath is C2SP tlog-tiles' path of a tile.
func tilePath(level int, n uint64, width int) string {
	return fmt.Sprintf("tile/%d/%s", level, number(n, width))
}

// bundlePath is that of a bundle of entries.
func bundlePath(n uint64, width int) string { return "tile/entries/" + number(n, width) }

func number(n uint64, width int) string {
	t := tlog.Tile{H: merkle.Height, L: 0, N: int64(n), W: width}
	return strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/0/", merkle.Height))
}

// tree is a signed tree as a source shows it: what is read through hashes is proven
// against its root.
type tree struct {
	source Source
	Checkpoint
	tiles map[string][]byte // those above the leaves, as they were read
}

func newTree(source Source, cp Checkpoint) *tree {
	return &tree{source: source, Checkpoint: cp, tiles: map[string][]byte{}}
}

// maxTiles is how many tiles are kept, of 8 KiB each.
const maxTiles = 512

// tile reads a tile, from the full one if the partial one is not kept any more.
func (t *tree) tile(ctx context.Context, level int, n uint64, width int) ([]byte, error) {
	path := tilePath(level, n, width)
	if data, ok := t.tiles[path]; ok {
		return data, nil
	}
	data, err := readNarrow(ctx, t.source, path, tilePath(level, n, merkle.TileWidth), merkle.TileWidth*merkle.HashSize)
	if err != nil {
		return nil, err
	}
	if len(data) < width*merkle.HashSize || len(data)%merkle.HashSize != 0 {
		return nil, fmt.Errorf("%s has %d octets, not %d: %w", path, len(data), width*merkle.HashSize, errServed)
	}
	data = data[:width*merkle.HashSize]
	if level > 0 && len(t.tiles) < maxTiles {
		t.tiles[path] = data
	}
	return data, nil
}

// readNarrow reads the file at path, or in its place the one at full.
func readNarrow(ctx context.Context, source Source, path, full string, limit int64) ([]byte, error) {
	data, err := source.Read(ctx, path, limit)
	if errors.Is(err, fs.ErrNotExist) && full != path {
		data, err = source.Read(ctx, full, limit)
	}
	if errors.Is(err, fs.ErrNotExist) {
		// A tree that is signed is there: for the time being it may be elsewhere.
		return nil, fmt.Errorf("%s is not there: %w", path, ErrUnavailable)
	}
	return data, err
}

// hashes reads hashes of the tree, each proven.
func (t *tree) hashes(ctx context.Context) (tlog.HashReader, error) {
	var failed error
	reader, err := merkle.NewReader(t.Size, t.Root, func(level int, n uint64, width int) ([]byte, error) {
		data, err := t.tile(ctx, level, n, width)
		if err != nil && failed == nil {
			failed = err
		}
		return data, err
	})
	if err != nil {
		return nil, err
	}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		failed = nil
		hashes, err := reader.ReadHashes(indexes)
		switch {
		case err == nil:
			return hashes, nil
		case failed != nil:
			return nil, failed
		}
		return nil, fmt.Errorf("its tiles are not those of the root that it has signed: %w", errServed)
	}), nil
}

// bundle reads the entries of a bundle, without proof.
func (t *tree) bundle(ctx context.Context, n uint64, width int) ([][]byte, error) {
	path := bundlePath(n, width)
	data, err := readNarrow(ctx, t.source, path, bundlePath(n, merkle.TileWidth), maxBundle)
	if err != nil {
		return nil, err
	}
	entries, err := splitBundle(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, errServed)
	}
	if len(entries) < width {
		return nil, fmt.Errorf("%s has %d entries, not %d: %w", path, len(entries), width, errServed)
	}
	return entries[:width], nil
}

// entry reads one entry, proven.
func (t *tree) entry(ctx context.Context, index uint64) ([]byte, error) {
	hashes, err := t.hashes(ctx)
	if err != nil {
		return nil, err
	}
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
	if err != nil {
		return nil, err
	}
	n := index / merkle.TileWidth
	entries, err := t.bundle(ctx, n, widthAt(n, t.Size))
	if err != nil {
		return nil, err
	}
	raw := entries[index%merkle.TileWidth]
	if tlog.RecordHash(raw) != leaf[0] {
		return nil, fmt.Errorf("entry %d: %w", index, errServed)
	}
	return raw, nil
}

// widthAt is how many entries bundle n has in a tree of size.
func widthAt(n, size uint64) int {
	return int(min(size-n*merkle.TileWidth, merkle.TileWidth))
}
