package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/notify"
)

// TestLock: two agents do not share a state folder.
func TestLock(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	if running, unknown := Running(c.State); running || unknown != nil {
		t.Error("nobody runs")
	}
	a := open(t, c)
	if _, err := Open(Options{Config: c, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "is running (process ") {
		t.Error(err)
	}
	if running, unknown := Running(c.State); !running || unknown != nil {
		t.Error("it runs")
	}
	a.Close()
	if running, unknown := Running(c.State); running || unknown != nil {
		t.Error("it has ended")
	}
}

// TestFolderLock: two agents with states of their own do not share a certificate's
// folder: the second one refuses, also when it reads such a file while it runs.
func TestFolderLock(t *testing.T) {
	h := newHostile(t)
	c, second := h.file(t, ""), h.file(t, "")
	own := second.Certificates[0].Folder
	a := open(t, c)
	obtain(t, a)
	theirs := c.Certificates[0].Folder
	second.Certificates[0].Folder = theirs
	want := fmt.Sprintf("another agent keeps the folder %s: process \"%d\" with the state folder %q", theirs, os.Getpid(), c.State)
	_, err := Open(Options{Config: second, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !inUse(err) || IsRunning(err) {
		t.Errorf("%v; want %s", err, want)
	}
	apart := *second
	apart.Certificates = append([]config.Certificate(nil), second.Certificates...)
	apart.Certificates[0].Folder = own
	b := open(t, &apart)
	if err := b.take(second); !inUse(err) {
		t.Error(err)
	}
	obtain(t, b)
	a.Close()
	if err := b.take(second); err != nil {
		t.Error(err)
	}
	// What it has left is free; a link there is no lock, and what it leads to stays.
	c.Certificates[0].Folder = own
	open(t, c).Close()
	victim := filepath.Join(t.TempDir(), "victim")
	lock := filepath.Join(own, ".lock")
	if err := errors.Join(os.WriteFile(victim, []byte("theirs"), 0o600), os.Remove(lock), os.Symlink(victim, lock)); err != nil {
		t.Fatal(err)
	}
	a = open(t, c)
	if r := obtain(t, a); r.Err == nil || !strings.Contains(r.Err.Error(), lock+" is there and is not the agent's") {
		t.Error(r.Err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "theirs" {
		t.Errorf("%q %v", text, err)
	}
}

// TestStatus: the file says how it stands, also to who reads it later.
func TestStatus(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, ""))
	if _, err := ReadStatus(a.config.State, time.Now()); !os.IsNotExist(err) {
		t.Error(err)
	}
	r := obtain(t, a)
	for at, want := range map[time.Time]string{time.Now(): Valid, time.Now().Add(2 * time.Hour): Expired} {
		s, err := ReadStatus(a.config.State, at)
		if err != nil || len(s.Certificates) != 1 || s.Certificates[0].State != want || s.Certificates[0].Serial != r.Serial || s.PID != os.Getpid() || s.Version != "test" {
			t.Errorf("%+v %v", s, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(a.config.State, "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil || strings.Contains(string(text), "PRIVATE") {
		t.Error(err)
	}
	for name, want := range map[string]os.FileMode{"status.json": 0o644, "records": 0o700, "pending": 0o700, "acme": 0o700, "records/web.json": 0o600} {
		if info, err := os.Stat(filepath.Join(a.config.State, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	// A record that is damaged is begun anew; a certificate that is damaged is replaced.
	a.Close()
	for _, file := range []string{a.keepers[0].recordFile(), filepath.Join(a.keepers[0].config.Folder, "current", ".held.pem")} {
		if err := os.WriteFile(file, []byte("{\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a = open(t, a.config)
	if results, err := a.Obtain(t.Context(), nil, false); err != nil || !results[0].Obtained {
		t.Errorf("%+v %v", results, err)
	}
	pair(t, a)
}

// TestMetricsAndSystemd: the agent serves its metrics and tells systemd that it is
// ready, how it stands, that it lives, and that it ends.
func TestMetricsAndSystemd(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	c.Metrics = "127.0.0.1:0"
	socket := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "100000"}
	ready := make(chan string, 1)
	a, err := Open(Options{
		Config: c, Version: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Notify: notify.New(func(n string) string { return env[n] }, 1),
		Ready: func(metrics string) { ready <- metrics }, Load: func() (*config.Config, error) { return c, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	address := <-ready
	next := func(want string) {
		t.Helper()
		for { // what is told in between is told often
			text := make([]byte, 4096)
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := conn.Read(text)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if strings.Contains(string(text[:n]), want) {
				return
			}
		}
	}
	next("READY=1\nSTATUS=1 certificates")
	next("1 valid; next attempt ")
	next("WATCHDOG=1")
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	for _, want := range []string{`certwright_agent_certificate_state{name="web",state="valid"} 1`, `certwright_agent_failures{name="web"} 0`, "certwright_agent_certificate_not_after_seconds", "certwright_agent_next_attempt_seconds", `certwright_agent_hook_failing{name="web"} 0`} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: no %s in\n%s", err, want, text)
		}
	}
	if !a.living(time.Now()) || a.living(time.Now().Add(2*time.Hour)) {
		t.Error("a keeper that is silent for an hour lives, or one that is not does not")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	next("STOPPING=1")
}

// TestOwners: files are given to a user by root alone.
func TestOwners(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "    file_owner: nobody\n    mode: 0640\n")
	if os.Geteuid() != 0 {
		if _, err := Open(Options{Config: c, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "only root") {
			t.Error(err)
		}
		return
	}
	a := open(t, c)
	if r := obtain(t, a); r.Err != nil || !a.keepers[0].folder.Fits() || a.keepers[0].folder.UID <= 0 {
		t.Errorf("%+v %+v", r, a.keepers[0].folder)
	}
	for _, more := range []string{"    file_owner: no-such-user-here\n", "    file_group: no-such-group-here\n"} {
		if _, err := Open(Options{Config: h.file(t, more), Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "there is no") {
			t.Error(err)
		}
	}
}
