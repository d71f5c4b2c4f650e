package server

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// connLimits are what a listener grants.
type connLimits struct {
	most       int // open connections; further ones wait in the system's backlog
	perAddress int // of them, of one source address; further ones are closed at once
	// stranger is how long a connection may last that has not proved to be of use:
	// see prove and touch. 0: for ever.
	stranger time.Duration
}

// limited accepts connections within limits. It can find one by its remote address.
type limited struct {
	net.Listener
	limits connLimits
	free   chan struct{}
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	open map[string]*limitedConn // by remote address
	held map[string]int          // open connections by source
}

func limitConnections(l net.Listener, limits connLimits) *limited {
	return &limited{
		Listener: l, limits: limits, free: make(chan struct{}, limits.most), closed: make(chan struct{}),
		open: map[string]*limitedConn{}, held: map[string]int{},
	}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.free
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		_ = conn.Close() // its address has enough others
	}
}

// admit takes a connection in; nil: its address has as many as it may.
func (l *limited) admit(conn net.Conn) *limitedConn {
	c := &limitedConn{Conn: conn, listener: l, source: sourceOf(conn.RemoteAddr())}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[c.source] >= l.limits.perAddress {
		return nil
	}
	l.held[c.source]++
	l.open[conn.RemoteAddr().String()] = c
	if l.limits.stranger > 0 {
		c.patience = time.AfterFunc(l.limits.stranger, func() { _ = c.Close() }) // it is thrown away
	}
	return c
}

// sourceOf is whom a connection counts for: an address; of IPv6 the network of 64
// bits, which is one machine's.
func sourceOf(remote net.Addr) string {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return ""
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !address.Is6() {
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// find is the open connection from a remote address, or nil.
func (l *limited) find(remote string) *limitedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[remote]
}

type limitedConn struct {
	net.Conn
	listener *limited
	source   string
	once     sync.Once

	// Guarded by the listener's mutex.
	patience *time.Timer // nil: without end
	gone     bool
}

// touch gives a connection another while: a call has come that anybody may make.
func (c *limitedConn) touch() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.patience != nil && !c.gone {
		c.patience.Reset(c.listener.limits.stranger)
	}
}

// prove lets a connection last: a call with credentials has been admitted.
func (c *limitedConn) prove() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.patience != nil {
		c.patience.Stop()
		c.patience = nil
	}
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.once.Do(func() {
		l := c.listener
		l.mu.Lock()
		c.gone = true
		if c.patience != nil {
			c.patience.Stop()
		}
		if remote := c.RemoteAddr().String(); l.open[remote] == c {
			delete(l.open, remote)
		}
		if l.held[c.source]--; l.held[c.source] == 0 {
			delete(l.held, c.source)
		}
		l.mu.Unlock()
		<-l.free
	})
	return c.Conn.Close()
}
