package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/identity"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// revokeFlags are the flags of cert revoke.
type revokeFlags struct {
	reason, filter, operation string
	dryRun, yes, allWithKey   bool
}

// reasonNames are the reasons that can be given, by RFC 5280's names.
var reasonNames = []string{"unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"}

func certRevokeCommand(a *app) *cobra.Command {
	f := &revokeFlags{}
	cmd := leaf{
		use: "revoke [SERIAL|FILE|ID] [flags]", short: "Revoke a certificate, or all that a filter selects",
		long: `
Revokes a certificate, named by its serial, its file or its ID (SHA-256 of the
DER): OCSP says so at once, the CRL shortly after. Revoking again for the same
reason changes nothing and shows when it was. With the reason keyCompromise the
key is blocked for ever, and other certificates that have it are listed;
--all-with-key revokes them too.

With --filter it revokes every certificate that an AIP-160 filter selects: it
shows how many there are, whose, and how many services lose their newest
certificate (--dry-run ends there), asks for the number to be typed (--yes does
not ask), and follows the operation. The filter cannot name id, state, superseded
and labels, which may change meanwhile. With keyCompromise the keys of those that
it selects and that are revoked or expired already are blocked too. The operation
goes on in the server whatever becomes of this command; --operation ID follows it
again.`,
		example: `
certwright cert revoke svc.internal.crt --reason superseded
certwright cert revoke 0199b2c3d4e5f60718293a4b5c6d7e8f --reason keyCompromise --all-with-key
certwright cert revoke --filter 'owner = "team-a"' --reason cessationOfOperation --dry-run
certwright cert revoke --filter 'requester = "token:0f1e2d3c4b5a69788796a5b4c3d2e1f0"' --reason keyCompromise --yes`,
		next: "certwright ocsp query FILE",
		args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (f.filter != "" || f.operation != "") || len(args) > 1 || f.filter != "" && f.operation != "" {
				return usagef("%s needs one of: a SERIAL, FILE or ID; --filter; --operation; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		run: func(cmd *cobra.Command, args []string) error {
			reason, err := f.parseReason()
			if err != nil {
				return err
			}
			switch {
			case f.operation != "":
				return a.follow(cmd.Context(), f.operation)
			case f.filter != "":
				if f.allWithKey {
					return usagef("--all-with-key goes with one certificate; a filter may name a key: spki_sha256 = \"…\"")
				}
				return f.bulk(cmd.Context(), a, f.filter, reason)
			}
			return f.one(cmd.Context(), a, args[0], reason)
		},
	}.command()
	cmd.Flags().StringVar(&f.reason, "reason", reasonNames[0], "why: "+strings.Join(reasonNames, ", "))
	cmd.Flags().BoolVar(&f.allWithKey, "all-with-key", false, "revoke all other certificates with the same key too")
	filterFlag(cmd, &f.filter, "revoke what this AIP-160 filter over the fields of a certificate selects")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be revoked, and revoke nothing")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask before revoking what the filter selects")
	cmd.Flags().StringVar(&f.operation, "operation", "", "follow an operation that is under way, by its ID")
	a.outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasonNames, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *revokeFlags) parseReason() (pb.Revocation_Reason, error) {
	reason, err := identity.ParseRevocationReason(f.reason)
	if err != nil {
		if near := nearest(f.reason, reasonNames); near != "" {
			return 0, usagef("--reason: there is no %q; did you mean %q?", f.reason, near)
		}
		return 0, usagef("--reason: %q is not one of %s", f.reason, strings.Join(reasonNames, ", "))
	}
	return pb.Revocation_Reason(reason), nil
}

// one revokes one certificate.
func (f *revokeFlags) one(ctx context.Context, a *app, text string, reason pb.Revocation_Reason) error {
	certificate, err := a.findCertificate(ctx, text)
	if err != nil {
		return err
	}
	if certificate.GetId() == "" {
		return failf(exitConflict, "serial %s is %s: there is no certificate; revoke the intent with --filter 'serial = %q'",
			certificate.GetSerial(), word(certificate.GetState()), certificate.GetSerial())
	}
	was := certificate.GetRevocation()
	if !f.dryRun {
		revoked := certificate
		err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
			revoked, err = pb.NewCertificateServiceClient(conn).RevokeCertificate(ctx, &pb.RevokeCertificateRequest{Id: certificate.GetId(), Reason: reason})
			return err
		})
		if err != nil {
			if was != nil && reason == pb.Revocation_KEY_COMPROMISE { // its key is blocked: the others that have it matter
				if failed := f.sameKey(ctx, a, certificate, reason); failed != nil {
					a.note("The other certificates with its key: %v", failed)
				}
			}
			return err
		}
		certificate = revoked
	}
	switch {
	case was != nil:
		a.note("It was revoked already, at %s for %s.", stamp(was.GetRevokeTime()), reasonName(was.GetReason()))
	case f.dryRun:
		a.note("Nothing was revoked.")
	}
	if err := a.print(certificate, a.certificateStory(certificate)); err != nil {
		return err
	}
	return f.sameKey(ctx, a, certificate, reason)
}

// sameKey lists the other certificates with the key, or revokes them.
func (f *revokeFlags) sameKey(ctx context.Context, a *app, c *pb.Certificate, reason pb.Revocation_Reason) error {
	if reason != pb.Revocation_KEY_COMPROMISE && !f.allWithKey {
		return nil
	}
	filter := fmt.Sprintf("spki_sha256 = %q AND serial != %q", c.GetSpkiSha256(), c.GetSerial())
	var shown *pb.Operation
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		shown, err = pb.NewCertificateServiceClient(conn).BulkRevokeCertificates(ctx, &pb.BulkRevokeCertificatesRequest{Filter: filter, Reason: reason, ValidateOnly: true})
		return err
	})
	if err != nil {
		return err
	}
	n := shown.GetBulkRevocation().GetTotal()
	if n == 0 {
		a.note("No other certificate with its key is valid.")
		return nil
	}
	a.note("%d more with the same key:", n)
	a.noteSample(shown.GetBulkRevocation())
	if f.allWithKey && !f.dryRun {
		op, err := a.startBulk(ctx, &pb.BulkRevokeCertificatesRequest{Filter: filter, Reason: reason, BeforeIndex: shown.GetBulkRevocation().GetBeforeIndex()})
		if err != nil {
			return err
		}
		_, err = a.await(ctx, op)
		if err == nil {
			a.note("They are revoked too.")
		}
		return err
	}
	a.note("Revoke them too: certwright cert revoke --filter %s --reason %s", quote("spki_sha256 = \""+c.GetSpkiSha256()+"\""), reasonName(reason))
	return nil
}

// reasonName is the RFC's name for a reason.
func reasonName(r pb.Revocation_Reason) string { return identity.RevocationReason(r).String() }

func (a *app) noteSample(b *pb.BulkRevocation) {
	for _, c := range b.GetSample() {
		a.note("  %s  %s  %s", c.GetSerial(), c.GetOwner(), a.some(allNames(c)))
	}
	if more := int(b.GetTotal()) - len(b.GetSample()); more > 0 {
		a.note("  and %d more", more)
	}
}
