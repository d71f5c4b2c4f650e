package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// checked is the result of ledger verify, from a server or from a file: the JSON
// of the command.
type checked struct {
	Entries  uint64    `json:"entries"`
	Root     string    `json:"root"`
	Findings []finding `json:"findings"`
}

// finding is one thing that is wrong. Index is nil where no entry is concerned.
type finding struct {
	Kind    string  `json:"kind"`
	Index   *uint64 `json:"index"`
	Subject string  `json:"subject"`
	Detail  string  `json:"detail"`
}

func ledgerVerifyCommand(a *app) *cobra.Command {
	var check fileCheck
	var proof proofCheck
	cmd := leaf{
		use: "verify [flags]", short: "Recompute and check the whole ledger",
		long: `
Recomputes every hash of the ledger, compares the tree with its checkpoint and
the last-seen file, and matches every certificate, policy and token with its entry;
--signatures verifies every certificate's signature too. Exits with 8 if
something is wrong, naming each entry, serial or tile.

A running server checks itself. If none is running, the ledger's file in the data
folder is read, or the one that --file names; nothing is written to it. For
--signatures of a copy elsewhere, --issuer names the CA's certificates.

With --proof nothing of that: one proof (certwright ledger proof) is checked with
the ledger's verifier key, and that the certificate of --cert is the one it is
about. Neither a server nor a database is needed; with --issuer the certificate's
signature is checked too.`,
		example: `
certwright ledger verify
certwright ledger verify --signatures -o json
certwright ledger verify --file certwright-data/ledger.db
certwright ledger verify --file copy.db --signatures --issuer certwright-data/keys/issuing.crt
certwright ledger verify --proof svc.internal.tlog-proof --key verifier.key --cert svc.internal.crt`,
		next: "certwright ledger status",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			if proof != (proofCheck{}) {
				if proof.file == "" || check.file != "" || check.signatures {
					return usagef("--proof, --key and --cert go together, without --file and --signatures")
				}
				return a.verifyProof(proof, check.issuers)
			}
			result, err := a.verifyLedger(cmd.Context(), check)
			if err != nil {
				return err
			}
			return a.printChecked(result)
		},
	}.command()
	check.flags(cmd)
	cmd.Flags().StringVar(&check.file, "file", "", "ledger file of a stopped server (default: that of --data, if no server runs there)")
	cmd.Flags().StringVar(&proof.file, "proof", "", "check this proof alone (C2SP tlog-proof; - is standard input)")
	cmd.Flags().StringVar(&proof.key, "key", "", "with --proof: the ledger's verifier key, or a file with it")
	cmd.Flags().StringVar(&proof.cert, "cert", "", "with --proof: file with the certificate that it must be about")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("file", "db")
	_ = cmd.MarkFlagFilename("proof", "tlog-proof")
	_ = cmd.MarkFlagFilename("cert")
	return cmd
}

// flags are those of the command and of its child.
func (c *fileCheck) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.signatures, "signatures", false, "verify the signature of every certificate too")
	cmd.Flags().StringArrayVar(&c.issuers, "issuer", nil, "file with a CA's certificate, for the signatures in a ledger file; may be repeated (default: keys/issuing.crt beside it)")
	_ = cmd.MarkFlagFilename("issuer")
}

func (a *app) verifyLedger(ctx context.Context, check fileCheck) (checked, error) {
	if len(check.issuers) > 0 && !check.signatures {
		return checked{}, usagef("--issuer goes with --signatures")
	}
	if check.file == "" && a.server == "" && !listens(ctx, filepath.Join(a.data, "admin.sock")) {
		if beside := filepath.Join(a.data, "ledger.db"); exists(beside) {
			check.file = beside
		}
	}
	if check.file == "" {
		if len(check.issuers) > 0 {
			return checked{}, usagef("--issuer goes with --file; a running server knows its issuers")
		}
		return a.verifyAtServer(ctx, check.signatures)
	}
	a.note("No server is asked: reading %s.", check.file)
	return a.verifyInChild(ctx, check)
}

// listens tells whether a server answers at the socket: one that was killed leaves
// its socket behind.
func listens(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist)
}

func (a *app) verifyAtServer(ctx context.Context, signatures bool) (checked, error) {
	var result checked
	conn, err := a.dial(ctx)
	if err != nil {
		return result, err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewLedgerServiceClient(conn).VerifyLedger(ctx, &pb.VerifyLedgerRequest{Signatures: signatures})
	if err != nil {
		return result, a.reached(err)
	}
	bar := a.progress("entries verified")
	defer bar.end()
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return result, failf(exitFailure, "the server ended the verification before it was done; look at its log")
		}
		if err != nil {
			return result, a.reached(err)
		}
		bar.show(message.GetEntriesChecked(), message.GetEntriesTotal())
		for _, f := range message.GetFindings() {
			result.Findings = append(result.Findings, finding{Kind: f.GetKind(), Index: f.LedgerIndex, Subject: f.GetSubject(), Detail: f.GetDetail()})
		}
		if message.GetDone() {
			result.Entries, result.Root = message.GetEntriesTotal(), hex.EncodeToString(message.GetRootHash())
			return result, nil
		}
	}
}

func (a *app) printChecked(c checked) error {
	if c.Findings == nil {
		c.Findings = []finding{}
	}
	var r rows
	if len(c.Findings) == 0 {
		r = rows{portrait: true, columns: columnsOf("Verdict", "Entries", "Root")}
		r.add(c.Root, "ok", strconv.FormatUint(c.Entries, 10), c.Root)
		return a.print(c, r)
	}
	r.columns = columnsOf("entry", "kind", "subject", "detail")
	for _, f := range c.Findings {
		index := ""
		if f.Index != nil {
			index = strconv.FormatUint(*f.Index, 10)
		}
		name := index
		if name == "" {
			name = f.Subject
		}
		r.add(name, index, f.Kind, f.Subject, f.Detail)
	}
	if err := a.print(c, r); err != nil {
		return err
	}
	what := "the ledger"
	if c.Root != "" { // it could be read
		what = fmt.Sprintf("the ledger of %d entries (root %s)", c.Entries, c.Root)
	}
	return failf(exitFound, "%s has %s; keep the file as it is, and compare it with a backup", what, counted(len(c.Findings), "finding"))
}
