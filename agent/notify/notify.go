// Package notify tells systemd how the agent stands, as sd_notify(3) does: one
// datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names.
package notify

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The states that are told.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Notifier knows where to tell. The zero value tells nobody.
type Notifier struct {
	socket string
	// Watchdog is how often Alive is expected; 0: it is not.
	Watchdog time.Duration
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of an environment.
func New(getenv func(string) string, pid int) Notifier {
	n := Notifier{socket: getenv("NOTIFY_SOCKET")}
	if text := getenv("WATCHDOG_PID"); text != "" && text != strconv.Itoa(pid) {
		return n
	}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && usec < int64(24*time.Hour/time.Microsecond) {
		n.Watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

// Send tells the lines. Without a socket it does nothing.
func (n Notifier) Send(ctx context.Context, lines ...string) error {
	if n.socket == "" {
		return nil
	}
	// Go, like systemd, writes an abstract address with "@" for the leading NUL.
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// Status is a line for "systemctl status".
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// Reloading are the lines at the begin of a reload; Ready ends it.
func Reloading() []string {
	var now unix.Timespec
	lines := []string{"RELOADING=1"}
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		lines = append(lines, "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
	}
	return lines
}
