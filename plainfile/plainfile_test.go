package plainfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNotRegular: what is no file is refused at once; a pipe nobody writes to would
// hold up for ever.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	pipe, link, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink(pipe, link), os.WriteFile(file, []byte("text"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir, "/dev/zero"} {
		_, opened := Open(path)
		_, read := Read(path, 10)
		for _, err := range []error{opened, read} {
			if !errors.Is(err, ErrNotRegular) || !strings.HasPrefix(err.Error(), path+" is not a regular file") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if err := errors.Join(os.Remove(link), os.Symlink(file, link)); err != nil { // as Kubernetes mounts secrets
		t.Fatal(err)
	}
	if text, err := Read(link, 4); err != nil || string(text) != "text" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := Read(link, 3); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "at most 3 octets") {
		t.Error(err)
	}
	var at *fs.PathError
	if _, err := Read(filepath.Join(dir, "none"), 3); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &at) {
		t.Error(err)
	}
}
