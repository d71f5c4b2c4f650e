package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSet is a few files of one folder that appear together: each is written under
// a temporary name with mode 0600 and synced, and publish gives all of them their
// names, or leaves what was there as it was.
type fileSet struct {
	dir    string
	force  bool   // take the place of files that are there
	flag   string // that says the folder; "" for --out
	staged []stagedFile
}

type stagedFile struct {
	temporary, final string
	old              string // the file that was there, under another name; "" if there was none
}

// vacant refuses names that are taken, unless the set may take their place.
func (s *fileSet) vacant(names ...string) error {
	flag := cmp.Or(s.flag, "--out")
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			return failf(exitConflict, "%s is a folder; choose another %s", path, flag)
		case !s.force:
			return failf(exitConflict, "%s is there already; give --force to replace it, or another %s", path, flag)
		}
	}
	return nil
}

// reserve makes sure, before anything is asked for that is to be kept in them, that
// files can be made under these names.
func (s *fileSet) reserve(names ...string) error {
	if err := s.vacant(names...); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.stage(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// stage writes a file under a temporary name: that which is reserved, if there is one.
func (s *fileSet) stage(name string, content []byte) error {
	final := filepath.Join(s.dir, name)
	for _, file := range s.staged {
		if file.final == final {
			f, err := os.OpenFile(file.temporary, os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				return err
			}
			return fill(f, content)
		}
	}
	f, err := os.CreateTemp(s.dir, ".certwright-*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot write into %s: %w", s.dir, err)
	}
	s.staged = append(s.staged, stagedFile{temporary: f.Name(), final: final})
	return fill(f, content)
}

// stagePublic is stage of a file that everybody may read.
func (s *fileSet) stagePublic(name string, content []byte) error {
	if err := s.stage(name, content); err != nil {
		return err
	}
	for _, file := range s.staged {
		if file.final == filepath.Join(s.dir, name) {
			return os.Chmod(file.temporary, 0o644) //nolint:gosec // no secret, and others' programs read it
		}
	}
	return nil
}

// fill writes, syncs and closes a file.
func fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// publish gives the staged files their names.
func (s *fileSet) publish() error {
	for i := range s.staged {
		if err := s.place(&s.staged[i]); err != nil {
			s.undo(i)
			return fmt.Errorf("cannot write %s: %w", s.staged[i].final, err)
		}
	}
	for _, file := range s.staged {
		if file.old != "" {
			_ = os.Remove(file.old)
		}
	}
	s.staged = nil
	return syncDir(s.dir)
}

func (s *fileSet) place(file *stagedFile) error {
	if !s.force { // Link, unlike Rename, never replaces a file that came meanwhile
		if err := os.Link(file.temporary, file.final); err == nil || errors.Is(err, fs.ErrExist) {
			return errors.Join(err, os.Remove(file.temporary))
		}
		return os.Rename(file.temporary, file.final) // a file system without links
	}
	old := file.temporary + ".old"
	if err := os.Rename(file.final, old); err == nil {
		file.old = old
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(file.temporary, file.final)
}

// undo takes back the first n files and what place number n began.
func (s *fileSet) undo(n int) {
	for i := n; i >= 0; i-- {
		if i < n {
			_ = os.Remove(s.staged[i].final)
		}
		if s.staged[i].old != "" {
			_ = os.Rename(s.staged[i].old, s.staged[i].final)
		}
	}
}

// discard removes what is staged and was not published.
func (s *fileSet) discard() {
	for _, file := range s.staged {
		_ = os.Remove(file.temporary)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
