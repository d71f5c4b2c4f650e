package server

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// notifier tells systemd how the service stands, as sd_notify(3) does: one
// datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names.
type notifier struct{ socket string }

// The states that are told.
const (
	notifyReady     = "READY=1"
	notifyStopping  = "STOPPING=1"
	notifyReloading = "RELOADING=1"
)

// notify sends the lines. Without a NOTIFY_SOCKET it does nothing.
func (n notifier) notify(ctx context.Context, lines ...string) error {
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
