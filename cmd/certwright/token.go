package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func tokenGroup(a *app) *cobra.Command {
	return group("token", "Join tokens: create, list, revoke", `
A join token is a secret that allows a few certificates under a grant of its own:
for these profiles and names, on behalf of this owner, for a while.`,
		tokenCreateCommand(a), tokenListCommand(a), tokenRevokeCommand(a))
}

func (a *app) tokenRows(tokens ...*pb.Token) rows {
	r := rows{columns: columnsOf("id", "owner", "profiles", "names", "used", "expires", "state", "+created", "+creator", "+revoked")}
	for _, t := range tokens {
		var names []string
		for _, list := range [][]string{t.GetDnsPatterns(), t.GetIpPatterns(), t.GetUriPatterns(), t.GetEmailPatterns()} {
			names = append(names, list...)
		}
		r.add(t.GetId(), t.GetId(), t.GetOwner(), strings.Join(t.GetProfiles(), ", "), a.some(names), fmt.Sprintf("%d of %d", t.GetUsed(), t.GetUses()),
			a.expiry(t.GetExpireTime()), word(t.GetState()), stamp(t.GetCreateTime()), t.GetCreator(), stamp(t.GetRevokeTime()))
	}
	return r
}

func tokenListCommand(a *app) *cobra.Command {
	filter, limit := "", 0
	cmd := leaf{
		use: "list [flags]", short: "List join tokens, without their secrets",
		long: `
Lists join tokens, newest first. Secrets are never shown: the server keeps only
their hashes.`,
		example: `
certwright token list
certwright token list --filter 'owner = "team-a" AND state = ACTIVE' -o wide`,
		next: "certwright token revoke ID",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListTokensResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewTokenServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListTokens(ctx, &pb.ListTokensRequest{PageSize: size, PageToken: token, Filter: filter})
					all.Tokens = append(all.Tokens, page.GetTokens()...)
					return len(page.GetTokens()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.tokenRows(all.GetTokens()...))
		},
	}.command()
	cmd.Flags().StringVar(&filter, "filter", "", "AIP-160 filter over id, owner, state, creator, create_time and expire_time")
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func tokenRevokeCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "revoke ID [flags]", short: "Revoke a join token",
		long: `
Revokes a join token: from then on it allows nothing. Certificates that it allowed
stay valid.`,
		example: `
certwright token revoke 0f1e2d3c4b5a69788796a5b4c3d2e1f0
certwright token revoke 0f1e2d3c4b5a69788796a5b4c3d2e1f0 -o json`,
		next: "certwright token list",
		args: exactly("the ID of a token"),
		run: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], "cwt_") {
				return usagef("that is a token's secret, not its ID, and others may have seen it; certwright token list shows the IDs")
			}
			var token *pb.Token
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				token, err = pb.NewTokenServiceClient(conn).RevokeToken(ctx, &pb.RevokeTokenRequest{Id: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(token, a.tokenRows(token))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}
