package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/client/steady"
)

// maxStaged is the size of a staged file that can be copied: keys and certificates are small.
const maxStaged = 64 << 20

// fileSet is a few files of one folder that appear together: each is written under
// a temporary name with mode 0600 and synced, and publish gives all of them their
// names, or leaves what was there as it was. The folder is opened once: who else may
// write there leads nothing elsewhere.
type fileSet struct {
	dir    string
	force  bool   // take the place of files that are there
	flag   string // that says the folder; "" for --out
	root   *os.Root
	staged []stagedFile
}

// stagedFile is a file by its names in the folder.
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

// stage writes a file under a temporary name: in the place of that which is reserved,
// if there is one.
func (s *fileSet) stage(name string, content []byte) error { return s.stageAs(name, content, 0o600) }

// stagePublic is stage of a file that everybody may read.
func (s *fileSet) stagePublic(name string, content []byte) error {
	return s.stageAs(name, content, 0o644)
}

func (s *fileSet) stageAs(name string, content []byte, mode fs.FileMode) error {
	if s.root == nil {
		root, err := steady.Open(s.dir)
		if err != nil {
			return fmt.Errorf("cannot write into %s: %w", s.dir, err)
		}
		s.root = root
	}
	temporary := ".certwright-" + rand.Text()
	if err := steady.Create(s.root, temporary, steady.Plain(content, mode)); err != nil {
		_ = s.root.Remove(temporary)
		return fmt.Errorf("cannot write into %s: %w", s.dir, err)
	}
	for i := range s.staged {
		if s.staged[i].final == name {
			reserved := s.staged[i].temporary
			s.staged[i].temporary = temporary
			return s.root.Remove(reserved)
		}
	}
	s.staged = append(s.staged, stagedFile{temporary: temporary, final: name})
	return nil
}

// fill writes, syncs and closes a file.
func fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// publish gives the staged files their names.
func (s *fileSet) publish() error {
	if len(s.staged) == 0 {
		return nil
	}
	for i := range s.staged {
		if err := s.place(&s.staged[i]); err != nil {
			s.undo(i)
			return fmt.Errorf("cannot write %s: %w", filepath.Join(s.dir, s.staged[i].final), err)
		}
	}
	for _, file := range s.staged {
		if file.old != "" {
			_ = s.root.Remove(file.old)
		}
	}
	err := steady.Sync(s.root)
	s.staged = nil
	s.discard()
	return err
}

func (s *fileSet) place(file *stagedFile) error {
	if !s.force { // Link, unlike Rename, never replaces a file that came meanwhile
		if err := s.root.Link(file.temporary, file.final); err == nil || errors.Is(err, fs.ErrExist) {
			return errors.Join(err, s.root.Remove(file.temporary))
		}
		return s.copyNew(file) // a file system without links
	}
	old := file.temporary + ".old"
	if err := s.root.Rename(file.final, old); err == nil {
		file.old = old
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.root.Rename(file.temporary, file.final)
}

// copyNew gives a staged file its name by a new file of its content, which replaces none.
func (s *fileSet) copyNew(file *stagedFile) error {
	data, info, err := steady.Read(s.root, file.temporary, maxStaged)
	if err != nil {
		return err
	}
	f, err := s.root.OpenFile(file.final, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(info.Mode().Perm()), fill(f, data)); err != nil {
		_ = s.root.Remove(file.final) // only begun
		return err
	}
	return s.root.Remove(file.temporary)
}

// undo takes back the first n files and what place number n began.
func (s *fileSet) undo(n int) {
	for i := n; i >= 0; i-- {
		if i < n {
			_ = s.root.Remove(s.staged[i].final)
		}
		if s.staged[i].old != "" {
			_ = s.root.Rename(s.staged[i].old, s.staged[i].final)
		}
	}
}

// discard removes what is staged and was not published.
func (s *fileSet) discard() {
	if s.root == nil {
		return
	}
	for _, file := range s.staged {
		_ = s.root.Remove(file.temporary)
	}
	_ = s.root.Close()
	s.root, s.staged = nil, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(steady.SyncFolder(d), d.Close())
}
