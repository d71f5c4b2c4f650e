package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func policyApplyCommand(a *app) *cobra.Command {
	yes := false
	cmd := leaf{
		use: "apply FILE [flags]", short: "Activate a policy file",
		long: `
Shows what a policy file (- is standard input, with --yes) would change, asks, and
activates it. The activation gets a version and an entry in the ledger. Applying
the active policy again changes nothing. A file with faults changes nothing
either: they are listed with their lines, and the exit code is 8.`,
		example: `
certwright policy apply certwright-data/policy.yaml
certwright policy apply policy.yaml --yes -o json`,
		next: "certwright policy history",
		args: exactly("a FILE with a policy"),
		run: func(cmd *cobra.Command, args []string) error {
			data, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			return a.apply(cmd.Context(), args[0], string(data), yes)
		},
	}.command()
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

func (a *app) apply(ctx context.Context, file, text string, yes bool) error {
	if file == "-" && !yes {
		return usagef("standard input is the policy and cannot answer a question; give --yes")
	}
	active, err := a.policyVersion(ctx, "")
	if err != nil {
		return err
	}
	if err := a.checkAtServer(ctx, file, text); err != nil {
		return err
	}
	if active.GetDocument() == text {
		a.note("%s is the active policy already, version %d; nothing changes.", file, active.GetNumber())
		active.Document = ""
		return a.print(active, policyRows([]*pb.PolicyVersion{active}))
	}
	for _, line := range lineChanges(active.GetDocument(), text) {
		_, _ = fmt.Fprintln(a.err, printable(line))
	}
	if !yes {
		if err := a.confirm(ctx, "Activate this policy?"); err != nil {
			return err
		}
	}
	var version *pb.PolicyVersion
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		version, err = pb.NewPolicyServiceClient(conn).ApplyPolicy(ctx, &pb.ApplyPolicyRequest{Document: text})
		return err
	})
	if err != nil {
		return err
	}
	return a.print(version, policyRows([]*pb.PolicyVersion{version}))
}

// checkAtServer lets the server judge the document: it knows the issuers.
func (a *app) checkAtServer(ctx context.Context, file, text string) error {
	var answer *pb.CheckPolicyResponse
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pb.NewPolicyServiceClient(conn).CheckPolicy(ctx, &pb.CheckPolicyRequest{Document: text})
		return err
	})
	if err != nil || len(answer.GetFindings()) == 0 {
		return err
	}
	f := failf(exitFound, "%s has faults and was not applied; each line below says where", file)
	for _, found := range answer.GetFindings() {
		line := file
		if found.GetLine() > 0 {
			line += fmt.Sprintf(":%d", found.GetLine())
		}
		if found.GetKey() != "" {
			line += ": " + found.GetKey()
		}
		line += ": " + found.GetDetail()
		if found.GetHelp() != "" {
			line += "; " + found.GetHelp()
		}
		f.detail = append(f.detail, line)
	}
	return f
}
