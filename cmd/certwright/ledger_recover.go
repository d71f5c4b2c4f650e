package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/recovery"
)

// recoverFlags are those of ledger recover.
type recoverFlags struct {
	config, from string
	dryRun, yes  bool
}

// recovered is the result of ledger recover: its JSON.
type recovered struct {
	Entries  uint64   `json:"entries"`  // before
	LastSeen uint64   `json:"lastSeen"` // entries under the newest checkpoint that is known
	Taken    uint64   `json:"takenBack"`
	Lost     uint64   `json:"lost"`
	Epoch    uint64   `json:"epoch,omitempty"` // that begins
	Origin   string   `json:"origin,omitempty"`
	Tokens   int      `json:"lostTokens"`
	ByHand   []string `json:"byHand"`
	DryRun   bool     `json:"dryRun"`
}

func ledgerRecoverCommand(a *app) *cobra.Command {
	var f recoverFlags
	cmd := leaf{
		use: "recover [flags]", short: "Go on from an older copy of the ledger",
		long: `
For a server that refuses to start because its database is behind the last-seen
file: after a restore of an older backup. The server must be stopped.

What is missing is taken from a copy of the ledger that --from names (a folder of
certwright ledger export, or that of an auditor), checked against what was last
seen. Certificates that come back are listed and can be revoked; their own octets
are gone. If nothing stays lost, it is the same history again. Else a new epoch of
the ledger begins, which says openly where the old one was cut and what was last
seen of it; auditors go on with the key that they have, witnesses need the new one.

Run it with --dry-run first. If it is ended, run it again.`,
		example: `
certwright ledger recover --dry-run
certwright ledger recover --from /mnt/auditor/ledger
certwright ledger recover --data /var/lib/certwright --yes -o json`,
		next: "certwright serve",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), a, cmd)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "folder with a copy of the ledger: checkpoint and tile/entries (C2SP tlog-tiles)")
	flags.StringVar(&f.config, "config", "", "configuration file (CERTWRIGHT_CONFIG; default DATA/certwright.yaml)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("from")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

// offline loads the settings of the stopped server of --data.
func (a *app) offline(cmd *cobra.Command, file string) (config.Config, error) {
	settings, err := a.loadSettings(cmd, config.Sources{File: file, Dev: madeByDev(a.data)})
	if err != nil {
		return config.Config{}, badSettings(exitUsage, err)
	}
	return settings.Config, nil
}

func (f *recoverFlags) run(ctx context.Context, a *app, cmd *cobra.Command) (err error) {
	c, err := a.offline(cmd, f.config)
	if err != nil {
		return err
	}
	r, err := recovery.Open(ctx, recovery.Options{
		Config: c, From: f.from, Actor: identity.Principal{Method: identity.LocalSocket, ID: "admin"}.String(),
		Logger: newLogger(a.err, config.Log{Level: "error"}),
	})
	if err != nil {
		return unstarted(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	result := recovered{Entries: r.Start, LastSeen: r.Seen.Size, Taken: r.Taken(), Lost: r.Lost(), Epoch: r.Epoch, ByHand: []string{}, DryRun: f.dryRun}
	if r.Epoch > 0 {
		result.Origin = ledger.EpochOrigin(c.Ledger.Origin, r.Epoch)
	}
	a.tellRecovery(result)
	if f.dryRun {
		a.note("Nothing was changed.")
		return a.printRecovered(result)
	}
	if !f.yes {
		if err := a.confirmRecovery(ctx, result); err != nil {
			return err
		}
	}
	bar := a.progress("entries taken back")
	err = r.Run(ctx, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	result.Tokens, result.ByHand = r.LostTokens(), append(result.ByHand, r.ByHand()...)
	for _, line := range result.ByHand {
		a.note("To do: %s", line)
	}
	return a.printRecovered(result)
}

// tellRecovery says what is at stake.
func (a *app) tellRecovery(r recovered) {
	a.note("The database has %d entries, %d were last seen: %d are missing.", r.Entries, r.LastSeen, r.LastSeen-min(r.Entries, r.LastSeen))
	if r.Taken > 0 {
		a.note("The copy gives back %d.", r.Taken)
	}
	if r.Epoch == 0 {
		a.note("Nothing stays lost: it is the same history again, and no new epoch begins.")
		return
	}
	a.note("%d stay lost: certificates among them cannot be revoked here. Epoch %d begins, with the origin %s; witnesses need its verifier key.", r.Lost, r.Epoch, r.Origin)
}

func (a *app) confirmRecovery(ctx context.Context, r recovered) error {
	if r.Epoch > 0 {
		return a.confirmTyped(ctx, "What is lost stays lost.", "lose "+strconv.FormatUint(r.Lost, 10))
	}
	return a.confirmTyped(ctx, "The ledger records it.", "recover")
}

func (a *app) printRecovered(r recovered) error {
	epoch := "the same as before"
	if r.Epoch > 0 {
		epoch = fmt.Sprintf("%d (%s)", r.Epoch, r.Origin)
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	out := rows{portrait: true, columns: columnsOf("Entries before", "Last seen", "Taken back", "Lost", "Epoch", "Lost tokens", "|To do")}
	out.add(number(r.LastSeen), number(r.Entries), number(r.LastSeen), number(r.Taken), number(r.Lost), epoch, strconv.Itoa(r.Tokens), strings.Join(r.ByHand, "\n"))
	return a.print(r, out)
}
