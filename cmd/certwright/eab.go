package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func eabGroup(a *app) *cobra.Command {
	return group("eab", "EAB keys for ACME: create, list, revoke", `
An EAB key binds the ACME accounts that are made with it to an owner and a grant
(external account binding, RFC 8555 section 7.3.4).`,
		eabCreateCommand(a), eabListCommand(a), eabRevokeCommand(a))
}

func (a *app) eabRows(keys ...*pb.EABKey) rows {
	r := rows{columns: columnsOf("id", "grant", "owner", "profiles", "names", "used", "expires", "state", "+challenges", "+created", "+creator")}
	for _, k := range keys {
		used := fmt.Sprintf("%d of %d", k.GetUsed(), k.GetUses())
		if k.GetUses() == 0 {
			used = fmt.Sprintf("%d", k.GetUsed())
		}
		challenges := "needed"
		if k.GetNoChallenges() {
			challenges = "none"
		}
		r.add(k.GetId(), k.GetId(), k.GetName(), k.GetOwner(), strings.Join(k.GetProfiles(), ", "),
			a.some(append(append([]string{}, k.GetDnsPatterns()...), k.GetIpPatterns()...)), used, a.expiry(k.GetExpireTime()), word(k.GetState()),
			challenges, stamp(k.GetCreateTime()), k.GetCreator())
	}
	return r
}

func eabListCommand(a *app) *cobra.Command {
	filter, limit := "", 0
	cmd := leaf{
		use: "list [flags]", short: "List EAB keys, without their secrets",
		long: `
Lists EAB keys, oldest first. Secrets are never shown.`,
		example: `
certwright eab list
certwright eab list --filter 'owner = "team-a" AND state = ACTIVE' -o wide`,
		next: "certwright eab revoke ID",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListEABKeysResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewEABServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListEABKeys(ctx, &pb.ListEABKeysRequest{PageSize: size, PageToken: token, Filter: filter})
					all.EabKeys = append(all.EabKeys, page.GetEabKeys()...)
					return len(page.GetEabKeys()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.eabRows(all.GetEabKeys()...))
		},
	}.command()
	filterFlag(cmd, &filter, "AIP-160 filter over id, name, owner, state, creator, create_time and expire_time")
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func eabRevokeCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "revoke ID [flags]", short: "Revoke an EAB key",
		long: `
Revokes an EAB key: from then on no account is made with it. Accounts that it has
made stay; account deactivate ends one.`,
		example: `
certwright eab revoke 0d1e2f3a4b5c6d7e8f9a0b1c
certwright eab revoke 0d1e2f3a4b5c6d7e8f9a0b1c -o json`,
		next: `certwright account list --filter 'eab_key_id = "ID"'`,
		args: exactly("the ID of an EAB key"),
		run: func(cmd *cobra.Command, args []string) error {
			var key *pb.EABKey
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				key, err = pb.NewEABServiceClient(conn).RevokeEABKey(ctx, &pb.RevokeEABKeyRequest{Id: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(key, a.eabRows(key))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}
