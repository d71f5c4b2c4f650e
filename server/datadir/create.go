package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/flock"
)

// unfinished is the folder, inside the data folder, in which a new one is built.
// It needs no room beside the data folder, which may be a mount point or the one
// folder that a service can write to.
const unfinished = ".new"

// Create makes the data folder dir, which may be there if it is empty. build
// fills the folder unfinished inside it; then Create writes the format file there,
// makes all durable and moves it up entry by entry, the format file last. Whenever
// the process dies, dir is no data folder yet: the next Create throws away what
// was not built to the end and finishes what was. Of two processes that
// create the same folder one waits for the other; then its Create returns
// fs.ErrExist. If build fails, the folders that Create has made are gone again.
func Create(ctx context.Context, dir string, format Format, build func(ctx context.Context, temp string) error) error {
	unmake, err := MakeFolder(dir)
	if err != nil {
		return explain(dir, err)
	}
	_ = os.Chmod(dir, 0o700) //nolint:gosec // a folder that was there; Read refuses what cannot be mended
	unlock, err := lockFolder(dir)
	if err != nil {
		return explain(dir, err)
	}
	defer unlock()
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		if err == nil {
			err = fmt.Errorf("data folder %s: %w", dir, fs.ErrExist)
		}
		return err
	}
	temp := filepath.Join(dir, unfinished)
	if _, err := os.Stat(filepath.Join(temp, FormatFile)); errors.Is(err, fs.ErrNotExist) {
		if err := fill(ctx, temp, format, build); err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
			unmake()
			return err
		}
	}
	if err := moveUp(temp, dir); err != nil {
		return explain(dir, err)
	}
	return nil
}

// MakeFolder makes a folder of mode 0700, with those above it that are not there.
// unmake removes what was made, as far as it is empty.
func MakeFolder(dir string) (unmake func(), err error) {
	var made []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	return func() {
		for _, each := range made {
			_ = os.Remove(each)
		}
	}, os.MkdirAll(dir, 0o700)
}

// Built tells whether dir holds a data folder that was built to the end, but not
// moved up: Create will finish it.
func Built(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, unfinished, FormatFile))
	_, whole := os.Stat(filepath.Join(dir, FormatFile))
	return err == nil && whole != nil
}

func fill(ctx context.Context, temp string, format Format, build func(context.Context, string) error) error {
	if err := os.RemoveAll(temp); err != nil { // of one that was killed
		return explain(filepath.Dir(temp), err)
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		return explain(filepath.Dir(temp), err)
	}
	if err := build(ctx, temp); err != nil {
		return err
	}
	for _, each := range []string{filepath.Join(temp, KeyDir), temp} {
		if err := syncFolder(each); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Under another name first: a format file that is there is whole.
	part := filepath.Join(temp, FormatFile+".part")
	if err := WriteFile(part, format.Marshal()); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(temp, FormatFile)); err != nil {
		return err
	}
	return syncFolder(temp)
}

func moveUp(temp, dir string) error {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, each := range entries {
		if each.Name() == FormatFile {
			continue
		}
		if err := os.Rename(filepath.Join(temp, each.Name()), filepath.Join(dir, each.Name())); err != nil {
			return err
		}
	}
	if err := syncFolder(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(temp, FormatFile), filepath.Join(dir, FormatFile)); err != nil {
		return err
	}
	if err := os.Remove(temp); err != nil {
		return err
	}
	return syncFolder(dir)
}

// lockFolder waits until no other process holds the folder.
func lockFolder(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Wait(d); err != nil {
		_ = d.Close()
		return nil, err
	}
	return func() { _ = d.Close() }, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// WriteFile writes a new file with mode 0600, durably. It never overwrites.
func WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
