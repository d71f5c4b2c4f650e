package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ReadTile returns the tile at level and number n with width hashes (1 to 256),
// width*32 octets.
type ReadTile func(level int, n uint64, width int) ([]byte, error)

// NewReader reads hashes of a tree out of its tiles, for tlog.ProveRecord and
// tlog.ProveTree. Each tile is checked against the root before it is used.
func NewReader(size uint64, root [HashSize]byte, read ReadTile) (tlog.HashReader, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("merkle: tree of %d leaves: at most %d are possible", size, uint64(MaxSize))
	}
	return tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, tiles{read}), nil
}

// tiles implements tlog.TileReader.
type tiles struct{ read ReadTile }

func (tiles) Height() int { return Height }

// SaveTiles is told of checked tiles; there is no cache to keep them in.
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(want))
	for i, w := range want {
		data, err := t.read(w.L, uint64(w.N), w.W)
		if err != nil {
			return nil, fmt.Errorf("merkle: tile %s: %w", w.Path(), err)
		}
		if len(data) != w.W*HashSize {
			return nil, fmt.Errorf("merkle: tile %s has %d octets, not %d", w.Path(), len(data), w.W*HashSize)
		}
		out[i] = data
	}
	return out, nil
}

// LeafHash is the hash of a leaf (RFC 6962 §2.1: SHA-256 of 0x00 and the entry).
func LeafHash(entry []byte) [HashSize]byte { return tlog.RecordHash(entry) }
