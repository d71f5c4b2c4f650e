//go:build unix

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/source"
	"github.com/certwright/certwright/client"
)

func agentGroup(a *app) *cobra.Command {
	return group("agent", "Keep this host's certificates fresh", `
The agent gets certificates, over gRPC from a Certwright server or by ACME from any
CA, and renews them before they expire: in the window that the CA suggests, or at
about two thirds of their life. Key and certificate change together, atomically;
then a hook is run. The private key never leaves the host.

docs/agent.md tells how it works, docs/agent-configuration.md what its file has.`,
		agentObtainCommand(a), agentRunCommand(a), agentStatusCommand(a), agentInstallUnitCommand(a))
}

// defaultAgentFile is where the agent's file is looked for.
const defaultAgentFile = "/etc/certwright/agent.yaml"

// agentFile reads the agent's file.
func agentFile(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if err != nil {
		return nil, badSettings(exitUsage, err)
	}
	return c, nil
}

// fromAgent words why there is no certificate, with the exit code that it means.
func fromAgent(err error) error {
	if f := fromStatus(err); f != nil {
		switch {
		case strings.Contains(f.text, "certificate signed by unknown authority"):
			return failf(exitConflict, "the server's certificate is not signed by a root of --ca, in a file ca_file: %w", err)
		case strings.Contains(f.text, "first record does not look like a TLS handshake"):
			return failf(exitUsage, "what answers there speaks no TLS: the gRPC port of a server is usually %s: %w", client.DefaultPort, err)
		}
		return f
	}
	f := source.Of(err)
	var given *source.Failure
	if errors.As(err, &given) && !f.Refused {
		return failf(exitUnavailable, "%w", err)
	}
	return err
}
