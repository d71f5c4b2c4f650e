package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func certReplaceByCommand(a *app) *cobra.Command {
	request := &pb.ReplaceCertificatesRequest{}
	before, yes, dryRun := "", false, false
	cmd := leaf{
		use: "replace-by FILTER --before TIME [flags]", short: "Have certificates replaced before a time, as an incident needs",
		long: `
Pulls the renewal windows of certificates forward: ACME clients that ask when to
renew (RFC 9773) replace them before the time. FILTER is AIP-160 over the fields of
a certificate; of what it selects, those count that an ACME client has, that are in
use, and that were not replaced yet; how many others are passed over is said. Nothing
is revoked. Shows what will be hit and asks first.`,
		example: `
certwright cert replace-by 'owner = "team-a"' --before 24h --dry-run
certwright cert replace-by 'not_before < "2027-01-01T00:00:00Z"' --before 2027-01-03T12:00:00Z --explanation https://wiki.internal/incident-7
certwright cert replace-by 'issuer = "issuing"' --before 2d --yes -o json`,
		next: "certwright cert list --filter FILTER",
		args: exactly("a FILTER"),
		run: func(cmd *cobra.Command, args []string) error {
			at, err := parseMoment(before, time.Now())
			if err != nil {
				return err
			}
			if strings.TrimSpace(args[0]) == "" {
				return usagef("the FILTER is empty; 'state = ISSUED' is for all certificates")
			}
			request.Filter, request.Before = args[0], timestamppb.New(at)
			return a.replaceBy(cmd.Context(), request, yes, dryRun)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&before, "before", "", "when all are to be replaced: a time (2027-01-03T12:00:00Z) or from now (24h, 2d)")
	flags.StringVar(&request.ExplanationUrl, "explanation", "", "URL of a page that tells why, for the clients' operators")
	flags.BoolVar(&dryRun, "dry-run", false, "only show what would be hit")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	a.outputFlag(cmd)
	return cmd
}

// parseMoment reads a time in RFC 3339, or a duration from now.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, usagef("--before is needed: when are they to be replaced? Such as 24h, or 2027-01-03T12:00:00Z")
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, err := parseDuration(text)
		if err != nil {
			return time.Time{}, usagef("--before %q is neither a time such as 2027-01-03T12:00:00Z nor a duration such as 24h or 2d", text)
		}
		at = now.Add(d).Truncate(time.Second)
	}
	if !at.After(now) {
		return time.Time{}, usagef("--before %s is past; name a time that is to come, or a duration such as 1h", text)
	}
	return at, nil
}

// replaceBy shows what will be hit, asks, and does it.
func (a *app) replaceBy(ctx context.Context, request *pb.ReplaceCertificatesRequest, yes, dryRun bool) error {
	call := func(validateOnly bool) (answer *pb.ReplaceCertificatesResponse, err error) {
		request.ValidateOnly = validateOnly
		err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
			answer, err = pb.NewCertificateServiceClient(conn).ReplaceCertificates(ctx, request)
			return err
		})
		return answer, err
	}
	answer, err := call(true)
	if err != nil {
		return err
	}
	a.passedOver(answer)
	count := strconv.Itoa(int(answer.GetCount()))
	switch {
	case answer.GetCount() == 0:
		a.note("No certificate is selected that an ACME client would replace; nothing changes.")
		return a.print(answer, a.certificateRows(nil))
	case dryRun:
		a.note("%s would be replaced before %s.", counted(int(answer.GetCount()), "certificate"), stamp(request.GetBefore()))
		return a.print(answer, a.certificateRows(answer.GetCertificates()))
	case !yes:
		a.note("To be replaced before %s:", stamp(request.GetBefore()))
		for _, c := range answer.GetCertificates()[:min(20, len(answer.GetCertificates()))] {
			a.note("  %s  %s  %s", c.GetSerial(), c.GetOwner(), strings.Join(allNames(c), ", "))
		}
		if answer.GetCount() > 20 {
			a.note("  and %d more", answer.GetCount()-20)
		}
		if err := a.confirmTyped(ctx, "Selected: "+counted(int(answer.GetCount()), "certificate")+".", count); err != nil {
			return err
		}
	}
	if answer, err = call(false); err != nil {
		return err
	}
	a.note("To be replaced before %[2]s: %[1]s; clients learn it when they next ask.", counted(int(answer.GetCount()), "certificate"), stamp(request.GetBefore()))
	return a.print(answer, a.certificateRows(answer.GetCertificates()))
}

// passedOver says what is selected, in use, and not acted on.
func (a *app) passedOver(answer *pb.ReplaceCertificatesResponse) {
	if n := int(answer.GetNotAcme()); n > 0 {
		a.note("Passed over: %s not issued over ACME, which no client will ask about; such as the server's own and those of cert issue.", counted(n, "certificate"))
	}
	if n := int(answer.GetSuperseded()); n > 0 {
		a.note("Passed over: %s superseded, replaced already.", counted(n, "certificate"))
	}
}
