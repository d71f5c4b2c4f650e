// Command certwright is the server, the admin's command line and, later, the
// workload's agent. What stands here is flags, output and exit codes; one small
// file per command.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is one invocation; it returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.misnamed
	}
	if err == nil && a.unwritten != nil {
		err = failf(exitFailure, "the output cannot be written: %w", a.unwritten)
	}
	return a.report(err)
}
