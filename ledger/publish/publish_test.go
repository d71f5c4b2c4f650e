package publish_test

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
)

// TestFiles reads a whole tree out of its published files: each entry hashes to
// what the tile of level 0 says, and the tiles to the signed root.
func TestFiles(t *testing.T) {
	w := newWorld(t, 1, 700)
	note, err := w.File(t.Context(), layout.Checkpoint)
	w.must(err)
	cp, err := ledger.ParseCheckpoint(note, w.log.VerifierKey())
	w.must(err)
	if cp.Size != 700 {
		t.Fatalf("a checkpoint of %d", cp.Size)
	}
	for _, each := range tlog.NewTiles(merkle.Height, 0, 700) {
		tile := layout.Tile{Level: each.L, N: uint64(each.N), Width: each.W}
		data, err := w.File(t.Context(), tile.Path())
		if err != nil || len(data) != each.W*32 {
			t.Fatalf("%s: %d octets, %v", tile.Path(), len(data), err)
		}
		if tile.Level > 0 {
			continue
		}
		tile.Level = layout.Entries
		bundle, err := w.File(t.Context(), tile.Path())
		w.must(err)
		raws, err := layout.ParseBundle(bundle, tile.Width)
		w.must(err)
		for i, raw := range raws {
			if leaf := merkle.LeafHash(raw); string(leaf[:]) != string(data[i*32:][:32]) {
				t.Errorf("entry %d of %s has another hash", i, tile.Path())
			}
		}
	}
	hashes, err := merkle.NewReader(700, cp.Root, func(level int, n uint64, width int) ([]byte, error) {
		return w.File(t.Context(), layout.Tile{Level: level, N: n, Width: width}.Path())
	})
	w.must(err)
	for _, size := range []int64{1, 255, 256, 257, 699} {
		if _, err := tlog.ProveTree(700, size, hashes); err != nil {
			t.Errorf("consistency with %d: %v", size, err)
		}
	}
}

// TestFilesRefused: nothing beyond the published checkpoint is shown, and no
// path that names no file.
func TestFilesRefused(t *testing.T) {
	w := newWorld(t, 1, 300)
	for _, path := range []string{
		"tile/0/001", "tile/0/001.p/45", "tile/entries/001", "tile/entries/001.p/45", "tile/entries/002.p/1", "tile/1/000", "tile/1/000.p/2",
		"tile/2/000.p/1", "tile/63/000.p/1", "tile/0/x999/x999/999",
		"", "tile", "latest", "checkpoint/", "tile/0/../0/000", "../lock", "tile/8/0/000", "tile/entries/0", strings.Repeat("a", 1<<12),
	} {
		if _, err := w.File(t.Context(), path); problem.KindOf(err) != problem.NotFound {
			t.Errorf("%.60q: %v", path, err)
		}
	}
	// Entries that no checkpoint covers are in the store and not published.
	tile := "tile/0/001.p/44"
	if _, err := w.File(t.Context(), tile); err != nil {
		t.Error(err)
	}
	none := publish.New(publish.Config{Store: w.store, Checkpoint: func(_ ctx) (ledger.Checkpoint, error) { return ledger.Checkpoint{}, nil }})
	for _, path := range []string{"checkpoint", "tile/0/000"} {
		if _, err := none.File(t.Context(), path); problem.KindOf(err) != problem.NotFound {
			t.Errorf("without a checkpoint, %s: %v", path, err)
		}
	}
}

// TestConsistent: of every two sizes of one ledger the older is a beginning of the
// newer; a ledger of another past is found out.
func TestConsistent(t *testing.T) {
	w, other := newWorld(t, 1, 1), newWorld(t, 1, 1)
	other.grow(1, "something else")
	var all []ledger.Checkpoint
	for _, n := range []int{0, 1, 254, 1, 1, 300, 143} {
		w.grow(n)
		all = append(all, w.checkpoint())
	}
	other.grow(int(w.checkpoint().Size) - 2)
	newest := all[len(all)-1]
	for _, cp := range all {
		if err := publish.Consistent(t.Context(), w, cp, newest); err != nil {
			t.Errorf("%d in %d: %v", cp.Size, newest.Size, err)
		}
		forged := cp
		forged.Root[3] ^= 1
		if err := publish.Consistent(t.Context(), w, forged, newest); !isOther(err) {
			t.Errorf("another root at %d: %v", cp.Size, err)
		}
	}
	if err := publish.Consistent(t.Context(), other, all[2], other.checkpoint()); !isOther(err) {
		t.Errorf("another ledger: %v", err)
	}
	if err := publish.Consistent(t.Context(), w, newest, other.checkpoint()); !isOther(err) {
		t.Errorf("the same size, another root: %v", err)
	}
	if err := publish.Consistent(t.Context(), w, newest, all[2]); err == nil || isOther(err) {
		t.Errorf("in the wrong order: %v", err)
	}
	empty := ledger.Checkpoint{Root: [32]byte{1}}
	if err := publish.Consistent(t.Context(), w, empty, newest); !isOther(err) {
		t.Errorf("an empty tree with a root: %v", err)
	}
	// A source that lies shows nothing, but is no proof of another history.
	for _, path := range []string{"tile/0/000", "tile/1/000.p/2"} {
		lies := &counting{Source: w, change: func(asked string, data []byte) []byte {
			if asked == path {
				data[0] ^= 1
			}
			return data
		}}
		if err := publish.Consistent(t.Context(), lies, all[1], newest); err == nil || isOther(err) {
			t.Errorf("%s with a wrong bit: %v", path, err)
		}
	}
	short := &counting{Source: w, change: func(_ string, data []byte) []byte { return data[:len(data)-1] }}
	if err := publish.Consistent(t.Context(), short, all[2], newest); err == nil || isOther(err) {
		t.Errorf("short tiles: %v", err)
	}
}
