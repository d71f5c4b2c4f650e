package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func profileGroup(a *app) *cobra.Command {
	return group("profile", "Profiles: what certificates may look like", `
Profiles say what a certificate may look like: issuer, keys, validity, usages.
They are part of the policy.`,
		profileListCommand(a), profileShowCommand(a))
}

func profileListCommand(a *app) *cobra.Command {
	limit := 0
	cmd := leaf{
		use: "list [flags]", short: "List the profiles of the active policy",
		long: `
Lists the profiles of the active policy, by name.`,
		example: `
certwright profile list
certwright profile list -o wide`,
		next: "certwright profile show NAME",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListProfilesResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewPolicyServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListProfiles(ctx, &pb.ListProfilesRequest{PageSize: size, PageToken: token})
					all.Profiles = append(all.Profiles, page.GetProfiles()...)
					return len(page.GetProfiles()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, profileRows(false, all.GetProfiles()...))
		},
	}.command()
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func profileShowCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "show NAME [flags]", short: "Show a profile of the active policy",
		long: `
Shows all bounds of a profile of the active policy.`,
		example: `
certwright profile show server
certwright profile show server -o yaml`,
		next: "certwright policy simulate --profile NAME --dns HOST",
		args: exactly("the NAME of a profile"),
		run: func(cmd *cobra.Command, args []string) error {
			var profile *pb.Profile
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				profile, err = pb.NewPolicyServiceClient(conn).GetProfile(ctx, &pb.GetProfileRequest{Name: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(profile, profileRows(true, profile))
		},
	}.command()
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeProfiles
	return cmd
}

func profileRows(story bool, profiles ...*pb.Profile) rows {
	r := rows{portrait: story, columns: columnsOf("name", "kind", "issuer", "keys", "validity", "longest",
		"+backdate", "+key usages", "+extended key usages", "+wildcards", "+names", "+lints")}
	if story {
		for i := range r.columns {
			r.columns[i].wide = false
		}
	}
	for _, p := range profiles {
		r.add(p.GetName(), p.GetName(), p.GetKind(), p.GetIssuer(), strings.Join(p.GetKeys(), ", "), spanOf(p.GetDefaultValidity()),
			spanOf(p.GetMaxValidity()), spanOf(p.GetBackdate()), strings.Join(p.GetKeyUsages(), ", "), strings.Join(p.GetExtKeyUsages(), ", "),
			strconv.FormatBool(p.GetWildcards()), strconv.Itoa(int(p.GetMaxNames())), strings.Join(p.GetLints(), ", "))
	}
	return r
}
