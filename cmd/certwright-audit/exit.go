package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

// The exit codes, as those of certwright.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitAuth        = 5
	exitUnavailable = 7
	exitFound       = 8
)

// failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

func usagef(format string, args ...any) error { return failf(exitUsage, format, args...) }

// report says what went wrong, in one line, and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	a.note("certwright-audit: %v", err)
	var f *failure
	switch {
	case errors.As(err, &f):
		return f.code
	case !a.started:
		return exitUsage
	case errors.Is(err, book.ErrRefused):
		return exitAuth
	case errors.Is(err, book.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitFailure
}

// note is a message for people.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintln(a.err, printable(fmt.Sprintf(format, args...)))
}

// printable keeps what others wrote from moving the cursor or beginning lines.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}
