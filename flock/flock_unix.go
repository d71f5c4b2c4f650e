//go:build unix

package flock

import (
	"errors"
	"os"
	"syscall"
)

// Wait locks a file or folder; if another process has it, it waits.
func Wait(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }

// Try is Wait that answers ErrHeld instead of waiting.
func Try(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}
