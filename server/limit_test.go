package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// listening is a limited listener on loopback whose connections are accepted.
func listening(t *testing.T, limits connLimits) *limited {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitConnections(inner, limits)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l
}

// connect connects from a loopback address.
func connect(t *testing.T, l *limited, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// closed tells whether the server closes a connection within a time.
func closed(t *testing.T, conn net.Conn, within time.Duration) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestAddressLimit: one address cannot hold all connections.
func TestAddressLimit(t *testing.T) {
	l := listening(t, connLimits{most: 10, perAddress: 3})
	var first net.Conn
	for n := range 3 {
		conn := connect(t, l, "127.0.0.1")
		if n == 0 {
			first = conn
		}
		if closed(t, conn, 50*time.Millisecond) {
			t.Fatalf("connection %d is closed", n)
		}
	}
	for range 20 {
		if !closed(t, connect(t, l, "127.0.0.1"), 20*time.Second) {
			t.Fatal("one more than the address may have")
		}
	}
	if closed(t, connect(t, l, "127.0.0.2"), 50*time.Millisecond) {
		t.Error("another address is locked out")
	}
	if err := l.find(first.LocalAddr().String()).Close(); err != nil {
		t.Fatal(err)
	}
	if closed(t, connect(t, l, "127.0.0.1"), 50*time.Millisecond) {
		t.Error("the place of a closed connection is not free")
	}
}

// TestStrangersGo: a connection that proves nothing ends; one that does stays.
func TestStrangersGo(t *testing.T) {
	l := listening(t, connLimits{most: 10, perAddress: 10, stranger: 200 * time.Millisecond})
	stranger, friend := connect(t, l, "127.0.0.1"), connect(t, l, "127.0.0.1")
	eventually(t, "both are accepted", func() bool {
		return l.find(friend.LocalAddr().String()) != nil && l.find(stranger.LocalAddr().String()) != nil
	})
	l.find(friend.LocalAddr().String()).prove()
	if !closed(t, stranger, 20*time.Second) {
		t.Error("the stranger stays")
	}
	if closed(t, friend, 400*time.Millisecond) {
		t.Error("the friend is gone")
	}
}

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[fe80::1%lo]:5": "fe80::/64",
	} {
		address, err := net.ResolveTCPAddr("tcp", remote)
		if err != nil {
			t.Fatal(err)
		}
		if got := sourceOf(address); got != want {
			t.Errorf("%s counts for %s, want %s", remote, got, want)
		}
	}
}

// TestWhoProves: a connection lasts when a call with credentials was admitted on it,
// and not by a public call or a token that is none.
func TestWhoProves(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	lasts := func(call func(ctx context.Context, conn *grpc.ClientConn) error, want codes.Code) bool {
		t.Helper()
		var local string
		conn, err := grpc.NewClient(r.GRPC,
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: r.roots(), ServerName: "localhost"})),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err == nil {
					local = c.LocalAddr().String()
				}
				return c, err
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := call(t.Context(), conn); status.Code(err) != want {
			t.Fatalf("%v, want %v", err, want)
		}
		l := r.server.listeners.grpc
		found := l.find(local)
		if found == nil {
			t.Fatal("the connection is gone")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return found.patience == nil
	}
	list := func(ctx context.Context, conn *grpc.ClientConn, token string) error {
		_, err := certwrightv1.NewCertificateServiceClient(conn).ListCertificates(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token),
			&certwrightv1.ListCertificatesRequest{})
		return err
	}
	if lasts(func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}, codes.OK) {
		t.Error("a health check proves")
	}
	if lasts(func(ctx context.Context, conn *grpc.ClientConn) error { return list(ctx, conn, "cwt_nothing") }, codes.Unauthenticated) {
		t.Error("a token that is none proves")
	}
	token := r.token()
	if !lasts(func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := certwrightv1.NewCertificateServiceClient(conn).SignCertificate(
			metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), &certwrightv1.SignCertificateRequest{})
		return err
	}, codes.InvalidArgument) {
		t.Error("a token does not prove")
	}
}

// token makes a join token over the admin socket.
func (r *running) token() string {
	r.t.Helper()
	conn, err := client.Dial(r.t.Context(), client.Config{Server: "unix:" + r.Socket})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func(c io.Closer) { _ = c.Close() }(conn)
	made, err := certwrightv1.NewTokenServiceClient(conn).CreateToken(r.t.Context(), &certwrightv1.CreateTokenRequest{
		Owner: "team", Profiles: []string{"server"}, DnsPatterns: []string{"*.internal"}, Ttl: durationpb.New(time.Hour), Uses: 1,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.GetSecret()
}
