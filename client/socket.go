package client

import (
	"context"
	"errors"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// ErrOtherUser is what a connection fails with if OwnSocket is set and somebody else
// listens on the socket.
var ErrOtherUser = errors.New("another user listens on the socket, so it is not shown the token")

func (c *Config) dialSocket(path string, options []grpc.DialOption) (*grpc.ClientConn, error) {
	if path == "" {
		return nil, errors.New("the server unix: names no socket")
	}
	options = append(options, grpc.WithTransportCredentials(socket{insecure.NewCredentials(), c.OwnSocket}), grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	return grpc.NewClient("passthrough:///"+path, options...)
}

// socket tells gRPC that a Unix socket keeps secrets: the kernel joins its ends.
type socket struct {
	credentials.TransportCredentials
	own bool // it must be root's or our own who listens
}

// socketInfo is the security level of a socket.
type socketInfo struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (socketInfo) AuthType() string { return "socket" }

// ClientHandshake implements credentials.TransportCredentials.
func (s socket) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if s.own {
		if uid, err := listener(conn); err != nil {
			return nil, nil, err
		} else if uid != 0 && uid != os.Geteuid() {
			return nil, nil, ErrOtherUser
		}
	}
	return conn, socketInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// Info implements credentials.TransportCredentials: with that of plain text gRPC would
// send no token.
func (s socket) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "socket"}
}

// Clone implements credentials.TransportCredentials.
func (s socket) Clone() credentials.TransportCredentials {
	return socket{s.TransportCredentials.Clone(), s.own}
}
