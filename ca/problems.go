package ca

import (
	"context"
	"errors"

	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// asProblem is the problem in err's chain, or an internal one around err.
func asProblem(err error) *problem.Problem {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p
	}
	return &problem.Problem{Kind: problem.Internal, Err: err}
}

// storeProblem is what a caller is told of a failed commit or read. The cause
// stays in the chain.
func storeProblem(err error) error {
	var p *problem.Problem
	switch {
	case errors.As(err, &p):
		return err
	case errors.Is(err, storage.ErrTokenSpent):
		return &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "TOKEN_SPENT", Detail: "the token has no use left", Err: err,
			Help: "ask for a new token",
		}
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrNotFound):
		return &problem.Problem{
			Kind: problem.Conflict, Reason: "CHANGED_MEANWHILE", Err: err,
			Detail: "what the request rests on has changed meanwhile", Help: "try again",
		}
	case errors.Is(err, storage.ErrOverloaded):
		return &problem.Problem{Kind: problem.Overloaded, Detail: "too many requests are waiting", Help: "try again", Err: err}
	case errors.Is(err, storage.ErrUnknownOutcome), errors.Is(err, storage.ErrReadOnly):
		return &problem.Problem{
			Kind: problem.Unavailable, Reason: "STORE_READ_ONLY", Err: err,
			Detail: "the store takes no writes", Help: "tell the administrator; then try again with the same request ID",
		}
	case errors.Is(err, storage.ErrDuplicateSerial),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &problem.Problem{Kind: problem.Unavailable, Detail: "the request was not carried out", Help: "try again", Err: err}
	}
	return &problem.Problem{Kind: problem.Internal, Err: err}
}
