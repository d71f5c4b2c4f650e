package book_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/audittest"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/merkle/entry"
)

// TestFollow follows a real ledger as it grows, by a folder and over HTTP, closing the
// auditor in between.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	tree := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(tree)))
	defer server.Close()
	byHTTP, err := book.NewHTTP(book.HTTPConfig{URL: server.URL})
	check(t, err)
	for name, source := range map[string]book.Source{"folder": book.Folder(tree), "http": byHTTP} {
		dir := filepath.Join(t.TempDir(), "state")
		for _, more := range []int{0, 0, 1, 200, 60, 300, 256} {
			w.actions(more)
			w.issue("a.internal")
			all := w.publish(tree)
			a := w.auditor(dir, nil, source)
			want(t, w.step(a))
			if cp := a.Checkpoint(); cp.Size != uint64(len(all)) {
				t.Fatalf("%s: %d entries accepted, of %d", name, cp.Size, len(all))
			}
			check(t, a.Close())
			same(t, tree, dir)
		}
	}
}

// same compares the auditor's copy with what was published, file by file.
func same(t *testing.T, tree, dir string) {
	t.Helper()
	list := func(root string) map[string]string {
		files := map[string]string{}
		for _, top := range []string{"tile", "checkpoint"} {
			check(t, filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := os.ReadFile(path)
				rel, _ := filepath.Rel(root, path)
				files[rel] = string(data)
				return err
			}))
		}
		return files
	}
	published, copied := list(tree), list(dir)
	for name, data := range published {
		if copied[name] != data {
			t.Errorf("the copy's %s differs from what was published", name)
		}
		delete(copied, name)
	}
	for name := range copied {
		t.Errorf("the copy has %s, which is not published", name)
	}
}

// TestRewritten shows an auditor what only the holder of the log's key can make: other
// histories, properly signed. Its saved checkpoint tells.
func TestRewritten(t *testing.T) {
	other, err := audittest.Entry(entry.Action{Action: "token.created", Target: "forged"}, "local_socket:admin", time.Now())
	check(t, err)
	for _, size := range []int{5, 256, 300, 700} {
		w := newWorld(t)
		w.issue("a.internal")
		w.actions(size - len(w.raws()))
		tree := t.TempDir()
		honest := w.publish(tree)
		middle, last := len(honest)/2, len(honest)-1
		another := audittest.Replace(honest, middle, other)
		tests := []struct {
			name    string
			entries [][]byte
			want    []string
		}{
			{"same size, another root", another, []string{"fork ", "entry-replaced entry " + strconv.Itoa(middle)}},
			{"the last entry replaced", audittest.Replace(honest, last, other), []string{"fork ", "entry-replaced entry " + strconv.Itoa(last)}},
			{"an entry replaced, and more", append(slices.Clone(another), other, other), []string{"changed ", "entry-replaced entry " + strconv.Itoa(middle)}},
			{"the genesis replaced", append(audittest.Replace(honest, 0, other), other), []string{"changed ", "entry-replaced entry 0"}},
			{"a shorter tree", honest[:last], []string{"shorter ", "entry-removed entry " + strconv.Itoa(last)}},
			{"half a tree", honest[:middle], []string{"shorter ", "entry-removed entry " + strconv.Itoa(middle)}},
			{"an entry inserted", audittest.Insert(honest, middle, other), []string{"changed ", "entry-inserted entry " + strconv.Itoa(middle)}},
			{"an entry inserted before the last", audittest.Insert(honest, last, other), []string{"changed ", "entry-inserted entry " + strconv.Itoa(last)}},
			{"an entry removed", audittest.Remove(honest, middle), []string{"shorter ", "entry-removed entry " + strconv.Itoa(middle)}},
			{"an entry moved to the end", append(audittest.Remove(honest, middle), honest[middle]), []string{"fork ", "entry-removed entry " + strconv.Itoa(middle)}},
		}
		state := filepath.Join(t.TempDir(), "state")
		want(t, w.step(w.auditor(state, nil, book.Folder(tree))))
		for _, test := range tests {
			if size == 5 && test.name == "an entry moved to the end" {
				continue // in so few, it could be two that were replaced
			}
			t.Run(strconv.Itoa(size)+"/"+test.name, func(t *testing.T) {
				copied := filepath.Join(t.TempDir(), "state")
				check(t, os.CopyFS(copied, os.DirFS(state)))
				shown := t.TempDir()
				w.show(shown, test.entries)
				a := w.auditor(copied, nil, book.Folder(shown))
				want(t, w.step(a), test.want...)
				if a.Checkpoint().Size != uint64(len(honest)) {
					t.Error("the auditor took the other history")
				}
				kept, err := os.ReadDir(filepath.Join(copied, "evidence"))
				if err != nil || len(kept) != 2 {
					t.Errorf("evidence: %d checkpoints are kept (%v), not the 2 that contradict each other", len(kept), err)
				}
				want(t, w.step(a), test.want...) // it says so again, as long as it is so
				check(t, a.Close())
				same(t, tree, copied)
				written, err := os.ReadFile(filepath.Join(copied, "findings.jsonl"))
				if err != nil || strings.Count(string(written), "\n") != 2*len(test.want) {
					t.Errorf("the findings are not kept: %q %v", written, err)
				}
			})
		}
	}
}

// TestBadSource serves what is not in the signed tree, or not signed.
func TestBadSource(t *testing.T) {
	w := newWorld(t)
	w.issue("a.internal")
	w.actions(300)
	tree := t.TempDir()
	all := w.publish(tree)
	flip := func(name string, at int) func(dir string) {
		return func(dir string) {
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			check(t, err)
			data[(at+len(data))%len(data)] ^= 1
			check(t, os.WriteFile(path, data, 0o600))
		}
	}
	width := strconv.Itoa(len(all) - 256)
	for name, test := range map[string]struct {
		change func(dir string)
		want   string
	}{
		"entry":          {flip("tile/entries/000", 100), "served "},
		"last entry":     {flip("tile/entries/001.p/"+width, -1), "served "},
		"leaf tile":      {flip("tile/0/000", 77), "served "},
		"edge tile":      {flip("tile/0/001.p/"+width, 3), "served "},
		"upper tile":     {flip("tile/1/000.p/1", 3), "served "},
		"length of one":  {flip("tile/entries/000", 0), "served "},
		"signature":      {flip("checkpoint", -10), "forged "},
		"size":           {flip("checkpoint", len(origin)+2), "forged "},
		"truncated note": {func(dir string) { check(t, os.Truncate(filepath.Join(dir, "checkpoint"), 40)) }, "forged "},
		"truncated tile": {func(dir string) { check(t, os.Truncate(filepath.Join(dir, "tile/0/000"), 320)) }, "served "},
		"huge note": {func(dir string) {
			check(t, os.WriteFile(filepath.Join(dir, "checkpoint"), make([]byte, book.MaxCheckpoint), 0o600))
		}, "forged "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tree")
			check(t, os.CopyFS(dir, os.DirFS(tree)))
			test.change(dir)
			a := w.auditor(t.TempDir(), nil, book.Folder(dir))
			want(t, w.step(a), test.want)
		})
	}
}

// TestInterrupted has a source end in the middle; the auditor goes on where it was, and
// does not take another history meanwhile.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.actions(900)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	all := w.publish(tree)
	lost := filepath.Join(tree, "tile/entries/002")
	data, err := os.ReadFile(lost)
	check(t, err)
	check(t, os.Remove(lost))
	a := w.auditor(state, nil, book.Folder(tree))
	if err := a.Step(t.Context()); err == nil || len(a.found) > 0 {
		t.Fatalf("a bundle is missing: %v %v", err, a.found)
	}
	check(t, a.Close())
	other := t.TempDir()
	w.show(other, audittest.Replace(all, 100, all[101]))
	a = w.auditor(state, nil, book.Folder(other))
	want(t, w.step(a), "fork ")
	check(t, a.Close())
	check(t, os.WriteFile(lost, data, 0o600))
	a = w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	check(t, a.Close())
	same(t, tree, state)
}

// TestCopyGone takes files out of the auditor's copy: they come back, and it is said.
func TestCopyGone(t *testing.T) {
	w := newWorld(t)
	w.actions(900)
	tree, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	w.publish(tree)
	first := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(first))
	if len(first.noticed) > 0 {
		t.Errorf("a new copy: %q", first.noticed)
	}
	check(t, first.Close())
	for _, gone := range []string{"tile", "checkpoint", "tile/entries/001", "tile/0/000", "tile/1", "tile/entries/003.p"} {
		check(t, os.RemoveAll(filepath.Join(state, gone)))
		a := w.auditor(state, nil, book.Folder(tree))
		want(t, w.step(a))
		if len(a.noticed) != 1 || !strings.Contains(a.noticed[0], gone) {
			t.Errorf("%s is gone: %q", gone, a.noticed)
		}
		if want(t, w.step(a)); len(a.noticed) > 0 {
			t.Errorf("%s is there again: %q", gone, a.noticed)
		}
		check(t, a.Close())
		same(t, tree, state)
	}
	// While the ledger grows, and with a source that has nothing more than checkpoints.
	check(t, os.RemoveAll(filepath.Join(state, "tile")))
	w.actions(300)
	w.publish(tree)
	aside := filepath.Join(t.TempDir(), "entries")
	check(t, os.Rename(filepath.Join(tree, "tile/entries"), aside))
	a := w.auditor(state, nil, book.Folder(tree))
	if err := a.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "files of the copy") {
		t.Errorf("nothing to fetch from: %v", err)
	}
	check(t, os.Rename(aside, filepath.Join(tree, "tile/entries")))
	if want(t, w.step(a)); len(a.noticed) != 1 {
		t.Errorf("it grew: %q", a.noticed)
	}
	check(t, a.Close())
	same(t, tree, state)
}

// TestWrongKey shows a ledger of another key, and opens a folder with another key.
func TestWrongKey(t *testing.T) {
	w, stranger := newWorld(t), newWorld(t)
	tree, state := t.TempDir(), t.TempDir()
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	check(t, a.Close())
	foreign := t.TempDir()
	stranger.publish(foreign)
	a = w.auditor(state, nil, book.Folder(foreign))
	want(t, w.step(a), "forged ")
	check(t, a.Close())
	_, err := book.OpenFollower(book.Config{Source: book.Folder(foreign), Keys: []book.Key{stranger.vkey}, Dir: state})
	if err == nil || !strings.Contains(err.Error(), "is this the key") {
		t.Errorf("the folder opened with another key: %v", err)
	}
}

// TestDamagedState damages the auditor's memory.
func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	w.issue("a.internal")
	tree, state := t.TempDir(), t.TempDir()
	w.publish(tree)
	a := w.auditor(state, nil, book.Folder(tree))
	want(t, w.step(a))
	if _, err := book.OpenFollower(book.Config{Source: book.Folder(tree), Keys: []book.Key{w.vkey}, Dir: state}); err == nil {
		t.Error("two auditors in one folder")
	}
	check(t, a.Close())
	for name, change := range map[string]func(dir string){
		"cut":        func(dir string) { check(t, os.Truncate(filepath.Join(dir, "state.json"), 60)) },
		"intents":    func(dir string) { check(t, os.Truncate(filepath.Join(dir, "intents"), 10)) },
		"version":    func(dir string) { edit(t, dir, `"version": 1`, `"version": 2`) },
		"unknown":    func(dir string) { edit(t, dir, `"epoch"`, `"apoch"`) },
		"edge":       func(dir string) { edit(t, dir, `"edge": "AAAAAAAAAA`, `"edge": "AAAAAAAAAB`) },
		"checkpoint": func(dir string) { edit(t, dir, origin+`\n`, "another"+`\n`) },
	} {
		copied := filepath.Join(t.TempDir(), "state")
		check(t, os.CopyFS(copied, os.DirFS(state)))
		change(copied)
		f, err := book.OpenFollower(book.Config{Source: book.Folder(tree), Keys: []book.Key{w.vkey}, Dir: copied})
		if err == nil {
			t.Errorf("%s: the folder opened", name)
			_ = f.Close()
		}
	}
}

func edit(t *testing.T, dir, old, with string) {
	t.Helper()
	path := filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	check(t, err)
	if !strings.Contains(string(data), old) {
		t.Fatalf("state.json has no %q: %s", old, data)
	}
	check(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, with, 1)), 0o600))
}
