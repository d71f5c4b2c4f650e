package agent

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutRecordLocks runs what on a thread for which the kernel answers fcntl's locks of
// open files with an error, as a file system without them does; flock goes on.
func withoutRecordLocks(errno unix.Errno, what func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and the filter with it
		const number, command = 0, 24
		if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil {
			done <- errors.New("no_new_privs")
			return
		}
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FCNTL, Jf: 4},
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: command},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.F_OFD_SETLK, Jt: 1},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.F_OFD_GETLK, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			done <- fmt.Errorf("seccomp: %w", err)
			return
		}
		done <- what()
	}()
	return <-done
}

// TestNoRecordLocks: an agent starts where there is flock and no record lock, says so, and
// nobody is told that it does not run; a second one is kept out as ever.
func TestNoRecordLocks(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL} {
		h := newHostile(t)
		c := h.file(t, "")
		var log bytes.Buffer
		o := Options{Config: c, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		var a *Agent
		err := withoutRecordLocks(errno, func() (err error) {
			a, err = Open(o)
			return err
		})
		if err != nil {
			t.Fatalf("%v: %v", errno, err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "agent status cannot tell whether this agent runs") {
			t.Errorf("%v: %s", errno, log.String())
		}
		look := func() error {
			if running, unknown := Running(c.State); running || unknown == nil {
				return fmt.Errorf("running %v, and that is known", running)
			}
			return nil
		}
		if err := errors.Join(look(), withoutRecordLocks(errno, look)); err != nil {
			t.Errorf("%v: %v", errno, err)
		}
		if b, err := Open(o); !IsRunning(err) {
			t.Errorf("%v: a second agent: %v %v", errno, b, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		// Where there are locks again, all is as usual.
		b, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if running, unknown := Running(c.State); !running || unknown != nil {
			t.Errorf("%v: with locks: running %v, %v", errno, running, unknown)
		}
		if err := withoutRecordLocks(errno, look); err != nil {
			t.Errorf("%v: it cannot be looked: %v", errno, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLockFails: another error than that there are no locks is one.
func TestLockFails(t *testing.T) {
	c := newHostile(t).file(t, "")
	err := withoutRecordLocks(unix.EIO, func() error {
		_, err := Open(Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
		return err
	})
	if !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(c.State, "."+runningFile+"*")); err != nil || len(left) > 0 {
		t.Errorf("%q %v", left, err)
	}
}
