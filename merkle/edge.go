// Package merkle keeps the ledger's tree (RFC 6962 §2.1) in tiles of C2SP
// tlog-tiles: Edge is the growing right edge, NewReader reads hashes for proofs
// out of tiles. All hashing is that of golang.org/x/mod/sumdb/tlog. The package
// is pure: what it is given and what it returns are bytes.
package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// Height is the height of a tile in levels of the tree.
	Height = 8
	// TileWidth is the number of hashes of a full tile.
	TileWidth = 1 << Height
	// HashSize is the size of one hash in octets.
	HashSize = tlog.HashSize
	// MaxSize is the greatest number of leaves: tlog numbers the stored hashes,
	// about two for each leaf, by int64.
	MaxSize = 1 << 61
)

// Tile is a full tile: 256 hashes, one after the other.
type Tile struct {
	Level  int
	N      uint64
	Hashes []byte
}

// Edge is the right edge of a tree: of each level of tiles the one that is not
// full yet. It is all that is needed to append a leaf and to compute the root.
// The zero value is the edge of the empty tree. An Edge is not safe for
// concurrent use.
type Edge struct {
	size   uint64
	levels [][]byte // the hashes of the partial tile of each level, concatenated
}

// Size is the number of leaves.
func (e *Edge) Size() uint64 { return e.size }

// Append adds one leaf by its hash (tlog.RecordHash) and returns the tiles that
// it completes, lowest level first; mostly there are none.
func (e *Edge) Append(leaf [HashSize]byte) ([]Tile, error) {
	if e.size >= MaxSize {
		return nil, errors.New("merkle: the tree is full")
	}
	hashes, err := tlog.StoredHashesForRecordHash(int64(e.size), leaf, e)
	if err != nil {
		return nil, fmt.Errorf("merkle: append leaf %d: %w", e.size, err)
	}
	var full []Tile
	for height := 0; height < len(hashes); height += Height {
		level := height / Height
		if level == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		e.levels[level] = append(e.levels[level], hashes[height][:]...)
		if len(e.levels[level]) == TileWidth*HashSize {
			n := e.size >> (Height * (level + 1))
			full = append(full, Tile{Level: level, N: n, Hashes: e.levels[level]})
			e.levels[level] = nil
		}
	}
	e.size++
	return full, nil
}

// Root is the tree's hash; that of the empty tree if there are no leaves.
func (e *Edge) Root() ([HashSize]byte, error) {
	root, err := tlog.TreeHash(int64(e.size), e)
	if err != nil {
		return [HashSize]byte{}, fmt.Errorf("merkle: root at %d: %w", e.size, err)
	}
	return root, nil
}

// Partial is the tile of a level that is not full yet: its number and its
// hashes, which may be none. The caller must not change them.
func (e *Edge) Partial(level int) (n uint64, hashes []byte) {
	if level < 0 || level >= len(e.levels) {
		return 0, nil
	}
	return e.size >> (Height * (level + 1)), e.levels[level]
}

// Clone is an independent copy.
func (e *Edge) Clone() *Edge {
	c := &Edge{size: e.size, levels: make([][]byte, len(e.levels))}
	for i, l := range e.levels {
		c.levels[i] = slices.Clone(l)
	}
	return c
}

// ReadHashes implements tlog.HashReader for the hashes that lie on the edge.
func (e *Edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(Height, index)
		n, hashes := e.Partial(t.L)
		if int64(n) != t.N || len(hashes) < t.W*HashSize {
			return nil, fmt.Errorf("merkle: tile %s is not on the edge of %d leaves", t.Path(), e.size)
		}
		h, err := tlog.HashFromTile(t, hashes[:t.W*HashSize], index)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// Marshal is the edge's one encoding: uint64 size, then the hashes of the
// partial tiles, lowest level first; the size says how many each has.
func (e *Edge) Marshal() []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(e.levels)*TileWidth*HashSize/2), e.size)
	for _, l := range e.levels {
		out = append(out, l...)
	}
	return out
}

// ParseEdge reads what Marshal wrote.
func ParseEdge(data []byte) (*Edge, error) {
	if len(data) < 8 {
		return nil, errors.New("merkle: edge is truncated")
	}
	e := &Edge{size: binary.BigEndian.Uint64(data)}
	if e.size > MaxSize {
		return nil, fmt.Errorf("merkle: edge of %d leaves: at most %d are possible", e.size, uint64(MaxSize))
	}
	data = data[8:]
	for rest := e.size; rest > 0; rest >>= Height {
		length := int(rest%TileWidth) * HashSize
		if len(data) < length {
			return nil, errors.New("merkle: edge is truncated")
		}
		e.levels = append(e.levels, slices.Clone(data[:length]))
		data = data[length:]
	}
	if len(data) > 0 {
		return nil, errors.New("merkle: edge has trailing bytes")
	}
	return e, nil
}
