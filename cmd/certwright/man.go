package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is hidden: packagers use it.
func manCommand() *cobra.Command {
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
			return doc.GenManTree(root, &doc.GenManHeader{Title: "CERTWRIGHT", Section: "1", Source: "Certwright " + version, Manual: "Certwright"}, args[0])
		},
	}.command()
	cmd.Hidden = true
	cmd.ValidArgsFunction = nil
	return cmd
}
