//go:build unix && !linux

package agent

import "golang.org/x/sys/unix"

// The lock on the running file is of the process: it does not see its own, and to close
// the file anywhere in it would end the lock. Running is asked by other processes only.
const (
	setLock = unix.F_SETLK
	getLock = unix.F_GETLK
)

// lockNamesNobody is false: the lock tells its process, which must be the one that the
// file names, as flock on a file that is only read looks the same.
const lockNamesNobody = false
