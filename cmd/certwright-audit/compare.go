package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

func compareCommand(a *app) *cobra.Command {
	var flags sourceFlags
	var format string
	cmd := &cobra.Command{
		Use: "compare SOURCE SOURCE... [flags]", Short: "Compare what several servers show", DisableFlagsInUseLine: true,
		Long: `Asks two or more sources of one ledger, URLs or folders, for their trees. Of any two
the larger must contain the smaller, or be of a later epoch that is linked to the
other; where it is not so, the log has signed two histories, and the first entry that
differs is named. Another auditor's --state folder is a source, too: so auditors
compare what each of them was shown.`,
		Example: `  certwright-audit compare https://ca1.internal:8443/ledger https://ca2.internal:8443/ledger --key ledger.vkey --ca root.crt
  certwright-audit compare https://ca.internal:8443/ledger /var/lib/certwright-audit --key ledger.vkey -o json`,
		Annotations: map[string]string{"next": "certwright-audit follow --help"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s needs two sources or more; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seen, err := newOutput(a, format)
			if err != nil {
				return err
			}
			keys, err := flags.verifiers()
			if err != nil {
				return err
			}
			var sources []book.Source
			for _, where := range args {
				source, err := flags.open(where)
				if err != nil {
					return err
				}
				sources = append(sources, source)
			}
			all, err := book.Compare(cmd.Context(), sources, keys, seen.finding)
			if err != nil {
				return err
			}
			found := len(seen.findings)
			largest := book.Checkpoint{}
			for i, cp := range all {
				if cp.Note != nil && (largest.Note == nil || cp.Epoch > largest.Epoch || cp.Epoch == largest.Epoch && cp.Size > largest.Size) {
					largest = cp
				}
				if cp.Note != nil {
					a.note("%s: %s", args[i], cp)
				}
			}
			seen.result(look{Time: time.Now().UTC(), Origin: largest.Origin, Entries: largest.Size, Root: fmt.Sprintf("%x", largest.Root), Epoch: largest.Epoch}, nil)
			if found > 0 {
				return failf(exitFound, "the sources show different ledgers; keep what each of them shows: it is the evidence")
			}
			return nil
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &format)
	return cmd
}
