package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper is a process that waits for a signal; as nobody if that is wanted.
func sleeper(t *testing.T, nobody bool) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// TestPIDFile: root signals for the owner of a PID file only what is his own; every
// other user signals what he may anyway.
func TestPIDFile(t *testing.T) {
	root := os.Geteuid() == 0
	file := filepath.Join(t.TempDir(), "pid")
	k := inBubble(t, &bubble{life: time.Hour}, "    reload: {signal: TERM, pid_file: "+file+"}\n").keepers[0]
	defer k.agent.Close()
	for _, test := range []struct {
		name    string
		root    bool // only root can try it
		mode    os.FileMode
		owner   int  // of the file; 0: whoever runs this
		group   int  // likewise
		process bool // nobody's
		refused string
	}{
		{name: "ours", mode: 0o644},
		{name: "ours, another's process", root: true, mode: 0o644, process: true},
		{name: "another's, his process", root: true, mode: 0o644, owner: 65534, process: true},
		{name: "another's, our process", root: true, mode: 0o600, owner: 65534, refused: "it is of user 65534, and process %d is not his"},
		{name: "a third's, another's process", root: true, mode: 0o644, owner: 65533, process: true, refused: "it is of user 65533, and process %d is not his"},
		{name: "open to all, our process", root: true, mode: 0o646, refused: "it can be written by others (0646)"},
		{name: "open to a group, our process", root: true, mode: 0o664, group: 65534, refused: "it can be written by others (0664)"},
		{name: "open to root's group, our process", mode: 0o664},
	} {
		if test.root && !root {
			continue
		}
		cmd := sleeper(t, test.process)
		if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, test.mode); err != nil {
			t.Fatal(err)
		}
		if root {
			if err := os.Chown(file, test.owner, max(test.owner, test.group)); err != nil {
				t.Fatal(err)
			}
		}
		err := k.signal()
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(test.refused, "%d", strconv.Itoa(cmd.Process.Pid))) || cmd.Process.Signal(syscall.Signal(0)) != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
			t.Errorf("%s: the process ended with %v", test.name, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	// A link may lead to the PID file of another service.
	cmd := sleeper(t, false)
	other := filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o644), os.Symlink(other, file)); err != nil {
		t.Fatal(err)
	}
	if err := k.signal(); err == nil || !strings.Contains(err.Error(), "is not a regular file") || cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Errorf("a link: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	// A process that has ended is told to nobody.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.signal(); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Error(err)
	}
}
