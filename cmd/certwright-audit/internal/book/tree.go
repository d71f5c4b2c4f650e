package book

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
)

// rootAt is the root of the first size leaves.
func (t *tree) rootAt(ctx context.Context, size uint64) ([merkle.HashSize]byte, error) {
	hashes, err := t.hashes(ctx)
	if err != nil {
		return [merkle.HashSize]byte{}, err
	}
	return tlog.TreeHash(int64(size), hashes)
}

// view is a tree as far as its hashes can be read.
type view struct {
	hashes tlog.HashReader
	size   uint64
}

// leaves are the hashes of leaves from first to before end.
func (v view) leaves(first, end uint64) ([]tlog.Hash, error) {
	if first >= end {
		return nil, nil
	}
	indexes := make([]int64, 0, end-first)
	for i := first; i < end; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(i)))
	}
	return v.hashes.ReadHashes(indexes)
}

// firstDifference is the index of the first leaf that is not the same in both, or
// the lesser size.
func firstDifference(ctx context.Context, a, b view) (uint64, error) {
	size := min(a.size, b.size)
	full := size / merkle.TileWidth // tiles of leaves, each with one hash a level above
	at := uint64(0)
	for at < full {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		end := min(full, (at/merkle.TileWidth+1)*merkle.TileWidth)
		var indexes []int64
		for n := at; n < end; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(merkle.Height, int64(n)))
		}
		n, err := firstUnequal(a, b, indexes)
		if err != nil {
			return 0, err
		}
		at += uint64(n)
		if n < len(indexes) {
			break
		}
	}
	first := at * merkle.TileWidth
	end := min(size, first+merkle.TileWidth)
	x, err := a.leaves(first, end)
	if err != nil {
		return 0, err
	}
	y, err := b.leaves(first, end)
	if err != nil {
		return 0, err
	}
	for i := range x {
		if x[i] != y[i] {
			return first + uint64(i), nil
		}
	}
	return end, nil
}

func firstUnequal(a, b view, indexes []int64) (int, error) {
	x, err := a.hashes.ReadHashes(indexes)
	if err != nil {
		return 0, err
	}
	y, err := b.hashes.ReadHashes(indexes)
	if err != nil {
		return 0, err
	}
	for i := range x {
		if x[i] != y[i] {
			return i, nil
		}
	}
	return len(x), nil
}

// shift is what was done to a list of leaves at one place, told by what follows.
type shift int

const (
	replaced shift = iota
	inserted
	removed
)

// changeAt says what happened at index at, the first that differs in both.
func changeAt(was, is view, at uint64) (shift, error) {
	const look = merkle.TileWidth
	x, err := was.leaves(at, min(was.size, at+look))
	if err != nil {
		return 0, err
	}
	y, err := is.leaves(at, min(is.size, at+look))
	if err != nil {
		return 0, err
	}
	// The change is the one that leaves the longest stretch as it was.
	best, what := common(x[1:], y[1:]), replaced
	if n := common(x, y[1:]); n > best {
		best, what = n, inserted
	}
	if n := common(x[1:], y); n > best {
		what = removed
	}
	return what, nil
}

// common is for how long two lists are equal.
func common(x, y []tlog.Hash) int {
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return n
}

// difference reports the first place at which the tree is not what it was.
func (f *Follower) difference(ctx context.Context, t *tree, was, is view) error {
	at, err := firstDifference(ctx, was, is)
	if err != nil {
		return err
	}
	subject := t.source.String()
	switch {
	case at < min(was.size, is.size):
	case at < was.size: // nothing else was changed
		f.report.at(KindRemoved, at, subject, "it was there, %s, and is gone with all after it", f.was(at))
		return nil
	default:
		return nil // what differs has not been read yet
	}
	what, err := changeAt(was, is, at)
	if err != nil {
		return err
	}
	now := "an entry that cannot be read"
	if raw, err := t.entry(ctx, at); err == nil {
		now = describe(raw)
	}
	switch what {
	case inserted:
		f.report.at(KindInserted, at, subject, "%s, was put before what stood here: %s", now, f.was(at))
	case removed:
		f.report.at(KindRemoved, at, subject, "it was there, %s, and is gone; what followed it follows now", f.was(at))
	case replaced:
		f.report.at(KindReplaced, at, subject, "it was %s, and is %s", f.was(at), now)
	}
	return nil
}

// was describes an entry of the copy.
func (f *Follower) was(index uint64) string {
	raw, err := f.entry(index)
	if err != nil {
		return fmt.Sprintf("an entry that cannot be read any more (%v)", err)
	}
	return describe(raw)
}
