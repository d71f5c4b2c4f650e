package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/server"
	"github.com/certwright/certwright/server/config"
)

func serveCommand(a *app) *cobra.Command {
	file, dev, accept := "", false, false
	cmd := leaf{
		use: "serve [flags]", short: "Run the server",
		long: `
Runs the server until it is told to end (SIGTERM, SIGINT); SIGHUP makes it read the
policy file again. Settings come from flags, CERTWRIGHT_* variables and the
configuration file, in this order; certwright config show prints them.

With --dev it first makes a CA in the data folder, if there is none, and prints
where everything is. Its keys are not encrypted: for production there is
certwright init, and serve without --dev makes no keys.`,
		example: `
certwright serve --dev
certwright serve --dev --data /tmp/ca --https 127.0.0.1:9443 --grpc 127.0.0.1:9444 --http 127.0.0.1:9080 --metrics off
certwright serve --config /etc/certwright/certwright.yaml --data /var/lib/certwright`,
		next: "certwright cert issue svc.internal",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			given := map[string]string{}
			for name, key := range serveSettings() {
				if flag := cmd.Flags().Lookup(name); flag.Changed {
					given[key] = flag.Value.String()
				}
			}
			settings, err := a.loadSettings(cmd, config.Sources{File: file, Flags: given, Dev: dev})
			if err != nil {
				return badSettings(exitUsage, err)
			}
			return a.serve(cmd.Context(), settings.Config, accept)
		},
	}.command()
	standard := config.Default()
	flags := cmd.Flags()
	flags.BoolVar(&dev, "dev", false, "a development CA: made at the first start, keys not encrypted")
	flags.StringVar(&file, "config", "", "configuration file (CERTWRIGHT_CONFIG; default DATA/certwright.yaml)")
	flags.String("https", standard.Listen.HTTPS, `address of REST; "off" for none`)
	flags.String("grpc", standard.Listen.GRPC, `address of gRPC; "off" for none`)
	flags.String("http", standard.Listen.HTTP, `address of what relying parties fetch; "off" for none`)
	flags.String("metrics", standard.Listen.Metrics, `address of /metrics and health; "off" for none`)
	flags.BoolVar(&accept, "accept-missing-lock", false, "start although the ledger's last-seen file is lost; the ledger records it")
	flags.String("log-level", standard.Log.Level, "debug, info, warn or error")
	flags.String("log-format", standard.Log.Format, "text or json")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	for name, values := range map[string][]string{"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// serveSettings are the flags of serve with the settings that they set.
func serveSettings() map[string]string {
	return map[string]string{
		"https": "listen.https", "grpc": "listen.grpc", "http": "listen.http", "metrics": "listen.metrics",
		"log-level": "log.level", "log-format": "log.format",
	}
}

// gcPercent: the live heap of a server is a few tens of MB, so that collecting
// less often costs little memory and saves a fifth of the CPU of an issuance
// (docs/performance.md). GOGC in the environment stands above it.
const gcPercent = 400

func (a *app) serve(ctx context.Context, c config.Config, accept bool) error {
	if a.getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	s, err := server.Open(ctx, server.Options{
		Config: c, AcceptMissingLock: accept, Version: version, Program: program(), Out: a.out, Logger: newLogger(a.err, c.Log),
		Reload: reload, NotifySocket: a.getenv("NOTIFY_SOCKET"),
	})
	if err != nil {
		return unstarted(err)
	}
	return s.Run(ctx)
}

// program is how this one was called, for the next command that the server names.
func program() string {
	if strings.ContainsRune(os.Args[0], filepath.Separator) && len(os.Args[0]) < 60 {
		return os.Args[0]
	}
	return "certwright"
}

// newLogger writes the log: both handlers quote what could forge a line.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
