package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// registry takes the place of a gRPC server where services are registered: it
// wraps every handler in the chain. What it holds is registered with each gRPC
// server, and called by the in-process connection of REST.
type registry struct {
	server   *Server
	services []service
	methods  map[string]handler
	err      error
}

type service struct {
	desc *grpc.ServiceDesc
	impl any
}

// handler is one wrapped method: unary or stream is set.
type handler struct {
	impl   any
	unary  grpc.MethodHandler
	stream grpc.StreamHandler
}

// register registers all services but reflection, which needs a gRPC server.
func (s *Server) register() {
	certwrightv1.RegisterCertificateServiceServer(s.services, &certificateService{
		Server: s, malformed: newBudget(s.config.Limits.MalformedCSRs),
		strikes: newStrikes(s.config.Limits.Refusals),
	})
	certwrightv1.RegisterLedgerServiceServer(s.services, &ledgerService{Server: s})
	certwrightv1.RegisterPolicyServiceServer(s.services, &policyService{Server: s})
	certwrightv1.RegisterTokenServiceServer(s.services, &tokenService{Server: s})
	certwrightv1.RegisterIssuerServiceServer(s.services, &issuerService{Server: s})
	certwrightv1.RegisterCRLServiceServer(s.services, &crlService{Server: s})
	certwrightv1.RegisterOperationServiceServer(s.services, &operationService{Server: s})
	grpc_health_v1.RegisterHealthServer(s.services, healthService{s.health})
	certwrightv1.RegisterAccountServiceServer(s.services, &accountService{Server: s})
	certwrightv1.RegisterEABServiceServer(s.services, &eabService{Server: s})
	certwrightv1.RegisterOrderServiceServer(s.services, &orderService{Server: s})
	certwrightv1.RegisterMaintenanceServiceServer(s.services, &maintenanceService{Server: s})
	certwrightv1.RegisterSessionServiceServer(s.services, &sessionService{Server: s, strikes: newStrikes(s.config.Limits.Refusals)})
	for name := range s.methods {
		if _, ok := s.services.methods[name]; !ok && s.services.err == nil && !isReflection(name) {
			s.services.err = fmt.Errorf("api: %s is described but not served", name)
		}
	}
}

// RegisterService implements grpc.ServiceRegistrar.
func (r *registry) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped, methods := r.server.wrap(desc, impl)
	for name, h := range methods {
		if _, ok := r.server.methods[name]; !ok && r.err == nil {
			r.err = fmt.Errorf("api: %s has no authorization annotation", name)
		}
		r.methods[name] = h
	}
	r.services = append(r.services, service{desc: wrapped, impl: impl})
}

// wrap is the service with every handler in the chain, which begins before the
// request is received. A unary method is described to gRPC as one with a stream of
// requests, which is the same on the wire: so it is ours to say what is wrong with
// none or two of them.
func (s *Server) wrap(desc *grpc.ServiceDesc, impl any) (*grpc.ServiceDesc, map[string]handler) {
	wrapped := *desc
	methods := map[string]handler{}
	wrapped.Methods, wrapped.Streams = nil, nil
	for _, m := range desc.Methods {
		name := "/" + desc.ServiceName + "/" + m.MethodName
		unary := s.wrapUnary(name, m.Handler)
		methods[name] = handler{impl: impl, unary: unary}
		wrapped.Streams = append(wrapped.Streams, grpc.StreamDesc{
			StreamName: m.MethodName, ClientStreams: true, Handler: s.overStream(name, unary),
		})
	}
	for _, m := range desc.Streams {
		name := "/" + desc.ServiceName + "/" + m.StreamName
		m.Handler = s.wrapStream(name, m.Handler)
		wrapped.Streams = append(wrapped.Streams, m)
		methods[name] = handler{impl: impl, stream: m.Handler}
	}
	return &wrapped, methods
}

func (s *Server) wrapUnary(name string, inner grpc.MethodHandler) grpc.MethodHandler {
	return func(impl any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return s.chain(ctx, name, false, func(ctx context.Context, enter func() error) (any, error) {
			return inner(impl, ctx, func(v any) error {
				if err := receive(decode, v); err != nil {
					return err
				}
				return enter()
			}, nil)
		})
	}
}

// overStream is a unary method on a stream: one request, one answer.
func (s *Server) overStream(name string, unary grpc.MethodHandler) grpc.StreamHandler {
	limit := s.receiveLimit(name)
	return func(impl any, stream grpc.ServerStream) error {
		answer, err := unary(impl, stream.Context(), func(v any) error {
			return within(limit, func() error { return receiveOnly(stream, v) })
		}, nil)
		if err != nil {
			return err
		}
		return stream.SendMsg(answer)
	}
}

func (s *Server) wrapStream(name string, inner grpc.StreamHandler) grpc.StreamHandler {
	return func(impl any, stream grpc.ServerStream) error {
		_, err := s.chain(stream.Context(), name, true, func(ctx context.Context, enter func() error) (any, error) {
			return nil, inner(impl, &chainedStream{ServerStream: stream, ctx: ctx, enter: enter, limit: s.receiveLimit(name)})
		})
		return err
	}
}

// chainedStream is a stream with the chain's context. The call takes its place
// when the first request is there.
type chainedStream struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // what a grpc.ServerStream is
	enter func() error
	limit time.Duration // for the first request; 0: it is there
}

// Context implements grpc.ServerStream.
func (s *chainedStream) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ServerStream. Nothing is sent on a stream that was cut.
func (s *chainedStream) SendMsg(m any) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements grpc.ServerStream.
func (s *chainedStream) RecvMsg(m any) error {
	first := s.limit
	if first == 0 {
		return receive(s.ServerStream.RecvMsg, m)
	}
	s.limit = 0
	err := within(first, func() error { return receive(s.ServerStream.RecvMsg, m) })
	if err != nil {
		return err
	}
	return s.enter()
}

// inProcess is a connection to the wrapped handlers without sockets, framing or
// encoding: grpc-gateway's. One message is merged into another, so that neither
// side sees the other's memory.
type inProcess struct{ registry *registry }

// Invoke implements grpc.ClientConnInterface.
func (p inProcess) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	h, ok := p.registry.methods[method]
	if !ok || h.unary == nil {
		return fmt.Errorf("api: no unary method %s", method)
	}
	answer, err := h.unary(h.impl, ctx, func(v any) error { return hand(v, args) }, nil)
	if err != nil {
		return err
	}
	return hand(reply, answer)
}

func hand(to, from any) error {
	if f, ok := to.(*frame); ok {
		to = f.message
	}
	dst, ok := to.(proto.Message)
	src, also := from.(proto.Message)
	if !ok || !also || dst.ProtoReflect().Descriptor() != src.ProtoReflect().Descriptor() {
		return fmt.Errorf("api: a %T is not a %T", from, to)
	}
	proto.Merge(dst, src)
	return nil
}
