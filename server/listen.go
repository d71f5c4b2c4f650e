package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
)

// Addresses are where the server listens, as host:port with the ports that it
// really got; empty: no such listener.
type Addresses struct {
	HTTPS, GRPC, HTTP, Metrics string
	// Socket is the path of the admin socket.
	Socket string
}

// listeners are the bound sockets; nil: switched off.
type listeners struct {
	https, grpc, http, metrics *limited
	socket                     net.Listener
}

// listen binds everything, or nothing.
func listen(ctx context.Context, c *config.Config) (l *listeners, err error) {
	l = &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	limits := connLimits{most: c.Limits.Connections, perAddress: c.Limits.PerAddress()}
	strangers := limits // HTTP has timeouts of its own
	strangers.stranger = grpcStranger
	for _, each := range []struct {
		to            **limited
		address, flag string
		limits        connLimits
	}{
		{&l.https, c.Listen.HTTPS, "https", limits}, {&l.grpc, c.Listen.GRPC, "grpc", strangers},
		{&l.http, c.Listen.HTTP, "http", limits}, {&l.metrics, c.Listen.Metrics, "metrics", limits},
	} {
		if each.address == config.Off {
			continue
		}
		bound, err := (&net.ListenConfig{}).Listen(ctx, "tcp", each.address)
		if err != nil {
			return l, explainListen(err, each.address, each.flag)
		}
		*each.to = limitConnections(bound, each.limits)
	}
	socket, err := listenSocket(ctx, c.Path(c.AdminSocket))
	if err != nil {
		return l, err
	}
	l.socket = socket // not wrapped: peer credentials are read from the connection itself
	return l, nil
}

// explainListen says in one line what to do.
func explainListen(err error, address, flag string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return problem.New(problem.Unavailable, "%s is in use: stop what listens there, or choose another address with --%s host:port", address, flag)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to listen on %s: choose a port from 1024 on with --%s host:port", address, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return problem.New(problem.Unavailable, "%s is no address of this machine: choose another with --%s host:port", address, flag)
	}
	return fmt.Errorf("cannot listen on %s (--%s): %w", address, flag, err)
}

// listenSocket binds the admin socket with mode 0600. What a killed server left
// there is removed: the data folder's lock is held, so that nobody else uses it.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := datadir.CheckSocket(path); err != nil {
		return nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way of the admin socket and is not a socket: remove it, or set admin_socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin socket: %w", err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	// Who may connect is decided by peer credentials; the mode is a second wall.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return l, nil
}

func (l *listeners) all() []net.Listener {
	var all []net.Listener
	for _, each := range []*limited{l.https, l.grpc, l.http, l.metrics} {
		if each != nil {
			all = append(all, each)
		}
	}
	if l.socket != nil {
		all = append(all, l.socket)
	}
	return all
}

// close closes what is open. A listener whose server has closed it already says
// so, which is no news.
func (l *listeners) close() {
	for _, each := range l.all() {
		_ = each.Close()
	}
}

func (l *listeners) addresses() Addresses {
	text := func(l *limited) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	a := Addresses{HTTPS: text(l.https), GRPC: text(l.grpc), HTTP: text(l.http), Metrics: text(l.metrics)}
	if l.socket != nil {
		a.Socket = l.socket.Addr().String()
	}
	return a
}
