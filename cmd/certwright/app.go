package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// app is what the commands of one invocation share: streams and common flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	server      string
	data        string
	tokenFile   string
	ca          string
	fingerprint string
	timeout     span
	format      string

	dataNamed bool                    // the data folder was said, and is not just the one that is here
	inSession bool                    // a call shows the token of a session
	otherRoot atomic.Pointer[failure] // why the session was not shown to the server

	unwritten error // why help could not be written

	misnamed error // of --help for a command that there is not
	started  bool  // the arguments were understood: what fails now is no usage error
}

// span is a duration flag that knows days and weeks: 30d, 2w, 1h30m.
type span time.Duration

func (s *span) Set(text string) error {
	d, err := parseDuration(text)
	*s = span(d)
	return err
}

func (s *span) Type() string { return "duration" }

func (s *span) String() string {
	if *s == 0 {
		return "" // pflag then shows no default
	}
	return formatDuration(time.Duration(*s))
}

// note writes one line for a person to standard error.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintln(a.err, printable(fmt.Sprintf(format, args...)))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) outIsTerminal() bool { return isTerminal(a.out) }
func (a *app) errIsTerminal() bool { return isTerminal(a.err) }

// colour tells whether data may be coloured: on a terminal only, and not where
// NO_COLOR is set (https://no-color.org).
func (a *app) colour() bool {
	return a.outIsTerminal() && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}
