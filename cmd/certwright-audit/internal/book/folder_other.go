//go:build !unix

package book

import (
	"os"
	"path/filepath"
)

// lock opens the file; where the system has no advisory locks, one auditor for each
// folder is the admin's care.
func lock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
}

// syncDir does nothing: Windows refuses to flush the handle of a folder.
func syncDir(string) error { return nil }
