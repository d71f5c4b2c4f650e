package api

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/problem"
)

// receive decodes a request by a function that gRPC gives, or the in-process
// connection. Fields that the schema does not have are refused, as in REST: what a
// caller asks for is never left out in silence.
func receive(decode func(any) error, message any) error {
	f := frame{message: message}
	if err := decode(&f); err != nil {
		return err
	}
	if f.err != nil {
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "MESSAGE_UNREADABLE", Detail: "the request message cannot be decoded", Err: f.err,
		}
	}
	if f.unknown != "" {
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "FIELD_UNKNOWN", Rule: f.unknown, Value: f.unknown,
			Detail: "the request has a field that this server does not know: " + f.unknown,
			Help:   "Leave it out, or ask a server of a later version.",
		}
	}
	return nil
}

// receiveOnly receives the one request of a stream, and its end. v is a frame.
func receiveOnly(stream grpc.ServerStream, v any) error {
	switch err := stream.RecvMsg(v); {
	case errors.Is(err, io.EOF):
		return &problem.Problem{Kind: problem.Malformed, Reason: "MESSAGE_MISSING", Detail: "the call has no request message"}
	case err != nil:
		return err
	}
	switch err := stream.RecvMsg(&frame{}); {
	case err == nil:
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "MESSAGE_TWICE", Detail: "the call has more than one request message", Allowed: "one",
		}
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// receiveLimit is how long a method's request may take to arrive.
func (s *Server) receiveLimit(method string) time.Duration {
	if s.methods[method].public {
		return s.config.Limits.Receive / 4
	}
	return s.config.Limits.Receive
}

// within waits for do for as long as the limit. Nothing but the end of the call
// can stop gRPC's receiving: do then runs until the handler has returned, and what
// it still writes to is nobody's. A panic in it is the caller's.
func within(limit time.Duration, do func() error) error {
	type end struct {
		err      error
		panicked any
	}
	done := make(chan end, 1)
	go func() {
		var e end
		defer func() {
			e.panicked = recover()
			done <- e
		}()
		e.err = do()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case e := <-done:
		if e.panicked != nil {
			panic(e.panicked)
		}
		return e.err
	case <-timer.C:
		return &problem.Problem{
			Kind: problem.Malformed, Reason: "MESSAGE_LATE", Detail: "the request did not arrive in time", Allowed: limit.String(),
		}
	}
}
