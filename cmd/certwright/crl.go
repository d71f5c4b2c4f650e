package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func crlGroup(a *app) *cobra.Command {
	return group("crl", "Certificate revocation lists: status, publish", `
Each issuer has a certificate revocation list for each shard of its certificates,
and a complete one while it is not too long. They are published by themselves,
on a schedule and shortly after a revocation.`,
		crlStatusCommand(a), crlPublishCommand(a))
}

func (a *app) crlRows(lists []*pb.CRL) rows {
	r := rows{columns: columnsOf("issuer", "shard", "state", "entries", "this update", "next update", "number", "+size", "+path", "+sha256", "+error")}
	for _, c := range lists {
		state := "ok"
		switch {
		case c.GetError() != "":
			state = "failed"
		case c.GetTooLong():
			state = "too long"
		case c.GetNumber() == 0, c.GetPending():
			state = "pending"
		}
		r.add(c.GetPath(), c.GetIssuer(), c.GetShard(), state, strconv.FormatUint(c.GetEntries(), 10), stamp(c.GetThisUpdate()),
			a.expiry(c.GetNextUpdate()), strconv.FormatUint(c.GetNumber(), 10), strconv.FormatUint(c.GetSize(), 10), c.GetPath(), c.GetSha256(), c.GetError())
	}
	return r
}

func crlStatusCommand(a *app) *cobra.Command {
	limit := 0
	cmd := leaf{
		use: "status [flags]", short: "List the CRLs with their numbers and times",
		long: `
Lists the CRLs of every issuer: how many certificates each lists, when it was made
and until when it holds. pending: something is revoked that it does not say yet.`,
		example: `
certwright crl status
certwright crl status -o csv`,
		next: "certwright crl publish",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListCRLsResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewCRLServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListCRLs(ctx, &pb.ListCRLsRequest{PageSize: size, PageToken: token})
					all.Crls = append(all.Crls, page.GetCrls()...)
					return len(page.GetCrls()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.crlRows(all.GetCrls()))
		},
	}.command()
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

func crlPublishCommand(a *app) *cobra.Command {
	ask := &pb.PublishCRLsRequest{}
	cmd := leaf{
		use: "publish [flags]", short: "Publish CRLs at once",
		long: `
Builds and publishes CRLs at once, without waiting for their time: all, or those
of an issuer or shard.`,
		example: `
certwright crl publish
certwright crl publish --issuer issuing --shard 3`,
		next: "certwright crl status",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			var made *pb.PublishCRLsResponse
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				made, err = pb.NewCRLServiceClient(conn).PublishCRLs(ctx, ask)
				return err
			})
			if err != nil {
				return err
			}
			return a.print(made, a.crlRows(made.GetCrls()))
		},
	}.command()
	cmd.Flags().StringVar(&ask.Issuer, "issuer", "", "only those of this issuer")
	cmd.Flags().StringVar(&ask.Shard, "shard", "", `only this shard: a number, or "complete"`)
	a.outputFlag(cmd)
	return cmd
}
