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

func ledgerListCommand(a *app) *cobra.Command {
	filter, kind, limit, oldest := "", "", 0, false
	cmd := leaf{
		use: "list [flags]", short: "List entries of the ledger",
		long: `
Lists entries, newest first. --filter takes an AIP-160 filter over index, kind,
time and actor.`,
		example: `
certwright ledger list --limit 20
certwright ledger list --kind policy_change
certwright ledger list --filter 'time >= "2027-01-01T00:00:00Z"' --oldest-first -o csv`,
		next: "certwright ledger show INDEX",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			var t terms
			if kind != "" {
				t = append(t, "kind = "+strings.ToUpper(kind))
			}
			orderBy := "index desc"
			if oldest {
				orderBy = "index"
			}
			all := &pb.ListEntriesResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewLedgerServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListEntries(ctx, &pb.ListEntriesRequest{PageSize: size, PageToken: token, Filter: t.and(filter), OrderBy: orderBy})
					all.Entries = append(all.Entries, page.GetEntries()...)
					return len(page.GetEntries()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			r := rows{columns: columnsOf("index", "time", "kind", "actor", "summary", "+leaf hash")}
			for _, e := range all.GetEntries() {
				index := strconv.FormatUint(e.GetIndex(), 10)
				r.add(index, index, stamp(e.GetTime()), word(e.GetKind()), e.GetActor(), e.GetSummary(), hex.EncodeToString(e.GetLeafHash()))
			}
			return a.print(all, r)
		},
	}.command()
	filterFlag(cmd, &filter, "AIP-160 filter over index, kind, time and actor")
	cmd.Flags().StringVar(&kind, "kind", "", "only entries of this kind: "+strings.Join(kindNames(), ", "))
	cmd.Flags().BoolVar(&oldest, "oldest-first", false, "from the beginning")
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func kindNames() []string {
	var names []string
	for number := pb.LedgerEntry_GENESIS; number <= pb.LedgerEntry_SSH_INTENT; number++ {
		names = append(names, word(number))
	}
	return names
}
