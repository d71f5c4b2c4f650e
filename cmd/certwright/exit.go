package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/certwright/certwright/problem"
)

// The exit codes. Scripts rely on them.
const (
	exitOK          = 0
	exitFailure     = 1 // it did not work
	exitUsage       = 2 // the command line or the request cannot be understood
	exitNotFound    = 3 // at the server, or a file here
	exitDenied      = 4 // the policy says no, or it is never signed
	exitAuth        = 5 // not authenticated or not authorised
	exitConflict    = 6 // a conflict, or a precondition does not hold
	exitUnavailable = 7 // try again
	exitFound       = 8 // a check found problems
)

// failure is an error with the exit code that it means and, below its one line,
// lines of detail.
type failure struct {
	code   int
	text   string
	detail []string
	err    error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

func failf(code int, format string, args ...any) *failure {
	err := fmt.Errorf(format, args...)
	return &failure{code: code, text: err.Error(), err: errors.Unwrap(err)}
}

func usagef(format string, args ...any) *failure { return failf(exitUsage, format, args...) }

// codes are the exit codes of problems; what is not here is exitFailure.
func codeOf(kind problem.Kind) int {
	switch kind {
	case problem.Malformed:
		return exitUsage
	case problem.NotFound:
		return exitNotFound
	case problem.Denied, problem.RejectedIdentifier, problem.BadCSR:
		return exitDenied
	case problem.Unauthenticated, problem.PermissionDenied:
		return exitAuth
	case problem.Conflict, problem.FailedPrecondition:
		return exitConflict
	case problem.RateLimited, problem.Overloaded, problem.Unavailable:
		return exitUnavailable
	default:
		return exitFailure
	}
}

// report writes what went wrong to standard error and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	f := a.explain(err)
	_, _ = fmt.Fprintln(a.err, "certwright: "+printable(f.text))
	for _, line := range f.detail {
		_, _ = fmt.Fprintln(a.err, "  "+printable(line))
	}
	return f.code
}

// explain finds the exit code and the words for an error.
func (a *app) explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if !a.started {
		return usagef("%w", err)
	}
	if f := fromStatus(err); f != nil {
		if f.code == exitAuth && a.tokenFile == "" && !a.inSession && !strings.Contains(f.text, "--token-file") {
			if other := a.otherSession(); other != "" {
				f.detail = append(f.detail, "a session is kept for "+other+": use --server "+other+", or certwright login")
				return f
			}
			f.detail = append(f.detail, "people log in with certwright login --server HOST:PORT; a join token goes with --token-file FILE; admins use the socket in the data folder (--data, without --server)")
		}
		return f
	}
	if errors.As(missing(err), &f) {
		return f
	}
	var p *problem.Problem
	if errors.As(err, &p) {
		f := &failure{code: codeOf(p.Kind), text: summary(p.Detail, p.Code(), p.Allowed, p.Help), err: err}
		for _, v := range p.Violations {
			f.detail = append(f.detail, v.String())
		}
		return f
	}
	return failf(exitFailure, "%w", err)
}
