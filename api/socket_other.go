//go:build !linux

package api

import (
	"errors"
	"net"

	"github.com/certwright/certwright/auth"
)

// peerOf: the admin socket is served on Linux only.
func peerOf(net.Conn) (auth.Peer, error) {
	return auth.Peer{}, errors.New("peer credentials of a socket are read on Linux only")
}
