package hook_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/hook"
)

func sh(script string) hook.Program {
	return hook.Program{Argv: []string{"sh", "-c", script}, Timeout: time.Minute, Limit: 1000}
}

func TestRun(t *testing.T) {
	stdout, stderr, err := hook.Run(t.Context(), sh("echo out; echo err >&2"))
	if stdout != "out\n" || stderr != "err\n" || err != nil {
		t.Errorf("%q %q %v", stdout, stderr, err)
	}
	if _, _, err := hook.Run(t.Context(), sh("echo first >&2; echo it broke >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "it broke") {
		t.Error(err)
	}
	if _, _, err := hook.Run(t.Context(), hook.Program{Argv: []string{"/nowhere/x"}, Timeout: time.Minute}); err == nil {
		t.Error("a program that is not there")
	}
	// No shell: an argument is what it is.
	if stdout, _, err := hook.Run(t.Context(), hook.Program{Argv: []string{"echo", "$HOME;", "a b"}, Timeout: time.Minute, Limit: 100}); stdout != "$HOME; a b\n" || err != nil {
		t.Errorf("%q %v", stdout, err)
	}
}

// TestEnvironment: a hook has what it is given, and nothing of the agent's but PATH,
// HOME and LANG.
func TestEnvironment(t *testing.T) {
	t.Setenv("CERTWRIGHT_TOKEN_FILE", "secret")
	t.Setenv("HOME", "/home/x")
	p := sh("env")
	p.Env = []string{"CERTWRIGHT_NAME=web"}
	stdout, _, err := hook.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(stdout), "\n") {
		name, _, _ := strings.Cut(line, "=")
		if !slices.Contains([]string{"PATH", "HOME", "LANG", "CERTWRIGHT_NAME", "PWD", "OLDPWD", "SHLVL", "_"}, name) { // the last four are the shell's
			t.Errorf("the hook has %s", line)
		}
	}
	if !strings.Contains(stdout, "CERTWRIGHT_NAME=web\n") || !strings.Contains(stdout, "HOME=/home/x\n") {
		t.Error(stdout)
	}
}

func TestMuch(t *testing.T) {
	stdout, _, err := hook.Run(t.Context(), sh("yes | head -c 1000000"))
	if len(stdout) != 1000 || err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("%d bytes, %v", len(stdout), err)
	}
	// What it complains of may be long: that is cut, and no fault.
	if _, stderr, err := hook.Run(t.Context(), sh("yes | head -c 1000000 >&2")); len(stderr) != 1000 || err != nil {
		t.Errorf("%d bytes, %v", len(stderr), err)
	}
}

// TestTime: a hook that takes too long is killed with its children, also one that
// does not listen to SIGTERM, and one whose children hold its output.
func TestTime(t *testing.T) {
	for name, script := range map[string]string{
		"sleeps":         "echo $$ >PID; exec sleep 1000",
		"does not obey":  "trap '' TERM; echo $$ >PID; while :; do sleep 1; done",
		"has a child":    "sleep 1000 & echo $! >PID; wait",
		"deaf and child": "trap '' TERM; sleep 1000 & echo $! >PID; while :; do sleep 1; done",
	} {
		file := filepath.Join(t.TempDir(), "pid")
		p := sh(strings.ReplaceAll(script, "PID", file))
		p.Timeout = 500 * time.Millisecond
		_, _, err := hook.Run(t.Context(), p)
		if err == nil || !strings.Contains(err.Error(), "did not end within 500ms") {
			t.Errorf("%s: %v", name, err)
		}
		gone(t, name, file)
	}
	// A child that stays after a hook that has ended ends too, and is no fault.
	file := filepath.Join(t.TempDir(), "pid")
	if _, _, err := hook.Run(t.Context(), sh("sleep 1000 & echo $! >"+file)); err != nil {
		t.Error(err)
	}
	gone(t, "left behind", file)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := hook.Run(ctx, sh("sleep 1000")); err == nil {
		t.Error("run under a context that had ended")
	}
}

// TestDaemon: what leaves the hook's process group, as a daemon that it starts does, is
// not ended with it, nor at its time limit; that it holds the hook's output stops
// nobody.
func TestDaemon(t *testing.T) {
	for name, script := range map[string]string{
		"after its end": "setsid sh -c 'echo $$ >PID.new; mv PID.new PID; exec sleep 1000' & until [ -e PID ]; do sleep 0.01; done; echo said",
		"at its limit":  "setsid sh -c 'echo $$ >PID.new; mv PID.new PID; exec sleep 1000' & until [ -e PID ]; do sleep 0.01; done; echo said; exec sleep 1000",
	} {
		file := filepath.Join(t.TempDir(), "pid")
		p := sh(strings.ReplaceAll(script, "PID", file))
		limit := strings.HasSuffix(name, "limit")
		if limit {
			p.Timeout = 5 * time.Second
		}
		stdout, _, err := hook.Run(t.Context(), p)
		if limit != (err != nil && strings.Contains(err.Error(), "did not end within 5s")) || !limit && err != nil || stdout != "said\n" {
			t.Errorf("%s: %q %v", name, stdout, err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("%s: the daemon has ended: %v", name, err)
		}
	}
}

// gone wants the process of the file to end.
func gone(t *testing.T, name, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return // killed before it was written
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		// A zombie has ended; who has adopted it may be slow.
		if stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: process %d lives", name, pid)
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestJudgedEachTime: to root, a program that came or was opened to others after the
// first time is not run.
func TestJudgedEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	p := hook.Program{Argv: []string{path}, Timeout: time.Minute, Limit: 100}
	run := func(mode os.FileMode) error {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, _, err := hook.Run(t.Context(), p)
		return err
	}
	if _, _, err := hook.Run(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho \"$0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(0o755); err != nil {
		t.Error(err)
	}
	err := run(0o777)
	if refused := err != nil && strings.Contains(err.Error(), "can be changed by others than root") && !strings.Contains(err.Error(), "\n"); refused != (os.Geteuid() == 0) {
		t.Error(err)
	}
	if err := run(0o700); err != nil {
		t.Error(err)
	}
}
