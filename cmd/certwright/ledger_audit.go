package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/ledger/replay"
	pb "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// audited is the result of ledger audit: the JSON of the command.
type audited struct {
	Entries   uint64            `json:"entries"`
	Intents   uint64            `json:"intents"`
	Policies  uint64            `json:"policies"`
	Unchecked map[string]uint64 `json:"unchecked"`
	Findings  []finding         `json:"findings"`
}

func ledgerAuditCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "audit [flags]", short: "Replay the policies over every certificate",
		long: `
Judges every certificate that the ledger records by the policy that was in force,
as the policy engine judged the request: profile, grant, names, owner, validity,
labels and conditions. Exits with 8 if a certificate was recorded that its policy
does not allow.

What the ledger no longer tells cannot be judged: labels stand in it as
commitments, and what callers proved of themselves (claims) not at all. Such rules
are listed as not checkable, with the number of certificates.

A running server is asked for its entries, and keeps the labels to itself. The
ledger's file of a stopped server has them, until they are erased: verify the file
first ("certwright ledger verify"). For an auditor who trusts nobody there is
certwright-audit.`,
		example: `
certwright ledger audit
certwright ledger audit -o json
certwright ledger audit --file certwright-data/ledger.db`,
		next: "certwright ledger verify",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if file == "" && a.server == "" && !listens(cmd.Context(), filepath.Join(a.data, "admin.sock")) {
				if beside := filepath.Join(a.data, "ledger.db"); exists(beside) {
					file = beside
				}
			}
			if file == "" {
				return a.auditServer(cmd.Context())
			}
			return a.auditFile(cmd.Context(), file)
		},
	}.command()
	cmd.Flags().StringVar(&file, "file", "", "ledger file of a stopped server (default: that of --data, if no server runs there)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("file", "db")
	return cmd
}

// auditFile audits the ledger of a stopped server.
func (a *app) auditFile(ctx context.Context, file string) error {
	if err := readable(file); err != nil {
		return err
	}
	a.note("No server is asked: reading %s.", file)
	store, err := bolt.Open(ctx, bolt.Config{Path: file, ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // only read
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	return a.audit(ctx, store, head.Size)
}

// auditServer audits the ledger of a running server.
func (a *app) auditServer(ctx context.Context) error {
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // everything is read
	client := pb.NewLedgerServiceClient(conn)
	head, err := client.GetHead(ctx, &pb.GetHeadRequest{})
	if err != nil {
		return a.reached(err)
	}
	return a.audit(ctx, &entriesOf{app: a, client: client}, head.GetSize())
}

// entriesOf is a server's ledger as a replay.Source.
type entriesOf struct {
	*app
	client pb.LedgerServiceClient
	token  string
	next   uint64
}

// Entries implements replay.Source; it is asked for them in order.
func (e *entriesOf) Entries(ctx context.Context, start uint64, n int) ([][]byte, error) {
	if start != e.next {
		return nil, fmt.Errorf("entries are read in order: %d, not %d", e.next, start)
	}
	page, err := e.client.ListEntries(ctx, &pb.ListEntriesRequest{PageSize: int32(min(n, 1000)), PageToken: e.token, OrderBy: "index"}, grpc.MaxCallRecvMsgSize(256<<20))
	if err != nil {
		return nil, e.reached(err)
	}
	var raws [][]byte
	for _, each := range page.GetEntries() {
		if each.GetIndex() != e.next {
			return nil, fmt.Errorf("the server sends entry %d for entry %d", each.GetIndex(), e.next)
		}
		raws = append(raws, each.GetData())
		e.next++
	}
	e.token = page.GetNextPageToken()
	return raws[:min(len(raws), n)], nil
}

// Erasable implements replay.Source: a server tells no values.
func (*entriesOf) Erasable(context.Context, [32]byte) (value []byte, salt [32]byte, err error) {
	return nil, salt, storage.ErrNotFound
}

func (a *app) audit(ctx context.Context, source replay.Source, size uint64) error {
	bar := a.progress("entries judged")
	result := audited{Findings: []finding{}}
	summary, err := replay.Run(ctx, replay.Config{Source: source, Size: size, Progress: bar.show}, func(f storage.Finding) {
		index := f.Index
		result.Findings = append(result.Findings, finding{Kind: f.Kind, Index: &index, Subject: f.Subject, Detail: f.Detail})
	})
	bar.end()
	if err != nil {
		return err
	}
	result.Entries, result.Intents, result.Policies, result.Unchecked = summary.Entries, summary.Intents, summary.Policies, summary.Unchecked
	for _, rule := range summary.UncheckedRules() {
		a.note("Not checkable for %s: %s", counted(int(summary.Unchecked[rule]), "certificate"), rule)
	}
	var r rows
	if len(result.Findings) == 0 {
		r = rows{portrait: true, columns: columnsOf("Verdict", "Entries", "Certificates", "Policies")}
		r.add("ok", "ok", strconv.FormatUint(result.Entries, 10), strconv.FormatUint(result.Intents, 10), strconv.FormatUint(result.Policies, 10))
		return a.print(result, r)
	}
	r.columns = columnsOf("entry", "kind", "serial", "detail")
	for _, f := range result.Findings {
		index := strconv.FormatUint(*f.Index, 10)
		r.add(index, index, f.Kind, f.Subject, f.Detail)
	}
	if err := a.print(result, r); err != nil {
		return err
	}
	return failf(exitFound, "the ledger records what its policies do not allow: %s", counted(len(result.Findings), "finding"))
}
