package main

import (
	"github.com/spf13/cobra"
)

func storageScrubCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "scrub [flags]", short: "Check the database's pages, checksums and indexes",
		long: `
Checks the file of a stopped server in another process: every page, every checksum,
and that certificates, revocations and all indexes follow from the entries. It knows
no key and no checkpoint: certwright ledger verify compares with these too. Exits with
8 if something is wrong.

A running server verifies itself: then this is certwright ledger verify.`,
		example: `
certwright storage scrub
certwright storage scrub --file copy.db -o json`,
		next: "certwright ledger verify",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			check := fileCheck{file: file, scrub: true}
			if check.file == "" {
				check.file = a.besideData(cmd.Context())
			}
			if check.file == "" {
				result, err := a.verifyAtServer(cmd.Context(), false)
				if err != nil {
					return err
				}
				return a.printChecked(result)
			}
			result, err := a.verifyInChild(cmd.Context(), check)
			if err != nil {
				return err
			}
			return a.printChecked(result)
		},
	}.command()
	cmd.Flags().StringVar(&file, "file", "", "database of a stopped server (default: that of --data, if no server runs there)")
	_ = cmd.MarkFlagFilename("file", "db")
	a.outputFlag(cmd)
	return cmd
}
