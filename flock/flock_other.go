//go:build !unix

package flock

import (
	"errors"
	"os"
)

// errUnsupported: folders have no locks here, and without one two processes could write
// the same ledger.
var errUnsupported = errors.New("this system does not lock folders: the server, and what works with its files, runs on Unix only")

// Wait refuses.
func Wait(*os.File) error { return errUnsupported }

// Try refuses.
func Try(*os.File) error { return errUnsupported }
