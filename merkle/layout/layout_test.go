package layout_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/layout"
)

func TestPaths(t *testing.T) {
	for path, want := range map[string]layout.Tile{
		"tile/0/000":                              {Level: 0, N: 0, Width: 256},
		"tile/0/001.p/1":                          {Level: 0, N: 1, Width: 1},
		"tile/3/999.p/255":                        {Level: 3, N: 999, Width: 255},
		"tile/63/x001/000":                        {Level: 63, N: 1000, Width: 256},
		"tile/entries/x001/x234/067":              {Level: layout.Entries, N: 1234067, Width: 256},
		"tile/entries/x001/067.p/112":             {Level: layout.Entries, N: 1067, Width: 112},
		"tile/0/x002/x305/x843/x009/x213/693/951": {},
	} {
		got, err := layout.ParsePath(path)
		if want == (layout.Tile{}) {
			if err == nil {
				t.Errorf("%s is read as %+v", path, got)
			}
			continue
		}
		if err != nil || got != want || want.Path() != path {
			t.Errorf("%s: %+v (%v), back %s", path, got, err, want.Path())
		}
	}
}

func TestPathsRefused(t *testing.T) {
	for _, path := range []string{
		"", "checkpoint", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/000", "tile/0/000/000",
		"tile/0/x001", "tile/0/001/x000", "tile/00/000", "tile/-1/000", "tile/+1/000", "tile/64/000", "tile/256/000", "tile/8/0/000", "tile/data/000", "tile/entries/",
		"tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/1/", "tile/0/000.p", "tile/0/.p/1", "tile/0/000.p/1.p/1",
		"/tile/0/000", "tile//0/000", "tile/0/../0/000", "tile/0/x-01/000", "tile/0/xx01/000", "tile/0/ 00", "tile/0/000\x00", "tile/0/٠٠٠",
		"tile/0/" + strings.Repeat("x999/", 7) + "999", strings.Repeat("x", 1<<16), "tile/entries/x" + strings.Repeat("9", 60),
	} {
		if got, err := layout.ParsePath(path); err == nil {
			t.Errorf("%.80q is read as %+v", path, got)
		}
	}
}

// TestPathsAreTlogs compares with the standard's other writer.
func TestPathsAreTlogs(t *testing.T) {
	for _, tile := range []layout.Tile{{0, 0, 256}, {0, 999, 3}, {1, 1000, 256}, {2, 123456789, 7}, {layout.Entries, 1234067, 12}} {
		want := tlog.Tile{H: 8, L: tile.Level, N: int64(tile.N), W: tile.Width}.Path()
		want = strings.Replace(strings.Replace(want, "tile/8/", "tile/", 1), "/data/", "/entries/", 1)
		if got := tile.Path(); got != want {
			t.Errorf("%+v is %s, tlog says %s", tile, got, want)
		}
	}
}

// TestTilesOfATree asks for every tile that tlog says a tree has: those are in it,
// and none that is one hash wider.
func TestTilesOfATree(t *testing.T) {
	for _, size := range []uint64{0, 1, 255, 256, 257, 511, 512, 65535, 65536, 65537, 70000} {
		partial := map[layout.Tile]bool{}
		for _, tile := range layout.Partials(size) {
			partial[tile] = true
		}
		for _, want := range tlog.NewTiles(merkle.Height, 0, int64(size)) {
			tile := layout.Tile{Level: want.L, N: uint64(want.N), Width: want.W}
			if !tile.In(size) {
				t.Errorf("%s is not in a tree of %d", tile.Path(), size)
			}
			if tile.Width < 256 {
				if !partial[tile] {
					t.Errorf("%s is not among the partial tiles of %d", tile.Path(), size)
				}
				delete(partial, tile)
				tile.Width++
				if tile.In(size) {
					t.Errorf("%s is in a tree of %d", tile.Path(), size)
				}
			}
		}
		for tile := range partial {
			if tile.Level != layout.Entries || tile.Width != int(size%256) || !tile.In(size) {
				t.Errorf("%+v is a partial tile of %d", tile, size)
			}
		}
	}
	for _, tile := range []layout.Tile{{63, 0, 1}, {8, 0, 1}, {0, 1 << 60, 256}, {layout.Entries, 1 << 53, 1}} {
		if tile.In(1 << 40) {
			t.Errorf("%+v is in a tree of 2^40", tile)
		}
	}
}

func bundle(t testing.TB, entries ...[]byte) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, e := range entries {
		if b, err = layout.AppendEntry(b, e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBundles(t *testing.T) {
	entries := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte{7}, 65535)}
	data := bundle(t, entries...)
	got, err := layout.ParseBundle(data, 3)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d entries: %v", len(got), err)
	}
	for i := range entries {
		if !bytes.Equal(got[i], entries[i]) {
			t.Errorf("entry %d differs", i)
		}
	}
	for name, bad := range map[string]struct {
		data  []byte
		width int
	}{
		"one entry fewer": {data, 4}, "one more": {data, 2}, "truncated": {data[:len(data)-1], 3}, "half a length": {data[:1], 1},
		"empty": {nil, 1}, "no width": {nil, 0}, "negative": {nil, -1}, "too wide": {data, 257}, "trailing": {append(bytes.Clone(data), 0), 3},
	} {
		if _, err := layout.ParseBundle(bad.data, bad.width); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := layout.AppendEntry(nil, make([]byte, 65536)); err == nil {
		t.Error("an entry of 65536 octets fits")
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"tile/0/000", "tile/entries/x001/x234/067.p/12", "tile/63/999.p/255", "tile/0/x000/000", "checkpoint"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := layout.ParsePath(path)
		if err != nil {
			return
		}
		if tile.Path() != path {
			t.Errorf("%q is %+v, which is %q", path, tile, tile.Path())
		}
		if tile.In(0) || strings.Contains(path, "..") || tile.Width < 1 || tile.Width > 256 || tile.Level < layout.Entries || tile.Level > 63 {
			t.Errorf("%q is %+v", path, tile)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	f.Add(bundle(f, []byte("a"), []byte("bc")), 2)
	f.Add([]byte{0, 0, 0, 1}, 2)
	f.Add([]byte(nil), 1)
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		entries, err := layout.ParseBundle(data, width)
		if err != nil {
			return
		}
		if again := bundle(t, entries...); len(entries) != width || !bytes.Equal(again, data) {
			t.Error("parse and append is not the identity")
		}
	})
}
