package server

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/certwright/certwright/problem"
)

// explainDisk says in one line what to do about a disk that takes no writes.
// Other errors, and those that say it already, stay as they are.
func explainDisk(err error) error {
	var known *problem.Problem
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return &problem.Problem{
			Kind: problem.Unavailable, Reason: "DISK_FULL", Detail: fmt.Sprintf("the disk is full: %v", err),
			Help: "free space on it, then start the server again", Err: err,
		}
	case errors.Is(err, syscall.EROFS):
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "DISK_READ_ONLY", Detail: fmt.Sprintf("the disk is read-only: %v", err),
			Help: "mount it writable, or name another folder with --data", Err: err,
		}
	}
	return err
}
