package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/policy"
)

func countAttr(n int) slog.Attr { return slog.Int("count", n) }

// group is the server's goroutines in the order in which they end: first what
// serves, then what works in the background, last the ledger, whose final
// checkpoint covers all the others have written. An error of any ends all.
type group struct {
	*errgroup.Group
	serving, working, booking context.Context //nolint:containedctx // the three stages are the type's purpose
	servers, workers          sync.WaitGroup
	stopWorking, stopBooking  context.CancelFunc
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.Group, g.serving = errgroup.WithContext(ctx)
	g.working, g.stopWorking = context.WithCancel(context.WithoutCancel(ctx))
	g.booking, g.stopBooking = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

func (g *group) serve(do func(context.Context) error) {
	g.servers.Add(1)
	g.Go(func() error {
		defer g.servers.Done()
		return do(g.serving)
	})
}

func (g *group) work(do func(context.Context) error) {
	g.workers.Add(1)
	g.Go(func() error {
		defer g.workers.Done()
		return do(g.working)
	})
}

func (g *group) book(do func(context.Context) error) {
	g.Go(func() error { return do(g.booking) })
}

// end waits for the end of serving and then ends stage after stage. stopping is
// called first.
func (g *group) end(stopping func()) error {
	g.Go(func() error {
		<-g.serving.Done()
		stopping()
		g.servers.Wait()
		g.stopWorking()
		g.workers.Wait()
		g.stopBooking()
		return nil
	})
	return g.Wait()
}

// Run serves until ctx ends; see the function Run.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	r, l := s.rooms, s.listeners
	https, plain, metrics, err := s.handlers()
	if err != nil {
		return err
	}
	g := newGroup(ctx)
	secure := httpServer(https, s.logger)
	secure.TLSConfig = tlsConfig(r, "h2", "http/1.1")
	for _, each := range []struct {
		server   *http.Server
		listener *limited
	}{{secure, l.https}, {httpServer(plain, s.logger), l.http}, {httpServer(metrics, s.logger), l.metrics}} {
		if each.listener != nil {
			g.serve(func(ctx context.Context) error { return serveHTTP(ctx, each.server, each.listener, drainTime) })
		}
	}
	if l.grpc != nil {
		remote := s.grpcServer("grpc", credentials.NewTLS(tlsConfig(r, "h2")), l.grpc.find)
		g.serve(func(ctx context.Context) error { return serveGRPC(ctx, remote, l.grpc, drainTime) })
	}
	socket := s.grpcServer("socket", api.SocketCredentials(), nil)
	g.serve(func(ctx context.Context) error { return serveGRPC(ctx, socket, l.socket, drainTime) })

	g.work(r.authority.Run)
	g.work(r.witnesses.Run)
	g.work(r.refusals.Run)
	if r.acme != nil {
		g.work(r.acme.Run)
	}
	g.work(r.own.run)
	g.work(r.oidc.Run)
	g.work(r.sweeper(s).Run)
	g.work(r.ocsp.Run)
	g.work(r.crls.Run)
	g.work(r.bulk.Run)
	g.work(r.clock.run)
	g.work(r.watch.run)
	g.book(r.tally.Run)
	g.work(func(ctx context.Context) error {
		return r.expiries.Run(ctx, expiryInterval, func(err error) {
			s.logger.ErrorContext(ctx, "expiries cannot be read", slog.Any("error", err))
		})
	})
	g.serve(s.reloads)
	g.book(r.log.Run)

	s.ready(ctx)
	return g.end(func() {
		s.health.stopping.Store(true)
		r.api.Health().Shutdown()
		s.notify(context.WithoutCancel(ctx), notifyStopping)
		s.logger.Info("the server is stopping")
	})
}

// expiryInterval is how often a stretch of the certificates is walked for the
// owners' earliest expiries.
const expiryInterval = 15 * time.Second

func (s *Server) ready(ctx context.Context) {
	a := s.Addresses()
	s.logger.InfoContext(ctx, "the server is ready", slog.String("https", a.HTTPS), slog.String("grpc", a.GRPC),
		slog.String("http", a.HTTP), slog.String("metrics", a.Metrics), slog.String("socket", a.Socket))
	s.announce()
	s.notify(ctx, notifyReady)
	if s.options.Ready != nil {
		s.options.Ready(a)
	}
}

func (s *Server) notify(ctx context.Context, lines ...string) {
	if err := s.notifier.notify(ctx, lines...); err != nil {
		s.logger.WarnContext(ctx, "systemd was not notified", slog.Any("error", err))
	}
}

// The times of a gRPC connection. A peer that drips does not finish a frame: it is
// asked for a sign of life after grpcQuiet and cut after grpcSilent more.
const (
	grpcHandshake = 5 * time.Second
	grpcQuiet     = 10 * time.Second
	grpcSilent    = 4 * time.Second
	grpcIdle      = 10 * time.Minute
	// grpcAge is when a client is asked to connect anew; its calls end in peace.
	grpcAge = time.Hour
	// grpcStranger is how long a connection may last over which no call with
	// credentials has been admitted; each public call begins it anew.
	grpcStranger = 45 * time.Second
	// messageTimeout is how long the first message of a call may take.
	messageTimeout = 12 * time.Second
)

func (s *Server) grpcServer(listener string, transport credentials.TransportCredentials, find func(remote string) *limitedConn) *grpc.Server {
	methods := map[string]bool{}
	server := s.rooms.api.GRPC(
		grpc.Creds(transport), grpc.ConnectionTimeout(grpcHandshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: grpcIdle, MaxConnectionAge: grpcAge, MaxConnectionAgeGrace: streamTimeout, Time: grpcQuiet, Timeout: grpcSilent,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: grpcQuiet, PermitWithoutStream: true}),
		grpc.StatsHandler(grpcTraffic{traffic: s.metrics.traffic, listener: listener, methods: methods, find: find}),
	)
	for service, info := range server.GetServiceInfo() {
		for _, method := range info.Methods {
			methods["/"+service+"/"+method.Name] = true
		}
	}
	return server
}

// serveGRPC serves until ctx ends, and then drains for at most the time of drain.
func serveGRPC(ctx context.Context, s *grpc.Server, l net.Listener, drain time.Duration) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		cut := time.AfterFunc(drain, s.Stop)
		s.GracefulStop()
		cut.Stop()
	})
	err := s.Serve(l)
	if stop() { // Serve ended by itself
		return err
	}
	<-done
	return nil
}

// reloads reads the policy file again whenever it is asked to. What cannot be
// activated is logged, and the policy in force stays.
func (s *Server) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-s.options.Reload:
			if !ok {
				<-ctx.Done()
				return nil
			}
			s.notify(ctx, notifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", sinceStart().Microseconds()))
			if err := s.reload(ctx); err != nil {
				s.logger.ErrorContext(ctx, "the policy stays as it was", slog.Any("error", err))
			}
			s.notify(ctx, notifyReady)
		}
	}
}

func (s *Server) reload(ctx context.Context) error {
	c := &s.options.Config
	file := c.Path(c.Policy)
	data, err := plainfile.Read(file, maxSmallFile)
	if err != nil {
		return fmt.Errorf("policy file: %w", err)
	}
	// First by itself: its faults are told with the file's name, which Apply does not know.
	if _, err := policy.New(policy.Config{File: file, Data: data, WithoutIssuers: true}); err != nil {
		return err
	}
	v, err := s.rooms.policies.Apply(ctx, data, serverPrincipal().String())
	if err != nil {
		return err
	}
	s.logger.InfoContext(ctx, "the policy file is in force", slog.Uint64("version", v.Number), slog.String("sha256", fmt.Sprintf("%x", v.Hash)))
	return nil
}
