package main

import "github.com/spf13/cobra"

func ledgerGroup(a *app) *cobra.Command {
	return group("ledger", "The ledger: read, prove, verify, export", `
The ledger is the append-only book of everything that was issued and changed: a
Merkle tree with signed checkpoints.`,
		ledgerStatusCommand(a), ledgerListCommand(a), ledgerShowCommand(a), ledgerVerifyCommand(a), verifyChildCommand(a), ledgerAuditCommand(a),
		ledgerProofCommand(a), ledgerExportCommand(a), ledgerConsistencyCommand(a), ledgerRecoverCommand(a), ledgerClockCommand(a))
}
