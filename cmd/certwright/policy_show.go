package main

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func policyShowCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "show [VERSION] [flags]", short: "Print the active policy, or an older version",
		long: `
Prints the policy document as it was applied, byte for byte; -o json and -o yaml
show the version with its number, hash, actor and ledger index, -o wide and
-o csv the same in columns. A VERSION is the number of an activation, or the
document's SHA-256 or its first digits, four or more; without it the active one.`,
		example: `
certwright policy show
certwright policy show > policy.yaml
certwright policy show 1
certwright policy show -o wide`,
		next: "certwright policy history",
		args: atMost("VERSION"),
		run: func(cmd *cobra.Command, args []string) error {
			hash, err := a.policyHash(cmd.Context(), strings.ToLower(strings.Join(args, "")))
			if err != nil {
				return err
			}
			version, err := a.policyVersion(cmd.Context(), hash)
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

// minPrefix is how many digits of a hash name a policy at least.
const minPrefix = 4

// policyHash is the SHA-256 of the version that text names: "" and whole hashes
// are themselves, numbers and first digits are looked up.
func (a *app) policyHash(ctx context.Context, text string) (string, error) {
	number, err := strconv.ParseInt(text, 10, 32)
	numeric := err == nil && number > 0
	if !numeric {
		number = 0
	}
	prefix := len(text) >= minPrefix && len(text) <= sha256.Size*2 && strings.Trim(text, "0123456789abcdef") == ""
	switch {
	case text == "", prefix && len(text) == sha256.Size*2:
		return text, nil
	case !numeric && !prefix:
		return "", usagef("%q is neither the number of a policy version nor %d or more digits of its SHA-256", text, minPrefix)
	}
	var versions []*pb.PolicyVersion
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := pb.NewPolicyServiceClient(conn)
		return a.collect(0, func(size int32, token string) (int, string, error) {
			page, err := client.ListPolicyVersions(ctx, &pb.ListPolicyVersionsRequest{PageSize: size, PageToken: token})
			versions = append(versions, page.GetVersions()...)
			return len(page.GetVersions()), page.GetNextPageToken(), err
		})
	})
	if err != nil {
		return "", err
	}
	return pick(versions, text, int32(number), prefix)
}

// pick finds the version with the number, else the one whose hash begins with text.
func pick(versions []*pb.PolicyVersion, text string, number int32, prefix bool) (string, error) {
	found := ""
	for _, v := range versions {
		begins := prefix && strings.HasPrefix(v.GetSha256(), text)
		switch {
		case number > 0 && int64(v.GetNumber()) == int64(number):
			return v.GetSha256(), nil
		case begins && found != "" && found != v.GetSha256():
			return "", usagef("%s begins the SHA-256 of more than one policy version; give more digits", text)
		case begins:
			found = v.GetSha256()
		}
	}
	if found == "" {
		return "", failf(exitNotFound, "there is no policy version %s; certwright policy history lists them", text)
	}
	return found, nil
}

// policyVersion asks for a version; "" is the active one.
func (a *app) policyVersion(ctx context.Context, hash string) (*pb.PolicyVersion, error) {
	var version *pb.PolicyVersion
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		version, err = pb.NewPolicyServiceClient(conn).GetPolicy(ctx, &pb.GetPolicyRequest{Sha256: hash})
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
