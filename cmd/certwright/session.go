package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func sessionGroup(a *app) *cobra.Command {
	return group("session", "Sessions of who has logged in: list, revoke", `
A session is what certwright login opens: a short-lived token that stands for who has
logged in, with the roles that the policy gives at each call.`,
		sessionListCommand(a), sessionRevokeCommand(a))
}

func (a *app) sessionRows(sessions ...*pb.Session) rows {
	r := rows{columns: columnsOf("id", "principal", "name", "opened", "from", "expires", "state", "current", "+revoked")}
	for _, s := range sessions {
		current := ""
		if s.GetCurrent() {
			current = "current"
		}
		r.add(s.GetId(), s.GetId(), s.GetPrincipal(), s.GetName(), stamp(s.GetCreateTime()), s.GetAddress(), a.expiry(s.GetExpireTime()),
			word(s.GetState()), current, stamp(s.GetRevokeTime()))
	}
	return r
}

func sessionListCommand(a *app) *cobra.Command {
	filter, limit := "", 0
	cmd := leaf{
		use: "list [flags]", short: "List sessions, without their tokens",
		long: `
Lists sessions, newest first: your own, or everybody's for CA admins and auditors.
Tokens are never shown: the server keeps only their hashes. A session is listed for
a day after its end.`,
		example: `
certwright session list
certwright session list --filter 'state = ACTIVE' -o wide`,
		next: "certwright session revoke ID",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListSessionsResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewSessionServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListSessions(ctx, &pb.ListSessionsRequest{PageSize: size, PageToken: token, Filter: filter})
					all.Sessions = append(all.Sessions, page.GetSessions()...)
					return len(page.GetSessions()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.sessionRows(all.GetSessions()...))
		},
	}.command()
	cmd.Flags().StringVar(&filter, "filter", "", "AIP-160 filter over id, principal, state, create_time and expire_time")
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func sessionRevokeCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "revoke ID [flags]", short: "Revoke a session",
		long: `
Revokes a session: your own, or anybody's for CA admins. Calls by it are refused
from then on, and what is under way by it ends.`,
		example: `
certwright session revoke fe1a2d3c4b5a69788796a5b4c3d2e1f0
certwright session revoke fe1a2d3c4b5a69788796a5b4c3d2e1f0 -o json`,
		next: "certwright session list",
		args: exactly("the ID of a session"),
		run: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], "cws_") {
				return usagef("that is a session's token, not its ID, and others may have seen it; certwright session list shows the IDs")
			}
			var session *pb.Session
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				session, err = pb.NewSessionServiceClient(conn).RevokeSession(ctx, &pb.RevokeSessionRequest{Id: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(session, a.sessionRows(session))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}
