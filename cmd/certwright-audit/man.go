package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is hidden: packagers use it.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a folder", Hidden: true, DisableFlagsInUseLine: true,
		Long: "Writes one man page for each command into a folder, which is made if it is not there.",
		Example: `  certwright-audit man ./man
  certwright-audit man /usr/local/share/man/man1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "CERTWRIGHT-AUDIT", Section: "1", Source: "Certwright " + version, Manual: "Certwright"}, args[0])
		},
	}
}
