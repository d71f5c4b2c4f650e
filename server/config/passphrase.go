package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/plainfile"
)

// maxPassphrase is the longest passphrase, in bytes.
const maxPassphrase = 4096

// Passphrase gives the passphrase of the key files; nil if none is configured.
func (c *Config) Passphrase() func() ([]byte, error) {
	switch {
	case c.Keys.PassphraseFile != "":
		path := c.Path(c.Keys.PassphraseFile)
		return func() ([]byte, error) { return readPassphrase(path, "keys.passphrase_file") }
	case c.Keys.Credential != "":
		return func() ([]byte, error) {
			dir := os.Getenv("CREDENTIALS_DIRECTORY") // set by systemd for the unit's processes
			if dir == "" {
				return nil, fmt.Errorf("keys.credential: %s: there is no CREDENTIALS_DIRECTORY: start the server as a systemd unit with LoadCredential=%s:FILE",
					c.Keys.Credential, c.Keys.Credential)
			}
			return readPassphrase(filepath.Join(dir, c.Keys.Credential), "keys.credential")
		}
	}
	return nil
}

// readPassphrase reads a file that only its owner can read, without one trailing
// newline.
func readPassphrase(path, key string) ([]byte, error) {
	f, err := plainfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: %s can be read by others (mode %#o): chmod 600 %s", key, path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPassphrase+2))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || len(text) > maxPassphrase {
		return nil, fmt.Errorf("%s: %s has %d bytes: 1 to %d are allowed", key, path, len(text), maxPassphrase)
	}
	return text, nil
}
