package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// listFlags are the flags of cert list.
type listFlags struct {
	narrowing
	name, state, orderBy string
	expiringWithin       span
	denied               bool
}

func certListCommand(a *app) *cobra.Command {
	f := &listFlags{}
	cmd := leaf{
		use: "list [flags]", short: "List what was issued, or with --denied what was refused",
		long: `
Lists certificates, newest first: names, owner, profile, expiry and state; -o
wide and -o csv show more. The flags narrow the list; all given must hold.
--filter takes the same grammar (AIP-160) as the API, over the fields of a
certificate.

With --denied it lists the newest refused requests: who, what and why.`,
		example: `
certwright cert list
certwright cert list --owner team-a --expiring-within 2w
certwright cert list --filter 'profile = "server" AND not_after < "2027-01-01T00:00:00Z"' -o csv
certwright cert list --name '*.internal' --state superseded -o name
certwright cert list --denied --limit 20`,
		next: "certwright cert show SERIAL",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if f.state != "" && !slices.Contains(stateNames(), f.state) {
				return usagef("--state %q is not one of %s", f.state, strings.Join(stateNames(), ", "))
			}
			if f.denied {
				return f.refusals(cmd.Context(), a)
			}
			return a.listCertificates(cmd.Context(), f.where(time.Now()), f.orderBy, f.limit)
		},
	}.command()
	f.flags(a, cmd, "the fields of a certificate")
	cmd.Flags().StringVar(&f.name, "name", "", "only those with this name; a * at its beginning or end stands for any text")
	cmd.Flags().StringVar(&f.state, "state", "", "only those in this state: "+strings.Join(stateNames(), ", "))
	cmd.Flags().StringVar(&f.orderBy, "order-by", "", `order, such as "not_after" or "create_time desc"`)
	cmd.Flags().Var(&f.expiringWithin, "expiring-within", "only issued ones that expire within this time: 30d, 2w")
	cmd.Flags().BoolVar(&f.denied, "denied", false, "the newest refused requests instead")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func stateNames() []string {
	return []string{"reserved", "issued", "superseded", "abandoned", "revoked", "expired"}
}

// stateTerms select what the list shows in this state: an issued certificate with
// a successor is shown as superseded.
func stateTerms(state string) terms {
	switch state {
	case "":
		return nil
	case "issued":
		return terms{"state = ISSUED", "superseded = false"}
	case "superseded":
		return terms{"state = ISSUED", "superseded = true"}
	}
	return terms{"state = " + strings.ToUpper(state)}
}

func (f *listFlags) where(now time.Time) string {
	t := f.terms()
	if f.name != "" {
		t = append(t, "name:"+quoted(f.name))
	}
	t = append(t, stateTerms(f.state)...)
	if f.expiringWithin != 0 {
		t = append(t, "state = ISSUED")
		t.before("not_after", now.Add(time.Duration(f.expiringWithin)))
	}
	return t.and(f.filter)
}

// listCertificates prints the certificates that the filter selects.
func (a *app) listCertificates(ctx context.Context, filter, orderBy string, limit int) error {
	all := &pb.ListCertificatesResponse{}
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := pb.NewCertificateServiceClient(conn)
		return a.collect(limit, func(size int32, token string) (int, string, error) {
			page, err := client.ListCertificates(ctx, &pb.ListCertificatesRequest{
				PageSize: size, PageToken: token, Filter: filter, OrderBy: orderBy,
			})
			all.Certificates = append(all.Certificates, page.GetCertificates()...)
			return len(page.GetCertificates()), page.GetNextPageToken(), err
		})
	})
	if err != nil {
		return err
	}
	return a.print(all, a.certificateRows(all.GetCertificates()))
}

// refusals prints what was refused.
func (f *listFlags) refusals(ctx context.Context, a *app) error {
	if f.name != "" || f.state != "" || f.orderBy != "" || f.expiringWithin != 0 {
		return usagef("--denied goes with --filter, --owner, --profile and --limit only")
	}
	all := &pb.ListRefusalsResponse{}
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := pb.NewCertificateServiceClient(conn)
		return a.collect(f.limit, func(size int32, token string) (int, string, error) {
			page, err := client.ListRefusals(ctx, &pb.ListRefusalsRequest{PageSize: size, PageToken: token, Filter: f.terms().and(f.filter)})
			all.Refusals = append(all.Refusals, page.GetRefusals()...)
			return len(page.GetRefusals()), page.GetNextPageToken(), err
		})
	})
	if err != nil {
		return err
	}
	r := rows{columns: columnsOf("time", "outcome", "requester", "names", "profile", "reason", "detail", "+owner", "+rules", "+request id")}
	for _, refusal := range all.GetRefusals() {
		var broken []string
		for _, v := range refusal.GetViolations() {
			broken = append(broken, violationLine(v))
		}
		r.add(refusal.GetRequestId(), stamp(refusal.GetTime()), word(refusal.GetOutcome()), refusal.GetRequester(), a.some(refusal.GetNames()),
			refusal.GetProfile(), refusal.GetReason(), refusal.GetDetail(), refusal.GetOwner(), strings.Join(broken, " | "), refusal.GetRequestId())
	}
	return a.print(all, r)
}
