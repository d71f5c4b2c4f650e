package api

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/auth"
)

// peerOf asks the kernel who connected (SO_PEERCRED, unix(7)): what it answers
// was fixed when the connection was made.
func peerOf(conn net.Conn) (auth.Peer, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return auth.Peer{}, errors.New("not a Unix socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return auth.Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return auth.Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	if credErr != nil {
		return auth.Peer{}, fmt.Errorf("peer credentials: %w", credErr)
	}
	return auth.Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}
