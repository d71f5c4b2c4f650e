package publish_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/problem"
)

type ctx = context.Context

func isOther(err error) bool { return errors.Is(err, publish.ErrOtherHistory) }

// TestExport: an export grows with the ledger, has exactly what is served, and
// fetches only what is new.
func TestExport(t *testing.T) {
	w := newWorld(t, 1, 1)
	dir := filepath.Join(t.TempDir(), "copy")
	for _, n := range []int{0, 0, 99, 156, 1, 256, 300, 1} {
		w.grow(n)
		before, err := publish.Folder(dir).File(t.Context(), "checkpoint")
		fresh := err != nil
		source := &counting{Source: w}
		got, err := w.export(source, dir)
		w.must(err)
		if got.Checkpoint.Size != w.checkpoint().Size || fresh != (got.Before == 0) {
			t.Errorf("exported %d after %d", got.Checkpoint.Size, got.Before)
		}
		for path, data := range files(t, dir) {
			served, err := w.File(t.Context(), path)
			if err != nil || string(served) != data {
				t.Errorf("after %d: %s is not what is served (%v)", got.Checkpoint.Size, path, err)
			}
		}
		for _, tile := range layout.Partials(got.Checkpoint.Size) {
			if _, err := publish.Folder(dir).File(t.Context(), tile.Path()); err != nil {
				t.Error(err)
			}
		}
		bundles := slices.DeleteFunc(source.asked, func(path string) bool { return !strings.HasPrefix(path, "tile/entries/") })
		if want := int((got.Checkpoint.Size+255)/256 - got.Before/256); len(bundles) > want || got.Before == got.Checkpoint.Size && len(bundles) > 0 {
			t.Errorf("from %d to %d: fetched %q", got.Before, got.Checkpoint.Size, bundles)
		}
		_ = before
	}
	if _, err := os.Stat(filepath.Join(dir, "tile", "0", "000.p")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("partial tiles of a full one are left: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "checkpoint"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A folder is a source like any other.
	again := filepath.Join(t.TempDir(), "again")
	_, err = w.export(publish.Folder(dir), again)
	w.must(err)
	for path, data := range files(t, again) {
		if files(t, dir)[path] != data {
			t.Errorf("%s differs in the copy's copy", path)
		}
	}
}

// TestExportGoesOn: an export that is cut off after any number of files is completed
// by the next, which fetches no bundle twice.
func TestExportGoesOn(t *testing.T) {
	w := newWorld(t, 1, 1400)
	whole := filepath.Join(t.TempDir(), "whole")
	_, err := w.export(w, whole)
	w.must(err)
	want := files(t, whole)
	for cut := 1; cut < 7; cut++ {
		dir := filepath.Join(t.TempDir(), "copy")
		if _, err := w.export(&counting{Source: w, limit: cut}, dir); !errors.Is(err, errCut) {
			t.Fatalf("cut after %d files: %v", cut, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
			t.Errorf("cut after %d files: there is a checkpoint", cut)
		}
		source := &counting{Source: w}
		_, err = w.export(source, dir)
		w.must(err)
		if got := files(t, dir); len(got) != len(want) {
			t.Errorf("cut after %d files: %d files, not %d", cut, len(got), len(want))
		}
		for path, data := range files(t, dir) {
			if want[path] != data {
				t.Errorf("cut after %d files: %s differs", cut, path)
			}
		}
		if fetched := len(source.asked); fetched != 1+6-(cut-1) {
			t.Errorf("cut after %d files: fetched %d more: %q", cut, fetched, source.asked)
		}
	}
	// What was left is damaged: it is fetched anew.
	dir := filepath.Join(t.TempDir(), "copy")
	_, _ = w.export(&counting{Source: w, limit: 4}, dir)
	name := filepath.Join(dir, "tile", "entries", "001")
	data, err := os.ReadFile(name)
	w.must(err)
	data[200] ^= 1
	w.must(os.WriteFile(name, data, 0o600))
	_, err = w.export(w, dir)
	w.must(err)
	if got := files(t, dir); got["tile/entries/001"] != want["tile/entries/001"] {
		t.Error("the damaged bundle is still there")
	}
}

// TestExportRefuses: a ledger that does not continue what the folder has, one that
// is shorter, entries that are not what was hashed, a forged checkpoint, a folder
// that is no whole export.
func TestExportRefuses(t *testing.T) {
	w, other, short := newWorld(t, 1, 300), newWorld(t, 1, 1), newWorld(t, 1, 200)
	other.grow(10, "something else")
	other.grow(600)
	dir := filepath.Join(t.TempDir(), "copy")
	_, err := w.export(w, dir)
	w.must(err)
	want := files(t, dir)
	for name, row := range map[string]struct {
		from  publish.Source
		other bool
	}{
		"another past": {other, true}, "fewer entries": {short, true},
		"a forged checkpoint": {&counting{Source: w, change: func(path string, data []byte) []byte {
			if path == "checkpoint" {
				return []byte(strings.Replace(string(data), "\n300\n", "\n301\n", 1))
			}
			return data
		}}, false},
		"a truncated checkpoint": {&counting{Source: w, change: func(_ string, data []byte) []byte { return data[:len(data)/2] }}, false},
		"no checkpoint":          {publish.Folder(t.TempDir()), false},
	} {
		if _, err := w.export(row.from, dir); err == nil || isOther(err) != row.other {
			t.Errorf("%s: %v", name, err)
		}
		for path, data := range files(t, dir) {
			if want[path] != data {
				t.Errorf("%s: %s has changed", name, path)
			}
		}
	}
	w.grow(300)
	for name, change := range map[string]func(path string, data []byte) []byte{
		"an old entry":  func(path string, data []byte) []byte { return flipIn(path, "tile/entries/001", data, 30) },
		"a new entry":   func(path string, data []byte) []byte { return flipIn(path, "tile/entries/002.p/88", data, 30) },
		"a cut bundle":  func(path string, data []byte) []byte { return cutIn(path, "tile/entries/002.p/88", data) },
		"a long bundle": func(path string, data []byte) []byte { return longIn(path, "tile/entries/002.p/88", data) },
	} {
		copied := filepath.Join(t.TempDir(), "copy")
		_, err := w.export(publish.Folder(dir), copied)
		w.must(err)
		if _, err := w.export(&counting{Source: w, change: change}, copied); err == nil {
			t.Errorf("%s: exported", name)
		}
		if cp := files(t, copied)["checkpoint"]; cp != want["checkpoint"] {
			t.Errorf("%s: the checkpoint has changed", name)
		}
	}
	_, err = w.export(w, dir)
	w.must(err)
	// A folder whose own files do not fit its checkpoint is left alone.
	w.must(os.WriteFile(filepath.Join(dir, "tile", "0", "002.p", "88"), make([]byte, 88*32), 0o600))
	w.grow(1)
	if _, err := w.export(w, dir); err == nil || !strings.Contains(err.Error(), "is not a whole export") {
		t.Errorf("a damaged folder: %v", err)
	}
}

func flipIn(path, at string, data []byte, octet int) []byte {
	if path == at {
		data[octet] ^= 1
	}
	return data
}

func cutIn(path, at string, data []byte) []byte {
	if path == at {
		return data[:len(data)-3]
	}
	return data
}

func longIn(path, at string, data []byte) []byte {
	if path == at {
		return append(data, 0, 0)
	}
	return data
}

// TestOneExportAtATime: a second export into the same folder is refused while one is
// under way.
func TestOneExportAtATime(t *testing.T) {
	w := newWorld(t, 1, 300)
	dir := filepath.Join(t.TempDir(), "copy")
	_, err := w.export(&counting{Source: w, change: func(path string, data []byte) []byte {
		if path == "tile/entries/000" {
			if _, err := w.export(w, dir); problem.KindOf(err) != problem.Unavailable {
				t.Errorf("the second export: %v", err)
			}
		}
		return data
	}}, dir)
	w.must(err)
}
