package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func eabCreateCommand(a *app) *cobra.Command {
	request := &pb.CreateEABKeyRequest{}
	var expires span
	out, force := "", false
	cmd := leaf{
		use: "create [flags]", short: "Create an EAB key and print its secret, once",
		long: `
Creates an EAB key. The accounts that are made with it are known to the policy's
grants as {eab: NAME}, by --grant (default: the owner). With --profile and names
the key carries a grant of its own as well, on behalf of the owner;
--no-challenges lets it have these names without proving control of them.

What ACME clients need is shown here and never again, as EAB_KID=… and
EAB_HMAC_KEY=… on standard output, or in --out, readable by you alone.`,
		example: `
certwright eab create --owner team-a
certwright eab create --owner team-a --grant team-a-web --uses 5 --expires 30d --out team-a.eab
certwright eab create --owner team-b --profile server --dns '*.team-b.internal' --no-challenges`,
		next: "certwright account list",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if request.GetOwner() == "" && request.GetName() == "" {
				return usagef("certwright eab create needs --owner, who answers for the certificates, or --grant, by which the policy knows its accounts")
			}
			if out == "" && (a.format == "name" || a.format == "csv") {
				return usagef("-o %s does not show the secret, which is shown once; give --out FILE with it", a.format)
			}
			if request.GetUses() == 0 {
				request.Uses = -1
			}
			if cmd.Flags().Changed("expires") {
				request.Ttl = durationpb.New(time.Duration(expires))
			}
			files := &fileSet{dir: filepath.Dir(out), force: force}
			defer files.discard()
			if out != "" {
				if err := files.reserve(filepath.Base(out)); err != nil {
					return err
				}
			}
			return a.createEAB(cmd.Context(), request, files, out)
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&request.Owner, "owner", "", "who answers for the certificates")
	flags.StringVar(&request.Name, "grant", "", "name by which the policy's grants know its accounts, {eab: NAME}; default: the owner")
	flags.StringSliceVar(&request.Profiles, "profile", nil, "profile of a grant of its own; may be repeated")
	flags.StringSliceVar(&request.DnsPatterns, "dns", nil, "pattern of DNS names of that grant; may be repeated")
	flags.StringSliceVar(&request.IpPatterns, "ip", nil, "address or CIDR range of that grant; may be repeated")
	flags.BoolVar(&request.NoChallenges, "no-challenges", false, "the names of that grant need no challenge")
	flags.Int32Var(&request.Uses, "uses", 1, "how many accounts it is good for; 0: any number")
	flags.Var(&expires, "expires", "how long it makes accounts: 12h, 30d; default: until it is revoked")
	flags.StringVar(&out, "out", "", "write key ID and secret into this file instead")
	flags.BoolVar(&force, "force", false, "replace the file if it is there")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("out")
	_ = cmd.RegisterFlagCompletionFunc("profile", a.completeProfiles)
	return cmd
}

// createEAB asks for the key. Only key ID and secret go to standard output; json
// and yaml show the whole answer, without the secret if that went to a file.
func (a *app) createEAB(ctx context.Context, request *pb.CreateEABKeyRequest, files *fileSet, out string) error {
	var answer *pb.CreateEABKeyResponse
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pb.NewEABServiceClient(conn).CreateEABKey(ctx, request)
		return err
	})
	if err != nil {
		return err
	}
	key := answer.GetKey()
	text := "EAB_KID=" + key.GetId() + "\nEAB_HMAC_KEY=" + answer.GetHmacKey() + "\n"
	if out != "" {
		if err := files.stage(filepath.Base(out), []byte(text)); err != nil {
			return err
		}
		if err := files.publish(); err != nil {
			return err
		}
		answer.HmacKey = ""
	}
	a.note("EAB key %s for the grants of {eab: %s}. The ACME directory is %s", key.GetId(), key.GetName(), answer.GetDirectory())
	tabular := a.format == "table" || a.format == "wide"
	switch {
	case !tabular:
		return a.print(answer, a.eabRows(key))
	case out != "":
		a.note("Next: give %s to whoever sets up the ACME client; certwright account list shows what it makes", quote(out))
		return nil
	}
	a.note("Its secret is on standard output, once:")
	return a.write(text)
}
