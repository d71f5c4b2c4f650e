package main

import "github.com/spf13/cobra"

func policyGroup(a *app) *cobra.Command {
	return group("policy", "The policy: read, check, try, activate", `
The policy says who may have which certificate. The active one is the last that
was applied; each version stands in the ledger.`,
		policyShowCommand(a), policyCheckCommand(a), policyTestCommand(a), policySimulateCommand(a),
		policyApplyCommand(a), policyHistoryCommand(a))
}
