package main

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func ledgerStatusCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "status [flags]", short: "Show size, root and newest checkpoint",
		long: `
Shows the ledger as it stands: how many entries, the root hash of the tree, the
newest signed checkpoint and the key that verifies it (a note verifier key, as
golang.org/x/mod/sumdb/note reads it).`,
		example: `
certwright ledger status
certwright ledger status -o json`,
		next: "certwright ledger verify",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			var head *pb.LedgerHead
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				head, err = pb.NewLedgerServiceClient(conn).GetHead(ctx, &pb.GetHeadRequest{})
				return err
			})
			if err != nil {
				return err
			}
			r := rows{portrait: true, columns: columnsOf("Origin", "Entries", "Root", "Newest entry", "Checkpoint", "Signed", "Verifier key")}
			r.add(head.GetOrigin(), head.GetOrigin(), strconv.FormatUint(head.GetSize(), 10), hex.EncodeToString(head.GetRootHash()),
				stamp(head.GetEntryTime()), strconv.FormatUint(head.GetCheckpointSize(), 10)+" entries", stamp(head.GetCheckpointTime()), head.GetVerifierKey())
			return a.print(head, r)
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}
