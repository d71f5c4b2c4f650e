package egresstest

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// Canary listens on address ("127.0.0.2:0") and fails the test if anybody has
// connected to it when the test ends. It returns where it listens.
func Canary(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer func() { _ = listener.Close() }()
		// Connections are accepted in the order in which they came: what comes
		// before our own is somebody else's.
		own, err := new(net.Dialer).DialContext(context.Background(), "tcp", listener.Addr().String()) // the test's own context has ended
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = own.Close() }()
		for {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
			if conn.RemoteAddr().String() == own.LocalAddr().String() {
				return
			}
			t.Errorf("the canary %s was contacted", listener.Addr())
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}
