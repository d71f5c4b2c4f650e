package client

import (
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
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir, "/dev/zero"} {
		_, opened := OpenRegular(path)
		_, token := TokenFile(path)(t.Context())
		_, cert := LoadPair(path, file)
		_, key := LoadPair(file, path)
		_, roots := readRoots(path)
		for what, err := range map[string]error{"roots": roots, "opened": opened, "token": token, "certificate": cert, "key": key} {
			if err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
				t.Errorf("%s, %s: %v", path, what, err)
			}
		}
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil { // as Kubernetes mounts secrets
		t.Fatal(err)
	}
	if token, err := ReadTokenFile(link); err != nil || token != "x" {
		t.Errorf("%q %v", token, err)
	}
}
