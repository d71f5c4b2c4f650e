package main

import "github.com/spf13/cobra"

func certGroup(a *app) *cobra.Command {
	return group("cert", "Certificates: issue, find, explain, revoke, check", `
Certificates: issue them, find them, read their story, revoke them, check them.`,
		certIssueCommand(a), certSignCommand(a), certListCommand(a), certShowCommand(a),
		certInspectCommand(a), certRevokeCommand(a), certVerifyCommand(a), certExpiringCommand(a), certExplainCommand(a),
		certReplaceByCommand(a))
}
