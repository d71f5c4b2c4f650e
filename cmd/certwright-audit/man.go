package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is for packagers.
func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a folder", DisableFlagsInUseLine: true,
		Long: "Writes one man page for each command into a folder, which is made if it is not there.",
		Example: `  certwright-audit man ./man
  certwright-audit man /usr/local/share/man/man1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s needs a DIR; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			err := doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "CERTWRIGHT-AUDIT", Section: "1", Source: "Certwright " + version, Manual: "Certwright"}, args[0])
			if err != nil {
				return err
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "certwright-audit*.1"))
			a.note("%d pages in %s.", len(pages), args[0])
			return err
		},
	}
}
