package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// completionPatience is how long a shell waits for words from the server.
const completionPatience = 2 * time.Second

// completeProfiles offers the profiles of the active policy.
func (a *app) completeProfiles(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	a.forCompletion(cmd, func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := pb.NewPolicyServiceClient(conn).ListProfiles(ctx, &pb.ListProfilesRequest{PageSize: maxPage})
		for _, p := range answer.GetProfiles() {
			names = append(names, p.GetName())
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeIssuers offers the issuers.
func (a *app) completeIssuers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	a.forCompletion(cmd, func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := pb.NewIssuerServiceClient(conn).ListIssuers(ctx, &pb.ListIssuersRequest{PageSize: maxPage})
		for _, i := range answer.GetIssuers() {
			names = append(names, i.GetName())
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

// forCompletion asks the server, briefly; without one there are no words.
func (a *app) forCompletion(cmd *cobra.Command, call func(context.Context, *grpc.ClientConn) error) {
	if a.tokenFile == "-" {
		return
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	a.timeout = span(completionPatience)
	_ = a.ask(ctx, call)
}
