//go:build unix && !linux

package hook

import (
	"os/exec"
	"syscall"
)

// finish waits for the end of a program and ends what it has left behind. There is no
// Waitid here that leaves the program unreaped: its group is ended after Wait, which what
// holds the program's output can delay by the grace, and if nothing is left of it, its
// number could by then be another group's.
func finish(cmd *exec.Cmd) error {
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return err
}
