package main

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/cmd/certwright-audit/internal/bounds"
)

// following is a run of follow.
type following struct {
	*app
	sourceFlags
	state, output      string
	once, acceptEpoch  bool
	interval, grace    time.Duration
	certificates       []string
	scan, scanLists    []string
	issuers, previous  []string
	witnesses          []string
	need               int
	issuerCertificates []*x509.Certificate
	scanTargets        []string
	seen               *output
}

func followCommand(a *app) *cobra.Command {
	f := &following{app: a}
	cmd := &cobra.Command{
		Use: "follow SOURCE [flags]", Short: "Follow a ledger and report what does not hold", DisableFlagsInUseLine: true,
		Long: `Follows a published ledger: a URL under which "checkpoint" and "tile/..." are, or a
folder that "certwright ledger export" has written. It keeps the last checkpoint and
a copy of every entry in --state, and reports, one line each: a checkpoint that does
not contain the one before, an entry that was replaced, inserted or removed, an
entry that is malformed, a certificate outside of the bounds of its profile and
grant, and certificates of --certs and --scan that are not in the book.

The first look takes the ledger as it finds it; from then on nothing that was there
can change unseen. Keep --state where nobody who keeps the ledger can write. A new
epoch, which "certwright ledger recover" begins after a loss, is taken up if it is
linked to what was seen; a notice names the entries that are lost to the ledger, and
--state keeps them. --key stays the same.`,
		Example: `  certwright-audit follow https://ca.internal:8443/ledger --key ledger.vkey --state /var/lib/certwright-audit --ca root.crt
  certwright-audit follow ./export --key ledger.vkey --state ./audit --once -o json
  certwright-audit follow https://ca.internal:8443/ledger --key ledger.vkey --state ./audit --once --certs /etc/ssl/fleet --scan web.internal:443`,
		Annotations: map[string]string{"next": "certwright-audit compare --help"},
		Args:        oneSource,
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args[0]) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "./certwright-audit", "folder of this auditor; it is made if it is not there")
	flags.BoolVar(&f.once, "once", false, "look once, and end")
	flags.DurationVar(&f.interval, "interval", time.Minute, "how often to look")
	flags.StringArrayVar(&f.certificates, "certs", nil, "file or folder with certificates that must be in the book; may be repeated")
	flags.StringArrayVar(&f.scan, "scan", nil, "HOST:PORT of a TLS server whose certificate must be in the book; may be repeated")
	flags.StringArrayVar(&f.scanLists, "scan-list", nil, "file with such addresses, one a line; may be repeated")
	flags.StringArrayVar(&f.issuers, "issuer", nil, "file with CA certificates: certificates that none of them has signed are passed over; may be repeated")
	flags.DurationVar(&f.grace, "grace", 3*time.Second, "how long to wait for the checkpoint of a certificate that is not in the book yet")
	flags.StringArrayVar(&f.previous, "previous", nil, "URL or folder with the end of an epoch that has ended, if it was not seen; may be repeated")
	flags.BoolVar(&f.acceptEpoch, "accept-epoch", false, "take a new epoch that does not follow what was seen, with a finding")
	flags.StringArrayVar(&f.witnesses, "witness", nil, "verifier key of a witness, or a file with several; may be repeated")
	flags.IntVar(&f.need, "need", 0, "how many of the witnesses must have cosigned each checkpoint")
	outputFlag(cmd, &f.output)
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

// oneSource wants one argument.
func oneSource(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s needs one SOURCE, a URL or a folder; see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// prepare reads what the flags name.
func (f *following) prepare(where string) (c book.Config, err error) {
	if f.interval < time.Second || f.grace < 0 {
		return c, usagef("--interval must be 1s or more, and --grace not negative")
	}
	if f.seen, err = newOutput(f.app, f.output); err != nil {
		return c, err
	}
	if c.Keys, err = f.verifiers(); err != nil {
		return c, err
	}
	if c.Source, err = f.open(where); err != nil {
		return c, err
	}
	if c.Witnesses, err = witnesses(f.witnesses, f.need); err != nil {
		return c, err
	}
	for _, each := range f.previous {
		source, err := f.open(each)
		if err != nil {
			return c, err
		}
		c.Previous = append(c.Previous, source)
	}
	for _, each := range f.issuers {
		all, err := readCertificates("--issuer", each)
		if err != nil {
			return c, err
		}
		f.issuerCertificates = append(f.issuerCertificates, all...)
	}
	if f.scanTargets, err = targets(f.scan, f.scanLists); err != nil {
		return c, err
	}
	c.Dir, c.Rules, c.Need, c.AcceptEpoch = f.state, bounds.Read, f.need, f.acceptEpoch
	c.Report, c.Notice, c.Progress = f.seen.finding, f.seen.notice, f.seen.progress
	return c, nil
}

func (f *following) run(ctx context.Context, where string) error {
	c, err := f.prepare(where)
	if err != nil {
		return err
	}
	follower, err := book.OpenFollower(c)
	if err != nil {
		return err
	}
	defer follower.Close() //nolint:errcheck // everything is saved
	for {
		err := f.look(ctx, follower)
		f.seen.looked(where, follower, err)
		if f.once {
			return f.ended(follower, err)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, book.ErrUnavailable) && !errors.Is(err, book.ErrRefused) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			f.note("%s: %v; the next look is in %s", time.Now().UTC().Format(time.RFC3339), err, f.interval)
		}
		select {
		case <-ctx.Done():
			return f.ended(follower, nil)
		case <-time.After(f.interval):
		}
	}
}

// ended is the command's error: findings count more than what could not be seen.
func (f *following) ended(follower *book.Follower, err error) error {
	if n := follower.Found(); n > 0 {
		if err != nil {
			f.note("certwright-audit: %v", err)
		}
		what := "findings"
		if n == 1 {
			what = "finding"
		}
		return failf(exitFound, "%d %s; keep %s as it is: it is the evidence", n, what, f.state)
	}
	return err
}

// look is one round: what is shown first, then the ledger, so that what was shown is
// older than the checkpoint.
func (f *following) look(ctx context.Context, follower *book.Follower) error {
	shown, unseen, err := f.shown(ctx, follower.Keep)
	if err != nil {
		return err
	}
	before := follower.Found()
	if err := follower.Step(ctx); err != nil {
		return err
	}
	missing, err := follower.Missing(shown)
	if err != nil {
		return err
	}
	if len(missing) > 0 && f.grace > 0 && follower.Found() == before {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.grace):
		}
		if err := follower.Step(ctx); err != nil {
			return err
		}
	}
	return errors.Join(follower.Lookup(missing), unseen)
}

// shown gathers the certificates that must be in the book. unseen says that not all
// could be looked at.
func (f *following) shown(ctx context.Context, report book.Report) (shown []book.Shown, unseen, err error) {
	for _, path := range f.certificates {
		all, err := book.ReadShown(ctx, path, report)
		if err != nil {
			return nil, nil, err
		}
		shown = append(shown, all...)
	}
	failed := 0
	shown = append(shown, scan(ctx, f.scanTargets, func(target string, err error) {
		failed++
		f.note("%s: %v", target, err)
	})...)
	if failed > 0 {
		unseen = failf(exitUnavailable, "%d of %d addresses show no certificate now: %w", failed, len(f.scanTargets), book.ErrUnavailable)
	}
	if len(f.issuerCertificates) > 0 {
		ours, others := book.Ours(shown, f.issuerCertificates)
		if others > 0 {
			f.note("%d certificates of other issuers were passed over", others)
		}
		shown = ours
	}
	return shown, unseen, nil
}
