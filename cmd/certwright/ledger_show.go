package main

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func ledgerShowCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "show INDEX [flags]", short: "Show one entry of the ledger",
		long: `
Shows one entry with all fields of its body. -o json has the entry's bytes as they
were hashed, in base64.`,
		example: `
certwright ledger show 0
certwright ledger show 0 -o json`,
		next: "certwright ledger proof INDEX",
		args: exactly("an INDEX"),
		run: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex(args[0])
			if err != nil {
				return err
			}
			var e *pb.LedgerEntry
			err = a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				e, err = pb.NewLedgerServiceClient(conn).GetEntry(ctx, &pb.GetEntryRequest{Index: index})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(e, entryStory(e))
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}

// fieldDocument is the field of an entry that holds a text of many lines.
const fieldDocument = "document"

func entryStory(e *pb.LedgerEntry) rows {
	titles := []string{"index", "kind", "time", "actor", "summary", "leaf hash"}
	index := strconv.FormatUint(e.GetIndex(), 10)
	cells := []string{index, word(e.GetKind()), stamp(e.GetTime()), e.GetActor(), e.GetSummary(), hex.EncodeToString(e.GetLeafHash())}
	for _, field := range slices.Sorted(maps.Keys(e.GetFields())) {
		title := printable(field)
		if field == fieldDocument {
			title = "|" + title
		}
		titles = append(titles, title)
		cells = append(cells, e.GetFields()[field])
	}
	r := rows{portrait: true, columns: columnsOf(titles...)}
	r.add(index, cells...)
	return r
}

func parseIndex(text string) (uint64, error) {
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, usagef("%q is no index of an entry; certwright ledger list shows them", text)
	}
	return index, nil
}
