package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func whoamiCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "whoami [flags]", short: "Tell who you are to the server, and what you may do",
		long: `
Shows as whom the server knows the credentials that commands send: the principal,
its roles with the owners they are limited to, and the session with its end.`,
		example: `
certwright whoami
certwright whoami --server ca.internal -o json`,
		next: "certwright role list",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			var self *pb.Self
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				self, err = pb.NewSessionServiceClient(conn).GetSelf(ctx, &pb.GetSelfRequest{})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(self, selfRows(self.GetPrincipal(), self.GetName(), self.GetRoles(), self.GetSession()))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}

func selfRows(principal, name string, roles []*pb.RoleHeld, s *pb.Session) rows {
	r := rows{portrait: true, columns: columnsOf("Principal", "Name", "Roles", "Session", "Expires")}
	r.add(principal, principal, name, roleText(roles), s.GetId(), stamp(s.GetExpireTime()))
	return r
}

// roleText is roles with their limits: "viewer, operator (team-a, team-b)".
func roleText(roles []*pb.RoleHeld) string {
	var all []string
	for _, role := range roles {
		text := role.GetRole()
		if len(role.GetOwners()) > 0 {
			text += " (" + strings.Join(role.GetOwners(), ", ") + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
