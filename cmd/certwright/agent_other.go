//go:build !unix

package main

import "github.com/spf13/cobra"

// What the agent promises rests on owners, modes, links and process groups.

func agentGroup(*app) *cobra.Command { return unixOnly("agent", "Keep this host's certificates fresh") }

func joinCommand(*app) *cobra.Command {
	return unixOnly("join", "Get the first certificate of this host by a join token")
}

// unixOnly is a command that is not to be had here, and says so whatever it is given.
func unixOnly(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short + " (on Unix only)", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return usagef("certwright %s: the agent runs on Unix only; an ACME client of this system can get certificates from the server", name)
		},
	}
}
