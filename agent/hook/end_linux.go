package hook

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// finish waits for the end of a program and ends what it has left behind.
func finish(cmd *exec.Cmd) error {
	ended(cmd.Process.Pid)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return cmd.Wait()
}

// ended waits for the end of a process and leaves it as it is: while nobody has
// reaped it, its number, and that of its group, is nobody else's.
func ended(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
