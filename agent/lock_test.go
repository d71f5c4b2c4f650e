package agent

import (
	"log/slog"
	"os"
	"path/filepath"
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
	if running, known := Running(c.State); !running || !known {
		t.Error("it runs")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if running, known := Running(c.State); running || !known {
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
	if running, known := Running(c.State); running || !known {
		t.Error("nobody runs")
	}
	b, err := Open(Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if running, known := Running(c.State); !running || !known {
		t.Error("it runs again")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
