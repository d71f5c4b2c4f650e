package main

import (
	"github.com/spf13/cobra"
)

func completionCommand(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	cmd := leaf{
		use: "completion SHELL", short: "Print the completion script for a shell",
		long: `
Prints a script by which bash, zsh or fish complete commands, flags and, from a
running server, profiles and issuers.`,
		example: `
certwright completion bash > /etc/bash_completion.d/certwright
certwright completion zsh > "${fpath[1]}/_certwright"
certwright completion fish > ~/.config/fish/completions/certwright.fish`,
		args: exactly("a SHELL: bash, zsh or fish"),
		run: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.out, true)
			}
			return usagef("there is no completion for %q; there is for bash, zsh and fish", args[0])
		},
	}.command()
	cmd.ValidArgs, cmd.ValidArgsFunction = shells, nil
	return cmd
}
