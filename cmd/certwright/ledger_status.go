package main

import (
	"context"
	"encoding/hex"
	"fmt"
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
golang.org/x/mod/sumdb/note reads it). Below, the certificates that the issuers'
keys have signed are compared with the intents in the ledger; exits with 8 if
they differ, or if nothing is issued because somebody else has written the
last-seen file. If witnesses are asked to cosign the checkpoints, it shows what each
of them has cosigned last, or why it has not.`,
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
			r := rows{portrait: true, columns: columnsOf("Origin", "Entries", "Root", "Newest entry", "Checkpoint", "Signed", "Verifier key", "Completeness")}
			r.add(head.GetOrigin(), head.GetOrigin(), strconv.FormatUint(head.GetSize(), 10), hex.EncodeToString(head.GetRootHash()),
				stamp(head.GetEntryTime()), strconv.FormatUint(head.GetCheckpointSize(), 10)+" entries", stamp(head.GetCheckpointTime()), head.GetVerifierKey(), completeness(head.GetCompleteness()))
			if head.GetHeld() != "" {
				r.columns, r.cells[0] = append(r.columns, columnsOf("Issuing")...), append(r.cells[0], head.GetHeld())
			}
			addWitnesses(&r, head)
			if err := a.print(head, r); err != nil {
				return err
			}
			if held := head.GetHeld(); held != "" {
				return failf(exitFound, "%s", held)
			}
			if detail := head.GetCompleteness().GetDetail(); detail != "" {
				return failf(exitFound, "%s; certwright ledger verify names what it can see, and the keys must be looked after", detail)
			}
			return nil
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}

// completeness is the comparison of signatures and intents in a line.
func completeness(c *pb.Completeness) string {
	if c == nil {
		return ""
	}
	text := fmt.Sprintf("%d signatures, %d intents", c.GetSignatures(), c.GetIntents())
	if n := c.GetAbandoned(); n > 0 {
		text += fmt.Sprintf(", %d of them given up", n)
	}
	if n := c.GetUncounted(); n > 0 {
		text += fmt.Sprintf("; %d intents of runs that were killed, or that a backup or a copy has brought back, are not compared", n)
	}
	if d := c.GetDifference(); d != 0 {
		text = fmt.Sprintf("they differ by %+d: ", d) + text
	}
	return text
}

// addWitnesses adds a column for what is witnessed, and one for each witness.
func addWitnesses(r *rows, head *pb.LedgerHead) {
	if len(head.GetWitnesses()) == 0 {
		return
	}
	add := func(title, cell string) {
		r.columns = append(r.columns, columnsOf(title)...)
		r.cells[0] = append(r.cells[0], cell)
	}
	if need := head.GetWitnessesNeeded(); need > 0 {
		witnessed := strconv.FormatUint(head.GetWitnessedSize(), 10) + " entries"
		if head.GetWitnessedSize() == 0 {
			witnessed = "none yet"
		}
		add("Witnessed", fmt.Sprintf("%s, by %d of %d or more", witnessed, need, len(head.GetWitnesses())))
	}
	for _, w := range head.GetWitnesses() {
		said := fmt.Sprintf("%d entries at %s", w.GetSize(), stamp(w.GetCosignTime()))
		if w.GetSize() == 0 {
			said = "nothing yet"
		}
		if w.GetError() != "" {
			said += "; now: " + w.GetError()
		}
		add("Witness "+w.GetName(), said)
	}
}
