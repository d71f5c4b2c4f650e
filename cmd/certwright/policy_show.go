package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func policyShowCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "show [SHA256] [flags]", short: "Print the active policy, or an older version",
		long: `
Prints the policy document as it was applied, byte for byte; -o json and -o yaml
show the version with its number, hash, actor and ledger index, -o wide and
-o csv the same in columns. Without an argument it is the active version.`,
		example: `
certwright policy show
certwright policy show > policy.yaml
certwright policy show -o wide`,
		next: "certwright policy history",
		args: cobra.MaximumNArgs(1),
		run: func(cmd *cobra.Command, args []string) error {
			version, err := a.policyVersion(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			if a.format == "table" {
				return a.write(version.GetDocument())
			}
			return a.print(version, policyRows([]*pb.PolicyVersion{version}))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}

// policyVersion asks for a version; "" is the active one.
func (a *app) policyVersion(ctx context.Context, sha256 string) (*pb.PolicyVersion, error) {
	var version *pb.PolicyVersion
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		version, err = pb.NewPolicyServiceClient(conn).GetPolicy(ctx, &pb.GetPolicyRequest{Sha256: strings.ToLower(sha256)})
		return err
	})
	return version, err
}

func policyRows(versions []*pb.PolicyVersion) rows {
	r := rows{columns: columnsOf("version", "active", "activated", "actor", "ledger index", "sha256")}
	for _, v := range versions {
		active := ""
		if v.GetActive() {
			active = "active"
		}
		r.add(v.GetSha256(), strconv.Itoa(int(v.GetNumber())), active, stamp(v.GetActivateTime()), v.GetActor(),
			strconv.FormatUint(v.GetLedgerIndex(), 10), v.GetSha256())
	}
	return r
}
