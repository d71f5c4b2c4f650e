package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/plainfile"
)

// TestPassphraseFile: it is its owner's alone, and a file: a pipe would hold the start up
// for ever.
func TestPassphraseFile(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("secret\n"), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	read := func(path string) (string, error) {
		c := Config{}
		c.Keys.PassphraseFile = path
		text, err := c.Passphrase()()
		return string(text), err
	}
	if text, err := read(file); err != nil || text != "secret" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := read(pipe); !errors.Is(err, plainfile.ErrNotRegular) || !strings.HasPrefix(err.Error(), "keys.passphrase_file: ") {
		t.Error(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := read(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
}
