package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLockIsOurs: no other user can open a lock, one from before is shut, and to look
// whether an agent runs takes no lock.
func TestLockIsOurs(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	lock, sign := filepath.Join(c.State, "lock"), filepath.Join(c.State, runningFile)
	for _, folder := range []string{c.State, c.Certificates[0].Folder} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a := open(t, c)
	obtain(t, a)
	for path, want := range map[string]os.FileMode{lock: 0o600, filepath.Join(c.Certificates[0].Folder, folderLock): 0o600, sign: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	if err := os.Chmod(lock, 0); err != nil { // Running must not need it
		t.Fatal(err)
	}
	if running, unknown := Running(c.State); !running || unknown != nil {
		t.Error("it runs")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if running, unknown := Running(c.State); running || unknown != nil {
		t.Error("it has ended")
	}
	if err := os.Chmod(lock, 0o600); err != nil {
		t.Fatal(err)
	}
	// What others can do to the sign keeps no agent from starting, and is none.
	f, err := os.Open(sign)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if running, unknown := Running(c.State); running || unknown != nil {
		t.Error("nobody runs")
	}
	b, err := Open(Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if running, unknown := Running(c.State); !running || unknown != nil {
		t.Error("it runs again")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestRunningWaitsForNothing: whatever the folder's owner puts in the place of the sign,
// who looks gets an answer.
func TestRunningWaitsForNothing(t *testing.T) {
	state := t.TempDir()
	sign := filepath.Join(state, runningFile)
	if err := syscall.Mkfifo(sign, 0o644); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(sign, os.O_RDWR, 0) // who reads would wait for it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	if running, unknown := Running(state); running || unknown == nil || !strings.Contains(unknown.Error(), "is not the agent's file") {
		t.Error(running, unknown)
	}
	if err := errors.Join(os.Remove(sign), os.Symlink("elsewhere", sign)); err != nil {
		t.Fatal(err)
	}
	if running, unknown := Running(state); running || unknown == nil {
		t.Error(running, unknown)
	}
}
