package egresstest

import (
	"net"
	"net/netip"
	"testing"
)

// Canary listens on address ("127.0.0.2:0") and fails the test if anybody has
// connected to it when the test ends. It returns where it listens.
func Canary(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer listener.Close()
		// Connections are accepted in the order in which they came: what comes
		// before our own is somebody else's.
		own, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer own.Close()
		for {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
			if conn.RemoteAddr().String() == own.LocalAddr().String() {
				return
			}
			t.Errorf("the canary %s was contacted", listener.Addr())
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}
