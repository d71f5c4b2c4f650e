package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/client/steady"
)

// maxState is the largest state file that is read, in bytes.
const maxState = 16 << 20

// WriteJSON puts a value under a name, durably and at once: a reader sees the old file
// or the new one.
func WriteJSON(file string, value any, mode fs.FileMode) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	root, err := steady.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return steady.Replace(root, filepath.Base(file), steady.Plain(append(data, '\n'), mode))
}

// ReadJSON reads a value; found is false if there is no file.
func ReadJSON(file string, into any) (found bool, err error) {
	return readJSON(file, into, steady.Read)
}

// ReadSecretJSON is ReadJSON of a file with a key: one that others could have written or
// read is an error.
func ReadSecretJSON(file string, into any) (found bool, err error) {
	return readJSON(file, into, steady.ReadSecret)
}

func readJSON(file string, into any, read func(*os.Root, string, int64) ([]byte, fs.FileInfo, error)) (found bool, err error) {
	root, err := steady.Open(filepath.Dir(file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }()
	data, _, err := read(root, filepath.Base(file), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	return true, nil
}

// Remove removes a file durably; that it is not there is no error.
func Remove(file string) error {
	root, err := steady.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(filepath.Base(file)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return steady.Sync(root)
}
