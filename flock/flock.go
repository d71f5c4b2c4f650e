// Package flock locks open files and folders against other processes, until they are
// closed or the process ends.
package flock

import "errors"

// ErrHeld is that another process has the lock.
var ErrHeld = errors.New("another process has locked it")
