package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/certwright/certwright/problem"
)

// unstarted gives the exit code to an error of a server that did not start, so
// that a service manager knows whether to try again: a key that is missing, a
// passphrase that is wrong, a data folder of another mode want a human (6). A port
// in use and a full disk may be otherwise in a minute (7, else 1).
func unstarted(err error) error {
	var known *problem.Problem
	var errno syscall.Errno
	var at *fs.PathError
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &at) && errors.Is(err, fs.ErrNotExist):
		return failf(exitConflict, "%s is missing, and the server does not start without it; put it back from a backup, or certwright config show tells which file is looked for", at.Path)
	case errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		return err
	}
	return failf(exitConflict, "%w", err)
}
