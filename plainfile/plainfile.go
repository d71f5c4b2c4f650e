// Package plainfile reads the files that people, configurations and flags name. A pipe
// or a device in the place of a file may never end, to open one may last for ever, and
// to open some devices does something: what is no regular file is refused unopened.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrNotRegular is what is not read, because it is no file.
var ErrNotRegular = errors.New("is not a regular file")

// ErrTooLarge is a file that has more than the reader takes.
var ErrTooLarge = errors.New("is too large")

// Open opens a file to read it. It is looked at before, and again when it is open: the
// name may lead elsewhere by then. Links are followed. The error is an *fs.PathError,
// as os.Open's, or wraps ErrNotRegular and names the path.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer does not hold it up
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Read is the content of a file of at most so many octets; more is ErrTooLarge.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s %w: at most %d octets are read", path, ErrTooLarge, most)
	}
	return data, nil
}

func notRegular(path string) error { return fmt.Errorf("%s %w", path, ErrNotRegular) }
