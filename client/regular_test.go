package client

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/certwright/certwright/plainfile"
)

// TestNotRegular: tokens, keys, certificates and roots are read from files only.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	pipe, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, token := TokenFile(pipe)(t.Context())
	_, cert := LoadPair(pipe, file)
	_, key := LoadPair(file, pipe)
	_, roots := Dial(t.Context(), Config{Server: "ca.internal", CAFile: pipe})
	for what, err := range map[string]error{"token": token, "certificate": cert, "key": key, "roots": roots} {
		if !errors.Is(err, plainfile.ErrNotRegular) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
