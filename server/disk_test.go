package server

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/certwright/certwright/problem"
)

func TestExplainDisk(t *testing.T) {
	for code, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "DISK_FULL", syscall.EDQUOT: "DISK_FULL", syscall.EFBIG: "DISK_FULL", syscall.EROFS: "DISK_READ_ONLY",
	} {
		err := explainDisk(fmt.Errorf("last-seen file: %w", &fs.PathError{Op: "write", Path: "/x", Err: code}))
		var p *problem.Problem
		if !errors.As(err, &p) || p.Reason != want || p.Help == "" || !errors.Is(err, code) {
			t.Errorf("%v: %v", code, err)
		}
		if again := explainDisk(err); again != err { //nolint:errorlint // the very same
			t.Errorf("explained twice: %v", again)
		}
	}
	if err := explainDisk(fs.ErrPermission); !errors.Is(err, fs.ErrPermission) || explainDisk(nil) != nil {
		t.Errorf("another error became %v", err)
	}
}
