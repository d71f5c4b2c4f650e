package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is for packagers.
func manCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "man DIR", short: "Write the man pages into a folder",
		long: `
Writes one man page for each command into a folder, which is made if it is not
there.`,
		example: `
certwright man ./man
certwright man /usr/local/share/man/man1`,
		next: "man -l ./man/certwright.1",
		args: exactly("a DIR"),
		run: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			err := doc.GenManTree(root, &doc.GenManHeader{Title: "CERTWRIGHT", Section: "1", Source: "Certwright " + version, Manual: "Certwright"}, args[0])
			if err != nil {
				return err
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "certwright*.1"))
			a.note("%s in %s.", counted(len(pages), "page"), args[0])
			return err
		},
	}.command()
	cmd.ValidArgsFunction = nil
	return cmd
}
