package server

import (
	"net"
	"sync"
)

// limited accepts at most so many connections at a time; further ones wait in
// the system's backlog. It can cut one by its remote address.
type limited struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	open map[string]*limitedConn // by remote address
}

func limitConnections(l net.Listener, most int) *limited {
	return &limited{Listener: l, free: make(chan struct{}, most), closed: make(chan struct{}), open: map[string]*limitedConn{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	c := &limitedConn{Conn: conn, listener: l}
	l.mu.Lock()
	l.open[conn.RemoteAddr().String()] = c
	l.mu.Unlock()
	return c, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// cut closes the connection from a remote address, if it is there.
func (l *limited) cut(remote string) {
	l.mu.Lock()
	c := l.open[remote]
	l.mu.Unlock()
	if c != nil {
		_ = c.Close() // it is thrown away
	}
}

type limitedConn struct {
	net.Conn
	listener *limited
	once     sync.Once
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.once.Do(func() {
		l := c.listener
		l.mu.Lock()
		if remote := c.RemoteAddr().String(); l.open[remote] == c {
			delete(l.open, remote)
		}
		l.mu.Unlock()
		<-l.free
	})
	return c.Conn.Close()
}
