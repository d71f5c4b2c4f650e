package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/certwright/certwright/problem"
)

const (
	// proveAgain is how often the credentials of a stream that is under way are
	// proven again.
	proveAgain = time.Second
	// proveWithin is how long a stream goes on after the last time that its caller
	// could be proven.
	proveWithin = 4 * time.Second
	// cutGrace is how long a stream that is cut may take to notice it.
	cutGrace = 250 * time.Millisecond
)

// attend runs a stream for as long as its caller may call: credentials that expire
// or are revoked end it, a role that is taken away, and that nobody can tell any more
// whether these hold. A panic in run is the caller's.
func (s *Server) attend(ctx context.Context, c *call, method string, run func(context.Context) (any, error)) (any, error) {
	if s.methods[method].public || c.credentials.Peer != nil && c.credentials.Authorization == "" {
		return run(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		answer   any
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
		e.answer, e.err = run(ctx)
	}()
	watched := make(chan error, 1)
	go func() {
		if err := s.watch(ctx, c, method); err != nil {
			watched <- err
		}
	}()
	select {
	case e := <-done:
		if e.panicked != nil {
			panic(e.panicked)
		}
		return e.answer, e.err
	case err := <-watched:
		// Nothing but the end of the call stops gRPC's receiving.
		cancel()
		select {
		case <-done:
		case <-time.After(cutGrace):
		}
		return nil, err
	}
}

// watch proves the caller again and again until ctx ends, and returns why it may not
// call any more. A proof that takes its time, such as one that fetches keys, holds up nothing.
func (s *Server) watch(ctx context.Context, c *call, method string) error {
	ticker := time.NewTicker(proveAgain)
	defer ticker.Stop()
	proofs := make(chan error, 1)
	var last error // the outcome of the last proof that told nothing
	began, proven, asking := time.Now(), time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-proofs:
			asking = false
			switch kind := problem.KindOf(err); {
			case err == nil:
				proven = began
			case kind == problem.Unauthenticated || kind == problem.PermissionDenied:
				return err
			default:
				last = err
			}
		case <-ticker.C:
			if time.Since(proven) >= proveWithin {
				return unproven(last)
			}
			if !asking {
				began, asking = time.Now(), true
				go func() { proofs <- s.mayCall(ctx, c, method) }()
			}
		}
	}
}

// mayCall is why the caller may not call the method; nil: it may.
func (s *Server) mayCall(ctx context.Context, c *call, method string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.counters.panics.Add(1)
			s.config.Logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("method", method),
				slog.String("request", c.requestID), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	principal, err := s.authenticate(ctx, c.credentials)
	if err == nil {
		_, err = s.methods[method].view(method, principal)
	}
	return err
}

// unproven ends a stream of a caller that could not be proven for too long.
func unproven(last error) error {
	if last == nil {
		last = errors.New("the proof of the caller takes too long")
	}
	return &problem.Problem{
		Kind: problem.Unavailable, Reason: "CALLER_NOT_PROVEN", Rule: "streams", Err: last,
		Detail: "the server cannot tell at this time whether the caller may still call", Help: "Try again in a minute; the server's log says what is wrong.",
	}
}
