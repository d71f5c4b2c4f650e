package main

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func ledgerProofCommand(a *app) *cobra.Command {
	var size uint64
	cmd := leaf{
		use: "proof INDEX [flags]", short: "Prove that an entry is in the ledger",
		long: `
Prints the inclusion proof (RFC 6962 §2.1.1) of an entry in the newest signed
checkpoint, or in the tree of --tree-size entries. An entry is covered about a
second after it was written.`,
		example: `
certwright ledger proof 0
certwright ledger proof 0 -o json > proof.json`,
		next: "certwright ledger status",
		args: exactly("an INDEX"),
		run: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex(args[0])
			if err != nil {
				return err
			}
			var proof *pb.LedgerProof
			err = a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				proof, err = pb.NewLedgerServiceClient(conn).GetProof(ctx, &pb.GetProofRequest{Index: index, TreeSize: size})
				return err
			})
			if err != nil {
				return err
			}
			var path []string
			for _, hash := range proof.GetHashes() {
				path = append(path, hex.EncodeToString(hash))
			}
			r := rows{portrait: true, columns: columnsOf("Index", "Tree size", "Leaf hash", "Path", "Root", "|Checkpoint")}
			r.add(args[0], args[0], strconv.FormatUint(proof.GetTreeSize(), 10), hex.EncodeToString(proof.GetLeafHash()),
				strings.Join(path, " "), hex.EncodeToString(proof.GetRootHash()), proof.GetCheckpoint())
			return a.print(proof, r)
		},
	}.command()
	cmd.Flags().Uint64Var(&size, "tree-size", 0, "number of entries of the tree (default: that of the newest checkpoint)")
	a.outputFlag(cmd)
	return cmd
}
