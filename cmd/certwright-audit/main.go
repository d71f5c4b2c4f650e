// Command certwright-audit is the outsider's verifier: it follows a published ledger,
// compares what several servers show, and can be a witness for logs. It is a program
// of its own, shares no code with the server beyond the tree, the entries' codec and the
// opener of files, and needs no access but to what is published.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "unknown"

// app is one invocation's surroundings.
type app struct {
	out, err io.Writer
	started  bool // the command line was understood
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &app{out: os.Stdout, err: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is one invocation; it returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}

const rootLong = `certwright-audit watches a Certwright ledger from outside. It trusts nobody but the
ledger's verifier key, which "certwright ledger status" prints: get it once, by a
way that you trust.

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 5 not authenticated or not
authorised, 7 unavailable (try again), 8 findings.`

const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND [flags]{{else}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{with index .Annotations "next"}}

Next:
  {{.}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" tells more about a command.{{end}}
`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "certwright-audit", Short: "Watch a Certwright ledger from outside", Long: rootLong, Version: version,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true, DisableAutoGenTag: true,
		Annotations: map[string]string{"next": "certwright-audit follow --help"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; %s --help lists them", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { a.started = true; return nil },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetUsageTemplate(usageTemplate)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(followCommand(a), compareCommand(a), witnessCommand(a), keygenCommand(a), manCommand(a))
	return root
}
