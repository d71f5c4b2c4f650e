package main

import (
	"time"

	"github.com/spf13/cobra"
)

func certExpiringCommand(a *app) *cobra.Command {
	n := &narrowing{}
	within := span(30 * day)
	cmd := leaf{
		use: "expiring [flags]", short: "List what expires soon and has no successor",
		long: `
Lists issued certificates that expire within a time, soonest first. Those that
have a successor (a later certificate with the same names, owner and profile) are left
out: they may expire.`,
		example: `
certwright cert expiring --within 30d
certwright cert expiring --within 2w --owner team-a -o json`,
		next: "certwright cert show SERIAL",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			t := append(n.terms(), "state = ISSUED", "superseded = false")
			t.before("not_after", now.Add(time.Duration(within)))
			return a.listCertificates(cmd.Context(), t.and(n.filter), "not_after", n.limit)
		},
	}.command()
	n.flags(a, cmd, "the fields of a certificate")
	cmd.Flags().Var(&within, "within", "time from now: 30d, 2w, 12h")
	return cmd
}
