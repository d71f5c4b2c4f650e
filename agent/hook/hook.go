// Package hook runs the programs that an admin has named: after a renewal, for a
// token, for a DNS record. There is no shell, the environment is a clean one, the
// time and what is printed are limited, and what a program has started ends with it,
// unless that has left its process group (setsid): so do daemons that a hook restarts,
// and they are meant to stay.
package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/agent/config"
)

// grace is what a program has between SIGTERM and SIGKILL.
const grace = 2 * time.Second

// Program is one call.
type Program struct {
	Argv    []string
	Env     []string // added to PATH, HOME and LANG of the agent
	Timeout time.Duration
	Limit   int // of standard output, and of standard error, in bytes
}

// Run runs the program and answers what it printed. An error holds the end of what it
// printed on standard error.
func Run(ctx context.Context, p Program) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var out, diagnostic limited
	out.left, diagnostic.left = p.Limit, p.Limit
	path, err := found(p.Argv[0])
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, path, p.Argv[1:]...) //nolint:gosec // the admin's own command, as the file names it
	cmd.Args[0] = p.Argv[0]
	cmd.Stdout, cmd.Stderr = &out, &diagnostic
	cmd.Env = append(environment(), p.Env...)
	// A group of its own, so that its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return "", "", fmt.Errorf("%s: %w", p.Argv[0], err)
	}
	err = finish(cmd)
	stdout, stderr = out.String(), diagnostic.String()
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("%s did not end within %s", p.Argv[0], p.Timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it has ended, only something it left behind held its output
	case err != nil:
		err = fmt.Errorf("%s: %w%s", p.Argv[0], err, last(stderr))
	case out.over:
		err = fmt.Errorf("%s printed more than %d bytes", p.Argv[0], p.Limit)
	}
	return stdout, stderr, err
}

// found is the path of a program. It is judged now, whatever was there at the start: to
// root, one that others could change is none.
func found(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		err = config.Trusted(path)
	}
	if err != nil {
		return "", fmt.Errorf("%s is not run: %w", program, err)
	}
	return path, nil
}

// environment is what every program gets.
func environment() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	env := []string{"PATH=" + path}
	for _, name := range []string{"HOME", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// last is the last line of what was printed, for an error.
func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	line := lines[len(lines)-1]
	if line == "" {
		return ""
	}
	return fmt.Sprintf(" (%.200q)", line)
}

// limited keeps the first bytes and drops the rest, so that a program that prints
// for ever neither blocks nor fills the memory.
type limited struct {
	b    bytes.Buffer
	left int
	over bool
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	if n < len(p) {
		l.over = true
	}
	return len(p), nil
}

func (l *limited) String() string { return l.b.String() }
