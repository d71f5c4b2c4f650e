package api

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/tap"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/problem"
)

// GRPC makes a gRPC server of all services, the health service and reflection.
// Its options must hold the transport credentials: TLS, or SocketCredentials for
// the admin socket. Limits and the tap are set here.
func (s *Server) GRPC(options ...grpc.ServerOption) *grpc.Server {
	options = append([]grpc.ServerOption{
		grpc.InTapHandle(s.tap),
		grpc.ForceServerCodecV2(newFrameCodec()),
		grpc.UnknownServiceHandler(s.unknown),
		grpc.MaxRecvMsgSize(s.config.Limits.Message),
		grpc.MaxHeaderListSize(32 << 10),
		grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(15 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute, Time: time.Minute, Timeout: 15 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second, PermitWithoutStream: true}),
	}, options...)
	g := grpc.NewServer(options...)
	for _, service := range s.services.services {
		g.RegisterService(service.desc, service.impl)
	}
	reflection.Register(chainedRegistrar{Server: g, api: s})
	return g
}

// chainedRegistrar wraps what reflection registers.
type chainedRegistrar struct {
	*grpc.Server
	api *Server
}

// RegisterService implements grpc.ServiceRegistrar.
func (r chainedRegistrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped, _ := r.api.wrap(desc, impl)
	r.Server.RegisterService(wrapped, impl)
}

func isReflection(method string) bool { return strings.HasPrefix(method, "/grpc.reflection.") }

// tap refuses a call by its headers alone, before anything of it is read: one
// that is not to a public method and shows neither an authorization that could be
// a token, nor a client certificate, nor comes over the admin socket. The method
// is compared as it was sent: a path without its leading slash is public to
// nobody. A health watch is refused here as well.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName == healthpb.Health_Watch_FullMethodName {
		s.counters.calls.Add(1)
		return nil, s.fail(ctx, info.FullMethodName, &call{requestID: newRequestID()}, noWatch())
	}
	if s.methods[info.FullMethodName].public {
		return ctx, nil
	}
	if p, ok := peer.FromContext(ctx); ok {
		if _, socket := p.AuthInfo.(socketInfo); socket {
			return ctx, nil
		}
	}
	if err := plausible(ctx, info.Header); err != nil {
		s.counters.calls.Add(1)
		return nil, s.fail(ctx, info.FullMethodName, &call{requestID: newRequestID()}, err)
	}
	return ctx, nil
}

func plausible(ctx context.Context, header metadata.MD) error {
	switch values := header.Get("authorization"); len(values) {
	case 0:
		if c, err := grpcCredentials(ctx); err == nil && !c.Empty() {
			return nil
		}
		return unauthenticated("NO_CREDENTIALS", "the call shows no credentials")
	case 1:
		if _, ok := auth.Bearer(values[0]); !ok {
			return unauthenticated("CREDENTIALS_NOT_KNOWN", "the authorization is not a bearer token")
		}
		return nil
	}
	return unauthenticated("CREDENTIALS_TWICE", "the call shows more than one authorization")
}

// unknown answers a call of a method that there is not, after authentication.
func (s *Server) unknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	_, err := s.chain(stream.Context(), "", true, func(context.Context, func() error) (any, error) {
		return nil, &problem.Problem{
			Kind: problem.NotFound, Reason: reasonNoMethod, Value: method, Detail: "there is no such method",
		}
	})
	return err
}
