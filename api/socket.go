package api

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/certwright/certwright/auth"
)

// socketInfo is what the handshake of the admin socket finds out.
type socketInfo struct {
	credentials.CommonAuthInfo
	peer auth.Peer
}

// AuthType implements credentials.AuthInfo.
func (socketInfo) AuthType() string { return "peercred" }

// socketCredentials reads the peer's credentials when a connection is made.
type socketCredentials struct{}

// SocketCredentials are the transport credentials of the admin socket, of both
// its ends: the server learns from the kernel which process connected. A
// connection that is not over a Unix socket is refused.
func SocketCredentials() credentials.TransportCredentials { return socketCredentials{} }

// ServerHandshake implements credentials.TransportCredentials.
func (socketCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	peer, err := peerOf(conn)
	if err != nil {
		return nil, nil, err
	}
	return conn, socketInfo{CommonAuthInfo: local(), peer: peer}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (socketCredentials) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	peer, err := peerOf(conn)
	if err != nil {
		return nil, nil, err
	}
	return conn, socketInfo{CommonAuthInfo: local(), peer: peer}, nil
}

func local() credentials.CommonAuthInfo {
	return credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
}

// Info implements credentials.TransportCredentials.
func (socketCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone implements credentials.TransportCredentials.
func (c socketCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (socketCredentials) OverrideServerName(string) error { return nil }
