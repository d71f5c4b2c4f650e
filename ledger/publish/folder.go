package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/plainfile"
)

// Folder is a source: the folder that an export has written.
type Folder string

// File implements Source. Not there: fs.ErrNotExist.
func (f Folder) File(_ context.Context, path string) ([]byte, error) {
	if path != layout.Checkpoint {
		if _, err := layout.ParsePath(path); err != nil {
			return nil, err
		}
	}
	return readFile(filepath.Join(string(f), filepath.FromSlash(path)), limit(path))
}

// readFile reads a file of at most so many octets.
func readFile(name string, most int64) ([]byte, error) {
	data, err := plainfile.Read(name, most)
	if errors.Is(err, plainfile.ErrTooLarge) {
		return nil, fmt.Errorf("%s has more than %d octets: it is not what its name says", name, most)
	}
	return data, err
}

// writer writes the files of an export. Each appears whole or not at all; durable
// they are after sync.
type writer struct {
	dir     string
	written []string // paths
	folders []string
}

func (w *writer) put(path string, data []byte) error {
	name := filepath.Join(w.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	temporary := name + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, name); err != nil {
		return err
	}
	w.written = append(w.written, name)
	for folder := filepath.Dir(name); !slices.Contains(w.folders, folder); folder = filepath.Dir(folder) {
		w.folders = append(w.folders, folder)
		if folder == filepath.Clean(w.dir) {
			break
		}
	}
	return nil
}

// sync makes what was written durable.
func (w *writer) sync() error {
	for _, name := range append(w.written, w.folders...) {
		if err := syncFile(name); err != nil {
			return err
		}
	}
	w.written, w.folders = nil, nil
	return nil
}

func syncFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
