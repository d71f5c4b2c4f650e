package main

import (
	"context"

	"github.com/spf13/cobra"
)

func logoutCommand(a *app) *cobra.Command {
	local := false
	cmd := leaf{
		use: "logout --server HOST:PORT [flags]", short: "Log out: revoke this machine's session with a server",
		long: `
Revokes the session that login has opened with the server, and removes it from this
machine. With --local it is removed only, and lasts at the server until it expires:
for when the server cannot be reached.`,
		example: `
certwright logout --server ca.internal
certwright logout --server ca.internal --local`,
		next: "certwright login",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			server, err := a.sessionServer()
			if err != nil {
				return err
			}
			if server == "" {
				return usagef("certwright logout needs --server HOST:PORT")
			}
			if local {
				return a.forget(server)
			}
			return a.logout(cmd.Context(), server)
		},
	}.command()
	cmd.Flags().BoolVar(&local, "local", false, "do not tell the server")
	return cmd
}

func (a *app) logout(ctx context.Context, server string) error {
	kept, err := a.keptSession()
	if err != nil {
		return err
	}
	if kept == nil {
		a.note("There is no session with %s on this machine.", server)
		if other := a.otherSession(); other != "" {
			a.note("A session is kept for %s: use --server %s.", other, other)
		}
		return nil
	}
	if err := a.revokeKept(ctx, kept); err != nil && !sessionIsOver(err) {
		f := a.explain(err)
		return failf(f.code, "%s; the session goes on until %s, and --local forgets it here", f.text, kept.Expires.Local().Format("15:04:05"))
	}
	if _, err := a.leftOf(kept, true); err != nil { // another login may have taken its place
		return err
	}
	a.note("Logged out of %s.", server)
	return nil
}
