package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/certwright/certwright/problem"
)

const (
	// proveAgain is how often the credentials of a stream that is under way are
	// proven again.
	proveAgain = time.Second
	// cutGrace is how long a stream that is cut may take to notice it.
	cutGrace = 250 * time.Millisecond
)

// attend runs a stream and ends it when its caller may not call any more: when a
// session or certificate was revoked, or a role was taken away. Credentials that
// merely expire were good when the call began. A panic in run is the caller's.
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
	ticker := time.NewTicker(proveAgain)
	defer ticker.Stop()
	for {
		select {
		case e := <-done:
			if e.panicked != nil {
				panic(e.panicked)
			}
			return e.answer, e.err
		case <-ticker.C:
			err := s.refusedNow(ctx, c, method)
			if err == nil {
				continue
			}
			// Nothing but the end of the call stops gRPC's receiving.
			cancel()
			select {
			case <-done:
			case <-time.After(cutGrace):
			}
			return nil, err
		}
	}
}

// refusedNow is why the caller of a stream may not call any more; nil: it may, or
// that cannot be told.
func (s *Server) refusedNow(ctx context.Context, c *call, method string) error {
	principal, err := s.authenticate(ctx, c.credentials)
	if err == nil {
		_, err = s.methods[method].view(method, principal)
	}
	var p *problem.Problem
	switch {
	case err == nil || !errors.As(err, &p):
		return nil
	case p.Kind != problem.Unauthenticated && p.Kind != problem.PermissionDenied:
		return nil
	case strings.HasSuffix(p.Code(), "_EXPIRED") || p.Code() == "TOKEN_OLD":
		return nil
	}
	return err
}
