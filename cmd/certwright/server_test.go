package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certwright/certwright/server"
	"github.com/certwright/certwright/server/config"
)

// TestServer runs the transcripts of testdata/server: each has a server of its
// own, with every listener on a free port.
func TestServer(t *testing.T) {
	commands := scriptCommands()
	commands["server"] = startServer
	commands["stop-server"] = stopServer
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/server",
		Setup:               shortFolder,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
	})
}

// runningKey is where a transcript keeps its server.
type runningKey struct{}

// running is a server under way.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

// shortFolder puts the data folder where the path of its socket is short enough.
func shortFolder(env *testscript.Env) error {
	if err := plainEnvironment(env); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cw")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(dir) })
	env.Setenv("CERTWRIGHT_DATA", filepath.Join(dir, "data"))
	env.Values[runningKey{}] = &running{}
	return nil
}

// startServer is the script's command "server": serve --dev in this process. It
// sets HTTPS, GRPC and HTTP to the addresses.
func startServer(ts *testscript.TestScript, _ bool, _ []string) {
	data := ts.Getenv("CERTWRIGHT_DATA")
	if !filepath.IsAbs(data) { // it would be made beside this file
		ts.Fatalf("the data folder %q is not absolute", data)
	}
	settings, err := config.Load(config.Sources{Dev: true, Flags: map[string]string{
		"data": data, "listen.https": "127.0.0.1:0", "listen.grpc": "127.0.0.1:0",
		"listen.http": "127.0.0.1:0", "listen.metrics": "127.0.0.1:0",
	}})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	r := ts.Value(runningKey{}).(*running)
	r.cancel, r.done = cancel, make(chan error, 1)
	ready := make(chan server.Addresses, 1)
	go func() {
		r.done <- server.Run(ctx, server.Options{
			Config: settings.Config, Version: "test", Logger: slog.New(slog.DiscardHandler),
			Ready: func(addresses server.Addresses) { ready <- addresses },
		})
	}()
	ts.Defer(func() { stopServer(ts, false, nil) })
	select {
	case addresses := <-ready:
		ts.Setenv("HTTPS", addresses.HTTPS)
		ts.Setenv("GRPC", addresses.GRPC)
		ts.Setenv("HTTP", addresses.HTTP)
	case err := <-r.done:
		r.cancel = nil
		cancel()
		ts.Fatalf("server: %v", err)
	}
}

// stopServer is the script's command "stop-server".
func stopServer(ts *testscript.TestScript, _ bool, _ []string) {
	r := ts.Value(runningKey{}).(*running)
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.done; err != nil {
		ts.Logf("server: %v", err)
	}
}
