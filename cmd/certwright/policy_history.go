package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func policyHistoryCommand(a *app) *cobra.Command {
	limit := 0
	cmd := leaf{
		use: "history [flags]", short: "List the policy versions that were activated",
		long: `
Lists every activation of a policy, newest first: number, time, who did it, the
document's hash and the ledger index of its entry.`,
		example: `
certwright policy history
certwright policy history --limit 5 -o json`,
		next: "certwright policy show VERSION",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListPolicyVersionsResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewPolicyServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListPolicyVersions(ctx, &pb.ListPolicyVersionsRequest{PageSize: size, PageToken: token})
					all.Versions = append(all.Versions, page.GetVersions()...)
					return len(page.GetVersions()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, policyRows(all.GetVersions()))
		},
	}.command()
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}
