package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func policySimulateCommand(a *app) *cobra.Command {
	q := &pb.SimulatePolicyRequest{}
	var validity span
	issuer := ""
	var claims []string
	cmd := leaf{
		use: "simulate [flags]", short: "Ask the active policy what it would say",
		long: `
Asks the server's active policy what it would say to a request, by the function
that decides real ones; nothing is recorded. A denial lists every broken rule and
exits with 4. --as asks on behalf of another principal, such as token:ID; --issuer
of anybody of an identity provider that is configured. --claim says what is proven of that principal, and
given twice makes a list. The roles that it has are shown too; without a name to
ask for, they are all that is asked.`,
		example: `
certwright policy simulate --profile server --dns svc.internal --key ecdsa-p256
certwright policy simulate --profile server --dns evil.example.com --ip 8.8.8.8
certwright policy simulate --profile server --dns web.team-a.internal --as token:0f1e2d3c4b5a69788796a5b4c3d2e1f0
certwright policy simulate --issuer https://idp.internal --claim groups=pki`,
		next: "certwright cert issue NAME",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if err := simulateAs(q, issuer, claims); err != nil {
				return err
			}
			if validity != 0 {
				q.Validity = durationpb.New(time.Duration(validity))
			}
			var answer *pb.SimulatePolicyResponse
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				answer, err = pb.NewPolicyServiceClient(conn).SimulatePolicy(ctx, q)
				return err
			})
			if err != nil {
				return err
			}
			return a.printSimulated(q, answer)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&q.Profile, "profile", defaultProfile, "profile")
	flags.StringSliceVar(&q.DnsNames, "dns", nil, "DNS name; may be repeated")
	flags.StringSliceVar(&q.IpAddresses, "ip", nil, "IP address; may be repeated")
	flags.StringSliceVar(&q.Uris, "uri", nil, "URI; may be repeated")
	flags.StringSliceVar(&q.Emails, "email", nil, "mailbox; may be repeated")
	flags.StringVar(&q.Key, "key", keyNames[0], "kind of key: "+strings.Join(keyNames, ", "))
	flags.Var(&validity, "validity", "wished validity: 12h, 30d (default: what the profile says)")
	flags.StringVar(&q.Owner, "owner", "", "owner (default: what the grant says)")
	labelFlag(cmd, &q.Labels, "label", "label of the request; may be repeated")
	flags.StringVar(&q.Principal, "as", "", "principal that would ask, such as token:ID (default: you)")
	flags.StringVar(&issuer, "issuer", "", "URL of the identity provider that the principal would be of")
	flags.StringArrayVar(&claims, "claim", nil, "claim NAME=VALUE that the principal would have; may be repeated, also for one name")
	a.outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("profile", a.completeProfiles)
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(keyNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// simulateAs puts the principal of --issuer and the claims into the question.
func simulateAs(q *pb.SimulatePolicyRequest, issuer string, claims []string) error {
	switch {
	case issuer != "" && q.GetPrincipal() != "":
		return usagef("--issuer and --as both say who would ask; give one of them")
	case issuer == "" && q.GetPrincipal() == "" && len(claims) > 0:
		return usagef("--claim needs to know of whom: give --issuer URL, or --as mtls:ID or device:CA/ID")
	case issuer != "":
		q.Principal = "oidc:" + issuer + "#simulated"
	}
	if q.GetPrincipal() == "" && len(q.GetDnsNames())+len(q.GetIpAddresses())+len(q.GetUris())+len(q.GetEmails()) == 0 {
		return usagef("policy simulate needs a name to ask for: --dns NAME, --ip, --uri or --email; or --issuer URL with --claim, or --as, to ask for roles")
	}
	for _, text := range claims {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return usagef("--claim %q: write NAME=VALUE", text)
		}
		q.Claims = append(q.Claims, &pb.Claim{Name: name, Value: value})
	}
	return nil
}

func (a *app) printSimulated(q *pb.SimulatePolicyRequest, answer *pb.SimulatePolicyResponse) error {
	names := slices.Concat(q.GetDnsNames(), q.GetIpAddresses(), q.GetUris(), q.GetEmails())
	if len(names) == 0 && q.GetPrincipal() != "" {
		r := rows{portrait: true, columns: columnsOf("Principal", "Roles", "Policy version")}
		r.add(answer.GetPrincipal(), answer.GetPrincipal(), roleText(answer.GetRoles()), answer.GetPolicyVersion())
		return a.print(answer, r)
	}
	r := rows{portrait: true, columns: columnsOf("Verdict", "Grant", "Owner", "Issuer", "Validity", "Longest validity",
		"+Backdate", "+Key usages", "+Extended key usages", "+Broken rules", "+Principal", "+Roles", "Policy version")}
	verdict := "denied"
	if answer.GetAllowed() {
		verdict = "allowed"
	}
	var broken []string
	for _, v := range answer.GetViolations() {
		broken = append(broken, violationLine(v))
	}
	b := answer.GetBounds()
	r.add(verdict, verdict, answer.GetGrant(), b.GetOwner(), b.GetIssuer(), spanOf(b.GetValidity()), spanOf(b.GetMaxValidity()),
		spanOf(b.GetBackdate()), strings.Join(b.GetKeyUsages(), ", "), strings.Join(b.GetExtKeyUsages(), ", "),
		strings.Join(broken, " | "), answer.GetPrincipal(), roleText(answer.GetRoles()), answer.GetPolicyVersion())
	if err := a.print(answer, r); err != nil {
		return err
	}
	if answer.GetAllowed() {
		return nil
	}
	f := failf(exitDenied, "the policy denies %s; each line below is a broken rule", strings.Join(names, ", "))
	f.detail = broken
	return f
}

// spanOf is a duration of the API as text, "" if it is not set.
func spanOf(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return formatDuration(d.AsDuration())
}
