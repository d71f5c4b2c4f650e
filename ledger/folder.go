package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/plainfile"
)

// maxCheckpoint is the largest checkpoint file, with signatures of many witnesses.
const maxCheckpoint = 1 << 20

// Folder is a copy of the ledger as C2SP tlog-tiles lays it out: "checkpoint" and
// the entry bundles "tile/entries/<N>[.p/<W>]". Nothing in it is trusted.
type Folder struct {
	Checkpoint Checkpoint
	epoch      uint64
	dir        string
	n          uint64 // of the bundle that was read last
	bundle     [][]byte
	sums       map[uint64][sha256.Size]byte // of the bundles that were read before
}

// OpenFolder reads the checkpoint of a copy and checks it. It must be of the ledger
// with this first origin; verifierKey is that of any of its epochs.
func OpenFolder(dir, first, verifierKey string) (*Folder, error) {
	signed, err := plainfile.Read(filepath.Join(dir, layout.Checkpoint), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no copy of a ledger: it has no file \"checkpoint\"", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	cp, epoch, ok := anyEpoch(signed, first, verifierKey)
	if !ok {
		return nil, fmt.Errorf("the checkpoint in %s was not signed by this ledger's key for the origin %q", dir, first)
	}
	return &Folder{Checkpoint: cp, epoch: epoch, dir: dir, sums: map[uint64][sha256.Size]byte{}}, nil
}

// Entry is the raw entry at index, below the checkpoint's size: always the same, or an
// error if the file has changed since it was read first.
func (f *Folder) Entry(index uint64) ([]byte, error) {
	if index >= f.Checkpoint.Size {
		return nil, fmt.Errorf("the copy has no entry %d: it has %d", index, f.Checkpoint.Size)
	}
	n := index >> tileHeight
	if f.bundle == nil || f.n != n {
		bundle, err := f.read(n, width(n<<tileHeight, f.Checkpoint.Size))
		if err != nil {
			return nil, err
		}
		if err := f.same(n, bundle); err != nil {
			return nil, err
		}
		f.n, f.bundle = n, bundle
	}
	return f.bundle[index-n<<tileHeight], nil
}

// same refuses a bundle that is not as it was when it was read before.
func (f *Folder) same(n uint64, bundle [][]byte) error {
	h := sha256.New()
	for _, raw := range bundle {
		leaf := tlog.RecordHash(raw)
		h.Write(leaf[:])
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	if before, ok := f.sums[n]; ok && before != sum {
		return fmt.Errorf("entries from %d on: the copy in %s has changed since it was checked", n*merkle.TileWidth, f.dir)
	}
	f.sums[n] = sum
	return nil
}

// read reads a bundle: the one of that width, or the full one.
func (f *Folder) read(n uint64, width int) ([][]byte, error) {
	bundle, err := f.file(n, width)
	if errors.Is(err, fs.ErrNotExist) && width < merkle.TileWidth {
		bundle, err = f.file(n, merkle.TileWidth)
	}
	if err != nil {
		return nil, fmt.Errorf("entries from %d on: %w", n*merkle.TileWidth, err)
	}
	return bundle, nil
}

func (f *Folder) file(n uint64, width int) ([][]byte, error) {
	path := filepath.Join(f.dir, filepath.FromSlash(layout.Tile{Level: layout.Entries, N: n, Width: width}.Path()))
	data, err := plainfile.Read(path, layout.MaxBundle)
	if err != nil {
		return nil, err
	}
	bundle, err := layout.ParseBundle(data, width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bundle, nil
}
