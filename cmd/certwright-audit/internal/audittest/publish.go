// Package audittest publishes ledgers for tests of the auditor: honest ones, and such
// as only somebody who has the log's key in hand can make.
package audittest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
)

// Publish writes a ledger of these entries into a folder, in place of what is there:
// checkpoint, tiles and bundles of C2SP tlog-tiles. It returns the checkpoint, signed
// with the key.
func Publish(dir string, key note.Signer, entries [][]byte) ([]byte, error) {
	for _, name := range []string{"tile", "checkpoint"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	var edge merkle.Edge
	for first := 0; first < len(entries); first += merkle.TileWidth {
		some := entries[first:min(len(entries), first+merkle.TileWidth)]
		var bundle []byte
		for _, raw := range some {
			bundle = append(append(bundle, byte(len(raw)>>8), byte(len(raw))), raw...)
			full, err := edge.Append(tlog.RecordHash(raw))
			if err != nil {
				return nil, err
			}
			for _, tile := range full {
				if err := write(dir, path(fmt.Sprint(tile.Level), tile.N, merkle.TileWidth), tile.Hashes); err != nil {
					return nil, err
				}
			}
		}
		if err := write(dir, path("entries", uint64(first/merkle.TileWidth), len(some)), bundle); err != nil {
			return nil, err
		}
	}
	for level := 0; edge.Size()>>(merkle.Height*level) > 0; level++ {
		if n, hashes := edge.Partial(level); len(hashes) > 0 {
			if err := write(dir, path(fmt.Sprint(level), n, len(hashes)/merkle.HashSize), hashes); err != nil {
				return nil, err
			}
		}
	}
	root, err := edge.Root()
	if err != nil {
		return nil, err
	}
	signed, err := Sign(key, edge.Size(), root)
	if err != nil {
		return nil, err
	}
	return signed, write(dir, "checkpoint", signed)
}

// Sign makes a checkpoint.
func Sign(key note.Signer, size uint64, root [32]byte) ([]byte, error) {
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", key.Name(), size, tlog.Hash(root))}, key)
}

func path(level string, n uint64, width int) string {
	t := tlog.Tile{H: merkle.Height, N: int64(n), W: width}
	return "tile/" + level + "/" + strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/0/", merkle.Height))
}

func write(dir, name string, data []byte) error {
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // a public ledger of a test
		return err
	}
	return os.WriteFile(file, data, 0o644) //nolint:gosec // as above
}

// Replace puts another entry in the place of one.
func Replace(entries [][]byte, at int, with []byte) [][]byte {
	out := slices.Clone(entries)
	out[at] = with
	return out
}

// Insert puts an entry before one.
func Insert(entries [][]byte, at int, what []byte) [][]byte {
	return slices.Insert(slices.Clone(entries), at, what)
}

// Remove takes one entry away.
func Remove(entries [][]byte, at int) [][]byte {
	return slices.Delete(slices.Clone(entries), at, at+1)
}

// Entry makes an entry of a body.
func Entry(body entry.Body, actor string, at time.Time) ([]byte, error) {
	d, err := body.Draft(actor)
	if err != nil {
		return nil, err
	}
	return d.Marshal(at)
}
