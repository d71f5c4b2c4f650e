package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func stageAll(t *testing.T, s *fileSet, content string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := s.stage(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func listDir(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFilesAppearTogether(t *testing.T) {
	dir := t.TempDir()
	s := &fileSet{dir: dir}
	stageAll(t, s, "new", "a", "b")
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if names := listDir(t, dir); len(names) != 2 {
		t.Errorf("left behind: %q", names)
	}
}

// TestFilesComeOrNone: where the second file cannot get its name, the first goes
// back to what it was.
func TestFilesComeOrNone(t *testing.T) {
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		if force {
			if err := os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := &fileSet{dir: dir, force: force}
		stageAll(t, s, "new", "a", "c")
		s.staged[1].final = filepath.Join("b", "c") // there is no folder b
		if err := s.publish(); err == nil {
			t.Fatal("published into a folder that is not there")
		}
		s.discard()
		names := listDir(t, dir)
		if force && (len(names) != 1 || content(t, filepath.Join(dir, "a")) != "old") || !force && len(names) != 0 {
			t.Errorf("force %t: left behind %q", force, names)
		}
	}
}

func TestFilesAreNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f *failure
	if err := (&fileSet{dir: dir}).vacant("a"); !errors.As(err, &f) || f.code != exitConflict {
		t.Errorf("a file that is there: %v", err)
	}
	s := &fileSet{dir: dir} // the file came after the look
	stageAll(t, s, "new", "a")
	if err := s.publish(); err == nil || content(t, path) != "old" {
		t.Errorf("published over a file: %v, %q", err, content(t, path))
	}
	s.discard()
	s = &fileSet{dir: dir, force: true}
	stageAll(t, s, "new", "a")
	if err := errors.Join(s.vacant("a"), s.publish()); err != nil || content(t, path) != "new" {
		t.Errorf("with force: %v, %q", err, content(t, path))
	}
	if names := listDir(t, dir); len(names) != 1 {
		t.Errorf("left behind: %q", names)
	}
}

// TestFilesStayInside: who else can write in the folder, and swaps it or plants links,
// has nothing written elsewhere.
func TestFilesStayInside(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	dir := filepath.Join(top, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &fileSet{dir: dir, force: true}
	stageAll(t, s, "", "a", "b")
	swapped := errors.Join(os.Rename(dir, filepath.Join(top, "moved")), os.Symlink(outside, dir))
	planted := os.Symlink(filepath.Join(outside, "x"), filepath.Join(top, "moved", "a"))
	if err := errors.Join(swapped, planted); err != nil {
		t.Fatal(err)
	}
	stageAll(t, s, "new", "a", "b")
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	if names := listDir(t, outside); len(names) != 0 {
		t.Errorf("outside has %q", names)
	}
	if names := listDir(t, filepath.Join(top, "moved")); len(names) != 2 || content(t, filepath.Join(top, "moved", "a")) != "new" {
		t.Errorf("inside has %q", names)
	}
}

// TestCopyNew: where there are no links, too, a file that came meanwhile stays.
func TestCopyNew(t *testing.T) {
	dir := t.TempDir()
	s := &fileSet{dir: dir}
	stageAll(t, s, "new", "a", "b")
	defer s.discard()
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.copyNew(&s.staged[0]); err != nil || content(t, filepath.Join(dir, "a")) != "new" {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := s.copyNew(&s.staged[1]); !errors.Is(err, fs.ErrExist) || content(t, filepath.Join(dir, "b")) != "theirs" {
		t.Errorf("%v, %q", err, content(t, filepath.Join(dir, "b")))
	}
}
