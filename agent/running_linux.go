package agent

import "golang.org/x/sys/unix"

// The lock on the running file is of the open file, not of the process.
const (
	setLock = unix.F_OFD_SETLK
	getLock = unix.F_OFD_GETLK
)

// lockNamesNobody: who has the lock is not told, and need not be: it takes a file that
// is open for writing.
const lockNamesNobody = true
