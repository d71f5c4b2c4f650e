package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// NewStream implements grpc.ClientConnInterface, for methods that answer one
// request with a stream. The method runs in a goroutine of its own, which ends
// with ctx at the latest.
func (p inProcess) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	h, ok := p.registry.methods[method]
	if !ok || h.stream == nil || desc.ClientStreams {
		return nil, fmt.Errorf("api: no server stream %s", method)
	}
	return &inProcessStream{ctx: ctx, handler: h, answers: make(chan any), done: make(chan struct{})}, nil
}

// inProcessStream is both ends of one stream.
type inProcessStream struct {
	ctx     context.Context //nolint:containedctx // what a grpc.ClientStream is
	handler handler
	request any
	answers chan any      // unbuffered: the method is never ahead of its reader
	done    chan struct{} // closed when the method has returned, with err
	err     error
}

// SendMsg takes the request.
func (s *inProcessStream) SendMsg(m any) error {
	if s.request != nil {
		return errors.New("api: the stream takes one request")
	}
	s.request = m
	return nil
}

// CloseSend starts the method.
func (s *inProcessStream) CloseSend() error {
	go func() {
		defer close(s.done)
		s.err = s.handler.stream(s.handler.impl, inProcessServer{s})
	}()
	return nil
}

// RecvMsg gives the next answer, io.EOF after the last, or the method's error.
func (s *inProcessStream) RecvMsg(m any) error {
	select {
	case answer := <-s.answers:
		return hand(m, answer)
	case <-s.done:
		if s.err != nil {
			return s.err
		}
		return io.EOF
	}
}

// Header implements grpc.ClientStream.
func (s *inProcessStream) Header() (metadata.MD, error) { return nil, nil }

// Trailer implements grpc.ClientStream.
func (s *inProcessStream) Trailer() metadata.MD { return nil }

// Context implements grpc.ClientStream.
func (s *inProcessStream) Context() context.Context { return s.ctx }

// inProcessServer is the method's end.
type inProcessServer struct{ stream *inProcessStream }

// RecvMsg gives the one request.
func (s inProcessServer) RecvMsg(m any) error {
	if s.stream.request == nil {
		return io.EOF
	}
	return hand(m, s.stream.request)
}

// SendMsg waits for the reader to take the answer.
func (s inProcessServer) SendMsg(m any) error {
	select {
	case s.stream.answers <- m:
		return nil
	case <-s.stream.ctx.Done():
		return s.stream.ctx.Err()
	}
}

// Context implements grpc.ServerStream.
func (s inProcessServer) Context() context.Context { return s.stream.ctx }

// SetHeader implements grpc.ServerStream.
func (inProcessServer) SetHeader(metadata.MD) error { return nil }

// SendHeader implements grpc.ServerStream.
func (inProcessServer) SendHeader(metadata.MD) error { return nil }

// SetTrailer implements grpc.ServerStream.
func (inProcessServer) SetTrailer(metadata.MD) {}
