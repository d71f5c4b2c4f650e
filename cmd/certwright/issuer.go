package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func issuerGroup(a *app) *cobra.Command {
	return group("issuer", "Issuers: the CA keys that sign", `
Issuers are the CA's keys with their certificates.`,
		issuerListCommand(a), issuerShowCommand(a))
}

func issuerListCommand(a *app) *cobra.Command {
	limit := 0
	cmd := leaf{
		use: "list [flags]", short: "List the issuers",
		long: `
Lists the issuers with their state, key and expiry, by name.`,
		example: `
certwright issuer list
certwright issuer list -o json`,
		next: "certwright issuer show NAME",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListIssuersResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewIssuerServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListIssuers(ctx, &pb.ListIssuersRequest{PageSize: size, PageToken: token})
					all.Issuers = append(all.Issuers, page.GetIssuers()...)
					return len(page.GetIssuers()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.issuerRows(false, all.GetIssuers()...))
		},
	}.command()
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func issuerShowCommand(a *app) *cobra.Command {
	asPEM := false
	cmd := leaf{
		use: "show NAME [flags]", short: "Show an issuer",
		long: `
Shows an issuer: state, key, validity, the profiles that use it. With --pem it
prints the issuer's certificate and those above it, up to the root.`,
		example: `
certwright issuer show issuing
certwright issuer show issuing --pem > ca-chain.pem`,
		next: "certwright profile list",
		args: exactly("the NAME of an issuer"),
		run: func(cmd *cobra.Command, args []string) error {
			var issuer *pb.Issuer
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				issuer, err = pb.NewIssuerServiceClient(conn).GetIssuer(ctx, &pb.GetIssuerRequest{Name: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			if asPEM {
				return a.write(issuer.GetCertificatePem() + issuer.GetChainPem())
			}
			return a.print(issuer, a.issuerRows(true, issuer))
		},
	}.command()
	cmd.Flags().BoolVar(&asPEM, "pem", false, "the certificates as PEM instead")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeIssuers
	return cmd
}

func (a *app) issuerRows(story bool, issuers ...*pb.Issuer) rows {
	r := rows{portrait: story, columns: columnsOf("name", "state", "key", "not after", "profiles", "+not before", "+key id")}
	if story {
		for i := range r.columns {
			r.columns[i].wide = false
		}
	}
	for _, i := range issuers {
		r.add(i.GetName(), i.GetName(), word(i.GetState()), i.GetKeyAlgorithm(), a.expiry(i.GetNotAfter()),
			strings.Join(i.GetProfiles(), ", "), stamp(i.GetNotBefore()), i.GetKeyId())
	}
	return r
}
