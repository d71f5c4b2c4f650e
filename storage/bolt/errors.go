package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	bberrors "go.etcd.io/bbolt/errors"

	"github.com/certwright/certwright/problem"
)

var (
	errChecksum = errors.New("checksum does not agree")
	errRow      = errors.New("row cannot be read")
	errDamaged  = errors.New("database is damaged")
)

// ErrLocked says that another process has the file open.
var ErrLocked = errors.New("database is locked")

// openError says what to do about a file that does not open.
func openError(path string, err error) error {
	if errors.Is(err, bberrors.ErrTimeout) {
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "DATABASE_LOCKED",
			Detail: fmt.Sprintf("the database %s is locked by another process", path),
			Help:   "stop it, or choose another folder with --data", Err: ErrLocked,
		}
	}
	var known *problem.Problem
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("open database: %w", err)
	}
	if full := fullError(path, err); full != nil {
		return full
	}
	if errors.Is(err, syscall.EIO) {
		return &problem.Problem{
			Kind: problem.Unavailable, Reason: "DISK_ERROR", Detail: fmt.Sprintf("the disk of %s fails: %v", path, err),
			Help: "check the disk, then start the server again, or restore the file from a backup", Err: err,
		}
	}
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "DATABASE_UNREADABLE",
		Detail: fmt.Sprintf("%s is not a Certwright database, or is damaged", path),
		Help:   "check the path, or restore the file from a backup", Err: err,
	}
}

// fullError is a clear error if err says that the disk, a quota or the process's
// limit of a file's size is full, else nil.
func fullError(path string, err error) error {
	full := false
	for _, code := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt loses the chain of the error of growing its file: its text remains.
		full = full || errors.Is(err, code) || strings.Contains(err.Error(), code.Error())
	}
	if !full {
		return nil
	}
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: "DISK_FULL",
		Detail: "the disk of " + path + " is full",
		Help:   "free space on it, then start the server again", Err: err,
	}
}

// nearlyFull refuses new certificates while there is still room for the rest.
func nearlyFull(path string) error {
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: "DISK_NEARLY_FULL",
		Detail: "the disk of " + path + " is nearly full: no new certificates, revocations only",
		Help:   "free space on it",
	}
}
