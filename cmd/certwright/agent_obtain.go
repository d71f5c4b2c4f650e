//go:build unix

package main

import (
	"cmp"
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/agent"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/policy"
	serverconfig "github.com/certwright/certwright/server/config"
)

// obtainFlags are those of agent obtain.
type obtainFlags struct {
	file      string
	force     bool
	folder    string
	directory string
	webroot   string
	hook      string
	validity  span
	wish      config.Certificate
}

func agentObtainCommand(a *app) *cobra.Command {
	f := &obtainFlags{}
	f.wish.SetDefaults()
	cmd := leaf{
		use: "obtain [NAME...] [flags]", short: "Get certificates that are due, once",
		long: `
With --config: gets those certificates of the agent's file that are due, or of them
only those that are named; the hooks of those that are new are run.

Without: gets one certificate for the names, into --folder, from --server (by
--token-file) or by ACME from --directory. The same command again renews it once it
is due, by itself: run it from cron, or let certwright agent run do it.

What is not due is left alone and is no error; --force gets it all the same. Beside
an agent that runs nothing is obtained: if what it keeps is valid that is no error,
else, and with --force, it exits with 6. A
failure exits as cert issue does: 4 if the policy denies it, 5 if the credential is
not good, 7 if nobody answers.`,
		example: `
certwright agent obtain web.internal --server ca.internal:8444 --ca root.crt --token-file join.token --folder ./web
certwright agent obtain web.internal --directory https://ca.internal/acme/directory --ca root.crt --webroot /var/www --folder ./web
certwright agent obtain --config /etc/certwright/agent.yaml
certwright agent obtain web --config /etc/certwright/agent.yaml --force`,
		next: "certwright agent status",
		run: func(cmd *cobra.Command, args []string) error {
			c, names, err := f.config(a, args)
			if err != nil {
				return err
			}
			return a.obtain(cmd.Context(), c, names, f.force)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&f.file, "config", "", "the agent's file; NAMEs are then those of its certificates")
	flags.BoolVar(&f.force, "force", false, "also if it is not due")
	flags.StringVar(&f.folder, "folder", "", "folder for the files, and for what the agent must remember")
	flags.StringVar(&f.directory, "directory", "", "get it by ACME: URL of the directory")
	flags.StringVar(&f.webroot, "webroot", "", "ACME: folder of the web server that answers http-01 (default: port 80 here)")
	flags.StringVar(&f.wish.Profile, "profile", "", "profile to issue under (default: the one that the grant names)")
	flags.StringVar(&f.wish.Owner, "owner", "", "who answers for the certificate (default: what the grant says)")
	labelFlag(cmd, &f.wish.Labels, "label", "label that is kept with the certificate; may be repeated")
	flags.Var(&f.validity, "validity", "how long it shall be valid (default: what the profile says)")
	flags.StringVar(&f.wish.Key.Type, "key", f.wish.Key.Type, "kind of key: "+strings.Join(keyNames, ", "))
	flags.BoolVar(&f.wish.Key.Reuse, "reuse-key", false, "keep the key when the certificate is renewed")
	flags.StringVar(&f.hook, "hook", "", "program that is run when there is a new certificate, without arguments")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.MarkFlagDirname("folder")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(keyNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// config is the file's, or one that is made of the flags.
func (f *obtainFlags) config(a *app, args []string) (*config.Config, []string, error) {
	if f.file != "" {
		c, err := agentFile(f.file)
		return c, args, err
	}
	if len(args) == 0 {
		return nil, nil, usagef("certwright agent obtain needs a NAME, or --config; see certwright agent obtain --help")
	}
	if f.folder == "" {
		return nil, nil, usagef("certwright agent obtain needs --folder: where the files go")
	}
	ids, err := parseNames(args)
	if err != nil {
		return nil, nil, err
	}
	var c config.Config
	c.SetDefaults()
	c.State, c.CAFile, c.Server = filepath.Join(f.folder, ".agent"), a.rootFile(), a.server
	c.Auth.TokenFile = a.tokenFile
	if c.Server == "" && f.directory == "" {
		c.Server, c.OwnSocket = "unix:"+filepath.Join(a.data, "admin.sock"), !a.dataNamed && a.tokenFile != ""
	}
	if where := cmp.Or(f.directory, c.Server); !strings.HasPrefix(where, "unix:") {
		if c.CAFile = a.rootFor(hostOfURL(where)); c.CAFile == "" && a.rootFile() != "" {
			return nil, nil, usagef("%s is not on this machine: give the file with its CA's root by --ca (certwright trust print makes one)", where)
		}
	}
	one := f.wish
	one.Name, one.Names, one.Folder, one.Validity = fileBase(ids[0]), args, f.folder, policy.Duration(f.validity)
	if len(one.Name) > 63 {
		one.Name = one.Name[:63]
	}
	if f.hook != "" {
		one.Hook.Command = []string{f.hook}
	}
	if f.directory != "" {
		one.Source = config.ACMESource
		c.ACME.Directory, c.ACME.Webroot, c.ACME.AgreeTerms = f.directory, f.webroot, true
	}
	c.Certificates = []config.Certificate{one}
	if err := c.Check(); err != nil {
		return nil, nil, badSettings(exitUsage, err)
	}
	return &c, nil, nil
}

// hostOfURL is a URL's host with its port; another text is answered as it is.
func hostOfURL(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return text
}

// obtained is the JSON of agent obtain.
type obtained struct {
	agent.CertificateStatus
	Obtained bool   `json:"obtained"`
	Error    string `json:"error"`
}

func (a *app) obtain(ctx context.Context, c *config.Config, names []string, force bool) error {
	for _, name := range names {
		if c.Find(name) == nil {
			return failf(exitNotFound, "%w", c.Lacking(name))
		}
	}
	results, err := a.attempt(ctx, agent.Options{Config: c}, names, force)
	if agent.IsRunning(err) && !force {
		if all, kept := agent.Kept(c, names, time.Now()); kept {
			return a.notDue(all)
		}
		if why := agent.Waiting(c, names, time.Now()); why != "" {
			return failf(exitConflict, "an agent with this state folder is running, and %s; mend what it says and reload the agent (SIGHUP)", why)
		}
	}
	if err != nil {
		return err
	}
	return a.printObtained(results)
}

// attempt has an agent make one attempt.
func (a *app) attempt(ctx context.Context, o agent.Options, names []string, force bool) ([]agent.Result, error) {
	o.Version, o.Logger = version, newLogger(a.err, serverconfig.Log{Level: "error", Format: o.Config.Log.Format})
	one, err := agent.Open(o)
	if err != nil {
		return nil, err
	}
	defer one.Close() //nolint:errcheck // the lock ends with the process
	results, err := one.Obtain(ctx, names, force)
	if err != nil {
		return nil, failf(exitNotFound, "%w", err)
	}
	return results, nil
}

func (a *app) printObtained(results []agent.Result) error {
	r := rows{columns: columnsOf("name", "result", "state", "not after", "next attempt", "+serial", "+folder", "error")}
	var all []obtained
	var failed error
	for _, each := range results {
		line := obtained{CertificateStatus: each.CertificateStatus, Obtained: each.Obtained}
		word := "not due"
		switch {
		case each.Err != nil:
			word, line.Error, failed = "failed", each.Err.Error(), each.Err
		case each.Obtained:
			word = "obtained"
		}
		all = append(all, line)
		r.add(each.Name, each.Name, word, each.State, timeCell(each.NotAfter), timeCell(each.NextAttempt), each.Serial, each.Folder, line.Error)
	}
	if err := a.print(map[string]any{"certificates": all}, r); err != nil {
		return err
	}
	if failed != nil {
		return fromAgent(failed)
	}
	return nil
}

// notDue prints the certificates of an agent that runs.
func (a *app) notDue(kept []agent.CertificateStatus) error {
	r := rows{columns: columnsOf("name", "result", "state", "not after", "next attempt", "+serial", "+folder", "error")}
	var all []obtained
	for _, each := range kept {
		all = append(all, obtained{CertificateStatus: each})
		r.add(each.Name, each.Name, "not due", each.State, timeCell(each.NotAfter), timeCell(each.NextAttempt), each.Serial, each.Folder, "")
	}
	if err := a.print(map[string]any{"certificates": all}, r); err != nil {
		return err
	}
	a.note("not due: the agent that runs keeps it.")
	return nil
}

// timeCell is a time in a table; "" for none.
func timeCell(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
