package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/certwright/certwright/problem"
)

const reasonRunning = "AGENT_RUNNING"

// takeLock locks a file that two agents must not share, and writes who has it.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o644) //nolint:gosec // "agent status" of anybody looks at it
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("state folder: lock: %w", err)
		}
		return nil, &problem.Problem{
			Kind: problem.Conflict, Reason: reasonRunning, Value: path,
			Detail: fmt.Sprintf("an agent with this state folder is running (process %s)", strings.TrimSpace(string(who))),
			Help:   "it renews by itself; stop it first, or use another state folder",
		}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("state folder: %w", err)
	}
	return f, nil
}

// Running tells whether an agent has the lock of a state folder.
func Running(state string) bool {
	f, err := os.Open(state + "/lock")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
