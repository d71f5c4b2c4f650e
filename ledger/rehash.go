package ledger

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/storage"
)

// batch is how many entries are read at once.
const batch = 1024

// rehash reads raw entries, recomputes every hash of the tree above them, and
// compares with the store's tiles.
type rehash struct {
	store storage.LedgerReader
	tree  tree         // grows as entries are read
	trust []Checkpoint // trees whose tiles count as evidence, in rising order of size

	each   func(index uint64, raw []byte)
	report func(storage.Finding)

	leaves struct { // the tile of leaves that is being compared
		n    uint64
		data []byte
	}
	levels [8]struct { // the hashes of the higher tiles since the last comparison
		first  uint64
		hashes []byte
	}
}

// to reads on until the tree has size entries. An error: entries are missing or
// cannot be read; what differs is reported.
func (r *rehash) to(ctx context.Context, size uint64) error {
	for r.tree.size < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := r.tree.size
		raws, err := r.store.Entries(ctx, start, int(min(batch, size-start)))
		if err != nil {
			return fmt.Errorf("read entry %d and on: %w", start, err)
		}
		if len(raws) == 0 {
			return fmt.Errorf("entry %d is missing", start)
		}
		for _, raw := range raws {
			if err := r.leaf(ctx, raw, size); err != nil {
				return err
			}
		}
	}
	for level := range r.levels {
		r.flush(ctx, level)
	}
	return nil
}

// leaf adds one entry. An entry that is not what was hashed is reported, and
// the tree goes on with what was hashed, so that it counts as one finding.
func (r *rehash) leaf(ctx context.Context, raw []byte, size uint64) error {
	index := r.tree.size
	leaf := tlog.RecordHash(raw)
	if found, ok := r.storedLeaf(ctx, index, size); ok && found != leaf {
		t := tlog.Tile{H: tileHeight, N: int64(index >> tileHeight), W: width(index, size)}
		if r.proven(ctx, index) {
			r.finding("entry", index, tilePath(t), fmt.Sprintf("entry %d is not the one that was hashed: its leaf hash is %x, the tree has %x", index, [32]byte(leaf), [32]byte(found)))
			leaf = found
		} else {
			r.finding("tile", index, tilePath(t), fmt.Sprintf("the tile's hash of entry %d is %x, the entry's own is %x", index, [32]byte(found), [32]byte(leaf)))
		}
	}
	if r.each != nil {
		r.each(index, raw)
	}
	return r.tree.append(leaf, func(level int, n uint64, hash tlog.Hash) {
		if level > 0 && level%tileHeight == 0 {
			r.upper(ctx, level/tileHeight, n, hash)
		}
	})
}

// storedLeaf is the leaf hash in the store's tile. A tile that cannot be read is
// reported once, at its first entry that is asked for.
func (r *rehash) storedLeaf(ctx context.Context, index, size uint64) (tlog.Hash, bool) {
	n, at := index>>tileHeight, int(index%(1<<tileHeight))
	if r.leaves.data == nil || r.leaves.n != n || len(r.leaves.data) <= at*tlog.HashSize {
		if r.leaves.data != nil && len(r.leaves.data) == 0 && r.leaves.n == n {
			return tlog.Hash{}, false
		}
		t := tlog.Tile{H: tileHeight, N: int64(n), W: width(index, size)}
		data, err := tiles{ctx, r.store}.read(t)
		if err != nil {
			r.finding("tile", storage.NoIndex, tilePath(t), err.Error())
			data = []byte{}
		}
		r.leaves.n, r.leaves.data = n, data
	}
	if len(r.leaves.data) == 0 {
		return tlog.Hash{}, false
	}
	return tlog.Hash(r.leaves.data[at*tlog.HashSize:][:tlog.HashSize]), true
}

// width is that of the leaf tile which holds index, in a tree of size.
func width(index, size uint64) int {
	return int(min(size-index>>tileHeight<<tileHeight, 1<<tileHeight))
}

// proven tells whether the tiles' hash of an entry is in a trusted tree.
func (r *rehash) proven(ctx context.Context, index uint64) bool {
	for _, cp := range r.trust {
		if index < cp.Size {
			hashes, err := authentic(ctx, r.store, cp.Size, cp.Root)
			if err == nil {
				_, err = hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
			}
			return err == nil
		}
	}
	return false
}

// upper keeps a hash of a higher tile, and compares once the tile is full.
func (r *rehash) upper(ctx context.Context, level int, n uint64, hash tlog.Hash) {
	l := &r.levels[level]
	if len(l.hashes) == 0 {
		l.first = n
	}
	l.hashes = append(l.hashes, hash[:]...)
	if (n+1)%(1<<tileHeight) == 0 {
		r.flush(ctx, level)
	}
}

func (r *rehash) flush(ctx context.Context, level int) {
	l := &r.levels[level]
	if len(l.hashes) == 0 {
		return
	}
	from := int(l.first % (1 << tileHeight))
	t := tlog.Tile{H: tileHeight, L: level, N: int64(l.first >> tileHeight), W: from + len(l.hashes)/tlog.HashSize}
	data, err := tiles{ctx, r.store}.read(t)
	if err != nil {
		r.finding("tile", storage.NoIndex, tilePath(t), err.Error())
	} else if string(data[from*tlog.HashSize:]) != string(l.hashes) {
		r.finding("tile", storage.NoIndex, tilePath(t), "the tile's hashes are not those of the entries")
	}
	l.hashes = l.hashes[:0]
}

func (r *rehash) finding(kind string, index uint64, subject, detail string) {
	r.report(storage.Finding{Kind: kind, Index: index, Subject: subject, Detail: detail})
}
