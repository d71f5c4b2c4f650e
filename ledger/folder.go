package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle/entry"
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
}

// OpenFolder reads the checkpoint of a copy and checks it. It must be of the ledger
// with this first origin; verifierKey is that of any of its epochs.
func OpenFolder(dir, first, verifierKey string) (*Folder, error) {
	signed, err := readLimited(filepath.Join(dir, "checkpoint"), maxCheckpoint)
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
	return &Folder{Checkpoint: cp, epoch: epoch, dir: dir}, nil
}

// Entry is the raw entry at index, below the checkpoint's size.
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
		f.n, f.bundle = n, bundle
	}
	return f.bundle[index-n<<tileHeight], nil
}

// read reads a bundle: the one of that width, or the full one.
func (f *Folder) read(n uint64, width int) ([][]byte, error) {
	path := filepath.Join(f.dir, filepath.FromSlash(bundlePath(n, width)))
	data, err := readLimited(path, width*(2+entry.MaxSize))
	if errors.Is(err, fs.ErrNotExist) && width < 1<<tileHeight {
		path = filepath.Join(f.dir, filepath.FromSlash(bundlePath(n, 1<<tileHeight)))
		data, err = readLimited(path, (1<<tileHeight)*(2+entry.MaxSize))
	}
	if err != nil {
		return nil, fmt.Errorf("entries from %d on: %w", n<<tileHeight, err)
	}
	bundle, err := parseBundle(data, width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bundle, nil
}

// bundlePath is C2SP tlog-tiles' path of an entry bundle.
func bundlePath(n uint64, width int) string {
	t := tlog.Tile{H: tileHeight, L: -1, N: int64(n), W: width}
	return "tile/entries/" + strings.TrimPrefix(t.Path(), "tile/"+strconv.Itoa(tileHeight)+"/data/")
}

// parseBundle reads the first of a bundle's entries: opaque entry<0..2^16-1> each.
func parseBundle(data []byte, count int) ([][]byte, error) {
	s := cryptobyte.String(data)
	out := make([][]byte, 0, count)
	for len(out) < count {
		var raw cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&raw) {
			return nil, fmt.Errorf("it is cut: it has %d entries, not %d", len(out), count)
		}
		out = append(out, raw)
	}
	if count == 1<<tileHeight && !s.Empty() {
		return nil, errors.New("it has more than its entries")
	}
	return out, nil
}

// readLimited reads a file of at most so many octets.
func readLimited(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is longer than %d octets", path, most)
	}
	return data, err
}
