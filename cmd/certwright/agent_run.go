//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/agent"
	agentconfig "github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/notify"
	"github.com/certwright/certwright/server/config"
)

func agentRunCommand(a *app) *cobra.Command {
	file := defaultAgentFile
	check := false
	cmd := leaf{
		use: "run [flags]", short: "Keep the certificates of a file fresh",
		long: `
Runs until it is told to end (SIGTERM, SIGINT); a hook that runs then has its time.
SIGHUP makes it read the file again: if that has faults, it goes on as before.
Under systemd (Type=notify) it says when it is ready, how it stands, and that it
lives; certwright agent install-unit writes the unit.

With --check it only reads the file, and exits with 8 if something is wrong in it, or
if this host has no such user, group or program as it names.`,
		example: `
certwright agent run --config /etc/certwright/agent.yaml
certwright agent run --config agent.yaml --check`,
		next: "certwright agent status",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if check {
				c, err := agentconfig.Load(file)
				if err == nil {
					err = agent.Check(c)
				}
				if err != nil {
					return badSettings(exitFound, err)
				}
				a.note("%s: fine.", file)
				return nil
			}
			c, err := agentFile(file)
			if err != nil {
				return err
			}
			return a.runAgent(cmd.Context(), file, c)
		},
	}.command()
	agentConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&check, "check", false, "only read the file, and say what is wrong in it")
	return cmd
}

func agentConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", *file, "the agent's file")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

func (a *app) runAgent(ctx context.Context, file string, c *agentconfig.Config) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	log := newLogger(a.err, config.Log{Level: c.Log.Level, Format: c.Log.Format})
	one, err := agent.Open(agent.Options{
		Config: c, Version: version, Logger: log, Notify: notify.New(a.getenv, os.Getpid()),
		Reload: reload, Load: func() (*agentconfig.Config, error) { return agentconfig.Load(file) },
		Ready: func(metrics string) {
			log.Info("the agent runs", slog.Int("certificates", len(c.Certificates)), slog.String("state", c.State), slog.String("metrics", metrics))
		},
	})
	if err != nil {
		return unstarted(err)
	}
	defer one.Close() //nolint:errcheck // the lock ends with the process
	return one.Run(ctx)
}
