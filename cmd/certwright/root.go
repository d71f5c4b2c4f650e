package main

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `Certwright is an internal certificate authority for machines: it signs under a
policy, and records every certificate in a ledger that somebody else can verify.

Commands find the server by --server, by CERTWRIGHT_SERVER, else by the socket
in the data folder (--data, CERTWRIGHT_DATA; default ./certwright-data). On the
socket one is an admin; elsewhere people log in (certwright login).

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied by policy, 5 not
authenticated or not authorised, 6 conflict or precondition, 7 unavailable (try
again), 8 a check found problems.`

const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}{{if .HasExample}}
  {{.UseLine}}{{end}}
  {{.CommandPath}} COMMAND [flags]{{else}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Common flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{with index .Annotations "next"}}

Next:
  {{.}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" tells more about a command.{{end}}
`

// newRoot is the whole command tree.
func newRoot(a *app) *cobra.Command {
	root := group("certwright", "An internal certificate authority for machines", rootLong,
		serveCommand(a), initCommand(a), certGroup(a), policyGroup(a), profileGroup(a), issuerGroup(a),
		ledgerGroup(a), crlGroup(a), ocspGroup(a), tokenGroup(a), loginCommand(a), logoutCommand(a), whoamiCommand(a), sessionGroup(a), roleGroup(a), accountGroup(a), eabGroup(a), backupCommand(a), restoreCommand(a), storageGroup(a), agentGroup(a), configGroup(a), versionCommand(a),
		completionCommand(a), manCommand(a), trustGroup(a), joinCommand(a))
	root.Annotations = map[string]string{annotationNext: "certwright serve --dev"}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(a.in)
	root.SetOut(&told{a.out, &a.unwritten})
	root.SetHelpCommand(helpCommand())
	root.SetErr(a.err)
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if a.timeout == 0 {
			return usagef("--timeout 0: nothing answers in no time; give 1s or more")
		}
		a.started = true
		a.dataNamed = a.getenv("CERTWRIGHT_DATA") != "" || cmd.Flags().Changed("data")
		return nonEmpty(cmd)
	}
	root.Version = version
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetHelpFunc(a.help(root.HelpFunc()))
	a.commonFlags(root.PersistentFlags())
	for _, flag := range []string{"token-file", "ca"} {
		_ = root.MarkPersistentFlagFilename(flag)
	}
	_ = root.MarkPersistentFlagDirname("data")
	return root
}

func (a *app) commonFlags(flags *pflag.FlagSet) {
	a.timeout = span(time.Minute)
	data := a.getenv("CERTWRIGHT_DATA")
	if data == "" {
		data = "./certwright-data"
	}
	flags.StringVar(&a.server, "server", a.getenv("CERTWRIGHT_SERVER"), "gRPC address of the server: HOST:PORT, https://HOST:PORT or unix:PATH (CERTWRIGHT_SERVER)")
	flags.StringVar(&a.data, "data", data, "data folder, whose socket is used if there is no --server (CERTWRIGHT_DATA)")
	flags.StringVar(&a.tokenFile, "token-file", a.getenv("CERTWRIGHT_TOKEN_FILE"), "file with a join token or an identity token; - is standard input (CERTWRIGHT_TOKEN_FILE; default: the session of certwright login)")
	flags.StringVar(&a.ca, "ca", a.getenv("CERTWRIGHT_CA"), "file with the root certificates to trust, PEM (CERTWRIGHT_CA; default for a server of this machine: DATA/root.crt)")
	flags.StringVar(&a.fingerprint, "fingerprint", a.getenv("CERTWRIGHT_FINGERPRINT"), "sha256:… of the root to trust, in place of --ca (CERTWRIGHT_FINGERPRINT)")
	flags.Var(&a.timeout, "timeout", "how long to wait for the server")
}

// flagError words what pflag complains of as a usage error with the nearest flag.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if near := nearest(unknown.GetSpecifiedName(), known); near != "" {
			return usagef("%w; did you mean --%s? see %s --help", err, near, cmd.CommandPath())
		}
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		why := invalid.Unwrap().Error()
		switch kind := invalid.GetFlag().Value.Type(); kind {
		case "int", "int32", "int64", "uint", "uint32", "uint64":
			why = "it is not a whole number, or too large a one"
		case "bool":
			why = "it is neither true nor false"
		}
		return usagef("--%s %q: %s; see %s --help", invalid.GetFlag().Name, invalid.GetValue(), why, cmd.CommandPath())
	}
	return usagef("%s; see %s --help", strings.TrimSpace(err.Error()), cmd.CommandPath())
}
