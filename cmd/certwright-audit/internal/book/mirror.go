package book

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
)

// mirror is the copy of the ledger in the auditor's folder, in the form in which it
// is published.
type mirror struct {
	dir   string
	dirty map[string]bool // folders with new files
	stale []func() error  // takes away what has been written anew in another width
}

func newMirror(dir string) *mirror { return &mirror{dir: dir, dirty: map[string]bool{}} }

// write puts a file in its place. It is durable after flush.
func (m *mirror) write(name string, data []byte) error {
	path := filepath.Join(m.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	m.touched(path)
	return replace(path, data)
}

// touched notes the folders that a file stands in.
func (m *mirror) touched(path string) {
	for at := filepath.Dir(path); len(at) >= len(m.dir) && !m.dirty[at]; at = filepath.Dir(at) {
		m.dirty[at] = true
	}
}

// flush makes what was written durable.
func (m *mirror) flush() error {
	var failed []error
	for dir := range m.dirty {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	clear(m.dirty)
	return errors.Join(failed...)
}

// partial writes the tiles of the right edge, and takes away those that are
// narrower.
func (m *mirror) partial(edge *merkle.Edge) error {
	for level := 0; edge.Size()>>(merkle.Height*level) > 0; level++ {
		n, hashes := edge.Partial(level)
		if len(hashes) == 0 {
			continue
		}
		name := tilePath(level, n, len(hashes)/merkle.HashSize)
		if err := m.write(name, hashes); err != nil {
			return err
		}
		m.narrow(name)
	}
	return nil
}

// narrow takes away the partial files beside the one that is there now, once the
// state has been saved that needs it.
func (m *mirror) narrow(name string) {
	path := filepath.Join(m.dir, filepath.FromSlash(name))
	m.stale = append(m.stale, func() error {
		files, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, file := range files {
			if file.Name() != filepath.Base(path) {
				if err := os.Remove(filepath.Join(filepath.Dir(path), file.Name())); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// full takes away the partial files of what is full now, in the same way.
func (m *mirror) full(name string) {
	path := filepath.Join(m.dir, filepath.FromSlash(name)) + ".p"
	m.stale = append(m.stale, func() error { return os.RemoveAll(path) })
}

// tidy takes away what is stale.
func (m *mirror) tidy() error {
	var failed []error
	for _, remove := range m.stale {
		failed = append(failed, remove())
	}
	m.stale = nil
	return errors.Join(failed...)
}

// hashes reads hashes of the tree that has been copied, whose right edge is edge.
func (m *mirror) hashes(edge *merkle.Edge) tlog.HashReader {
	tiles := map[string][]byte{}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(merkle.Height, index)
			if uint64(t.N) >= edge.Size()>>(merkle.Height*(t.L+1)) {
				on, err := edge.ReadHashes([]int64{index})
				if err != nil {
					return nil, err
				}
				out[i] = on[0]
				continue
			}
			name := tilePath(t.L, uint64(t.N), merkle.TileWidth)
			if tiles[name] == nil {
				if len(tiles) >= maxTiles {
					clear(tiles)
				}
				data, err := os.ReadFile(filepath.Join(m.dir, filepath.FromSlash(name)))
				if err != nil {
					return nil, err
				}
				if len(data) != merkle.TileWidth*merkle.HashSize {
					return nil, fmt.Errorf("%s in %s has %d octets", name, m.dir, len(data))
				}
				tiles[name] = data
			}
			full := tlog.Tile{H: merkle.Height, L: t.L, N: t.N, W: merkle.TileWidth}
			hash, err := tlog.HashFromTile(full, tiles[name], index)
			if err != nil {
				return nil, err
			}
			out[i] = hash
		}
		return out, nil
	})
}

// has tells whether the hash is one of the list.
func has(list [][]byte, hash [32]byte) bool {
	return slices.ContainsFunc(list, func(each []byte) bool { return string(each) == string(hash[:]) })
}
