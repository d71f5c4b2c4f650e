package agent

import "golang.org/x/sys/unix"

// The lock on the running file is of the open file, not of the process.
const (
	setLock = unix.F_OFD_SETLK
	getLock = unix.F_OFD_GETLK
)
