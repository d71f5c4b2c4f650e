package book

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
)

// checkEvery is how often a Follower looks whether its copy is whole; each look sees
// whether its newest files are there.
const checkEvery = time.Hour

// copied is one file of the copy.
type copied struct {
	level int // -1: a bundle of entries
	n     uint64
	width int
}

func (c copied) path() string {
	if c.level < 0 {
		return bundlePath(c.n, c.width)
	}
	return tilePath(c.level, c.n, c.width)
}

// files are those that a copy of the tree has: the full ones, or those of the right
// edge.
func files(size uint64, edge bool, each func(copied) error) error {
	for level := -1; ; level++ {
		count := size >> (merkle.Height * max(level, 0)) // entries, or hashes of the level
		if count == 0 {
			return nil
		}
		full, rest := count/merkle.TileWidth, int(count%merkle.TileWidth)
		if edge && rest > 0 {
			if err := each(copied{level, full, rest}); err != nil {
				return err
			}
		}
		for n := uint64(0); n < full && !edge; n++ {
			if err := each(copied{level, n, merkle.TileWidth}); err != nil {
				return err
			}
		}
	}
}

// has tells whether the copy has a file; of a tile the length is known.
func (m *mirror) has(c copied) bool {
	info, err := os.Stat(filepath.Join(m.dir, filepath.FromSlash(c.path())))
	return err == nil && info.Mode().IsRegular() && (c.level < 0 && info.Size() > 0 || info.Size() == int64(c.width*merkle.HashSize))
}

// mend fetches again what is gone of the copy: it is what a ledger may have to be
// recovered from. What has not been read yet is not looked for.
func (f *Follower) mend(ctx context.Context, t *tree) error {
	size := f.state.edge.Size()
	whole := size == t.Size // otherwise what follows writes the right edge anew
	var gone []copied
	look := func(c copied) error {
		if !f.mirror.has(c) {
			gone = append(gone, c)
		}
		return ctx.Err()
	}
	note := filepath.Join(f.config.Dir, "checkpoint")
	var unsigned bool
	if whole && size > 0 {
		have, err := os.ReadFile(note)
		unsigned = err != nil || !bytes.Equal(have, f.state.cp.Note)
		if err := files(size, true, look); err != nil {
			return err
		}
	}
	if unsigned || len(gone) > 0 || time.Since(f.checked) >= checkEvery {
		if err := files(size, false, look); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		if err := f.fetch(ctx, t, gone); err != nil {
			return fmt.Errorf("%d files of the copy in %s are gone, and are not fetched again yet: %w", len(gone), f.config.Dir, err)
		}
	}
	if unsigned {
		if err := WriteFile(note, f.state.cp.Note); err != nil {
			return err
		}
		f.notice("checkpoint", "it was gone from the copy, or another one: it is there again")
	}
	if len(gone) > 0 {
		f.notice(gone[0].path(), "%d files of the copy were gone, and were fetched again; somebody or something takes files out of %s", len(gone), f.config.Dir)
	}
	f.checked = time.Now()
	return nil
}

// fetch takes files of the copy from the signed tree again, each proven.
func (f *Follower) fetch(ctx context.Context, t *tree, gone []copied) error {
	hashes, err := t.hashes(ctx)
	if err != nil {
		return err
	}
	for _, c := range gone {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := c.read(ctx, t, hashes)
		if err != nil {
			return err
		}
		if err := f.mirror.write(c.path(), data); err != nil {
			return err
		}
	}
	return f.mirror.flush()
}

// read is the file's content, from the signed tree.
func (c copied) read(ctx context.Context, t *tree, hashes tlog.HashReader) ([]byte, error) {
	if c.level < 0 {
		entries, _, err := t.proven(ctx, hashes, c.n)
		if err != nil {
			return nil, err
		}
		return joinBundle(entries)
	}
	indexes := make([]int64, c.width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(merkle.Height*c.level, int64(c.n)*merkle.TileWidth+int64(i))
	}
	all, err := hashes.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, c.width*merkle.HashSize)
	for _, hash := range all {
		data = append(data, hash[:]...)
	}
	return data, nil
}
