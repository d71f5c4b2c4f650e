// Package layout is the published form of a ledger (C2SP tlog-tiles): the paths of
// its files, the same over HTTP and in a folder, and the bundles of entries. It is
// pure: what it is given and what it returns are names and bytes.
package layout

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/certwright/certwright/merkle"
)

const (
	// Checkpoint is the path of the newest checkpoint: a signed note.
	Checkpoint = "checkpoint"
	// Entries is the Level of a tile that holds entries.
	Entries = -1
	// MaxLevel is the highest level of tiles that a path can name.
	MaxLevel = 63
	// maxPath is longer than the path of any tile.
	maxPath = 64
)

// Tile names one file: the hashes of tile N at Level, or with Level Entries the
// bundle of the 256 entries from 256·N on.
type Tile struct {
	Level int
	N     uint64
	Width int // 1 to 256 hashes or entries; less than 256: a partial tile
}

// Path is "tile/<L>/<N>[.p/<W>]" or "tile/entries/<N>[.p/<W>]": N in groups of
// three digits, all but the last after an x (1234067 is x001/x234/067).
func (t Tile) Path() string {
	level := "entries"
	if t.Level != Entries {
		level = strconv.Itoa(t.Level)
	}
	number := fmt.Sprintf("%03d", t.N%1000)
	for n := t.N / 1000; n > 0; n /= 1000 {
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	path := "tile/" + level + "/" + number
	if t.Width < merkle.TileWidth {
		path += ".p/" + strconv.Itoa(t.Width)
	}
	return path
}

// ParsePath reads what Path writes, and nothing else: each tile has one path.
func ParsePath(path string) (Tile, error) {
	refuse := func(why string) (Tile, error) {
		return Tile{}, fmt.Errorf("%.64q is no tile's path: %s", path, why)
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > maxPath {
		return refuse("it is not tile/LEVEL/NUMBER")
	}
	level, rest, _ := strings.Cut(rest, "/")
	t := Tile{Level: Entries, Width: merkle.TileWidth}
	if level != "entries" {
		n, err := strconv.ParseUint(level, 10, 8)
		if err != nil || n > MaxLevel {
			return refuse("its level is not a number from 0 to 63, or \"entries\"")
		}
		t.Level = int(n)
	}
	number, width, partial := strings.Cut(rest, ".p/")
	if partial {
		n, err := strconv.ParseUint(width, 10, 8)
		if err != nil || n == 0 {
			return refuse("its width is not a number from 1 to 255")
		}
		t.Width = int(n)
	}
	for group := range strings.SplitSeq(number, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(group, "x"), 10, 16)
		if err != nil || n > 999 {
			return refuse("its number is not in groups of three digits")
		}
		if t.N > (merkle.MaxSize-n)/1000 {
			return refuse("its number is too large")
		}
		t.N = t.N*1000 + n
	}
	if t.Path() != path {
		return refuse("numbers are not written so: 5 is 005, 1234067 is x001/x234/067")
	}
	return t, nil
}

// In tells whether a tree of size leaves is wide enough for the tile.
func (t Tile) In(size uint64) bool {
	shift := merkle.Height * max(t.Level, 0)
	if shift >= 64 || size > merkle.MaxSize || t.N > merkle.MaxSize/merkle.TileWidth {
		return false
	}
	return t.N*merkle.TileWidth+uint64(t.Width) <= size>>shift
}

// Partials are the partial tiles of a tree of size leaves, those of hashes lowest
// level first, then the bundle of entries. There may be none.
func Partials(size uint64) []Tile {
	var all []Tile
	for level, rest := 0, size; rest > 0; level, rest = level+1, rest>>merkle.Height {
		if width := int(rest % merkle.TileWidth); width > 0 {
			all = append(all, Tile{Level: level, N: rest >> merkle.Height, Width: width})
		}
	}
	if width := int(size % merkle.TileWidth); width > 0 {
		all = append(all, Tile{Level: Entries, N: size >> merkle.Height, Width: width})
	}
	return all
}
