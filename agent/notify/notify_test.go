package notify_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/notify"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "7"}
	n := notify.New(func(name string) string { return env[name] }, 7)
	if n.Watchdog != 2*time.Minute {
		t.Errorf("watchdog %v", n.Watchdog)
	}
	for _, lines := range [][]string{{notify.Ready, notify.Status("two\nlines")}, notify.Reloading()} {
		if err := n.Send(t.Context(), lines...); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 200)
		size, err := conn.Read(got)
		if err != nil || string(got[:size]) != strings.Join(lines, "\n") {
			t.Errorf("%q %v", got[:size], err)
		}
	}
	if lines := notify.Reloading(); len(lines) != 2 || !strings.HasPrefix(lines[1], "MONOTONIC_USEC=") || notify.Status("a\nb") != "STATUS=a b" {
		t.Error(lines)
	}
	if n := notify.New(func(name string) string { return env[name] }, 8); n.Watchdog != 0 {
		t.Error("another process's watchdog")
	}
	for _, odd := range []string{"", "x", "-1", "99999999999999999999"} {
		env["WATCHDOG_USEC"] = odd
		if n := notify.New(func(name string) string { return env[name] }, 7); n.Watchdog != 0 {
			t.Errorf("%q: %v", odd, n.Watchdog)
		}
	}
	if err := (notify.Notifier{}).Send(t.Context(), notify.Ready); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := n.Send(t.Context(), notify.Ready); err == nil {
		t.Error("nobody listens")
	}
}
