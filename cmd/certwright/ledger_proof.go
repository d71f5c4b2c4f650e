package main

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// proofFlags are the flags of ledger proof.
type proofFlags struct {
	out   string
	force bool
	size  uint64
}

func ledgerProofCommand(a *app) *cobra.Command {
	f := &proofFlags{}
	cmd := leaf{
		use: "proof INDEX|SERIAL|FILE [flags]", short: "Prove that a certificate or entry is in the ledger",
		long: `
Gives the proof that a certificate's intent, or any entry, is in the ledger, as
one self-contained file (C2SP tlog-proof): the entry, the path to the root (RFC
6962 §2.1.1) and the newest signed checkpoint. Whoever has the ledger's verifier
key checks it with certwright ledger verify --proof, without asking anybody.

The certificate is named by its serial, its ID or a file that holds it; an entry
by its index. The proof goes to standard output, or to --out. -o shows it decoded
instead, as does --tree-size, which proves in an older tree. An entry is covered
by a checkpoint about a second after it was written: so long the command waits.`,
		example: `
certwright ledger proof svc.internal.crt --out svc.internal.tlog-proof
certwright ledger proof 0199b2c3d4e5f60718293a4b5c6d7e8f > svc.tlog-proof
certwright ledger proof 0 -o json`,
		next: "certwright ledger verify --proof FILE --key VERIFIER-KEY --cert FILE",
		args: exactly("an INDEX, a SERIAL or a FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			decoded := cmd.Flags().Changed("output") || cmd.Flags().Changed("tree-size")
			if decoded && f.out != "" {
				return usagef("--out takes the proof's file, which -o and --tree-size do not give")
			}
			return f.run(cmd.Context(), a, args[0], decoded)
		},
	}.command()
	cmd.Flags().StringVar(&f.out, "out", "", "file for the proof, such as svc.internal.tlog-proof (default: standard output)")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace a file that is there")
	cmd.Flags().Uint64Var(&f.size, "tree-size", 0, "number of entries of the tree (default: that of the newest checkpoint)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("out", "tlog-proof")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *proofFlags) run(ctx context.Context, a *app, name string, decoded bool) error {
	files := &fileSet{dir: filepath.Dir(f.out), force: f.force}
	defer files.discard()
	if f.out != "" {
		if err := files.vacant(filepath.Base(f.out)); err != nil {
			return err
		}
	}
	index, err := a.entryOf(ctx, name)
	if err != nil {
		return err
	}
	proof, err := a.proveEntry(ctx, index, f.size)
	switch {
	case err != nil:
		return err
	case decoded:
		return a.print(proof, proofStory(proof))
	case f.out == "":
		return a.write(proof.GetFile())
	}
	if err := files.stage(filepath.Base(f.out), []byte(proof.GetFile())); err != nil {
		return err
	}
	if err := files.publish(); err != nil {
		return err
	}
	a.note("The proof of entry %d is in %s. Next: certwright ledger verify --proof %s --key VERIFIER-KEY --cert FILE", index, f.out, quote(f.out))
	return nil
}

// entryOf is the index that a text names: itself, or that of a certificate.
func (a *app) entryOf(ctx context.Context, text string) (uint64, error) {
	if regexp.MustCompile(`^[0-9]{1,20}$`).MatchString(text) {
		return parseIndex(text)
	}
	c, err := a.findCertificate(ctx, text)
	return c.GetLedgerIndex(), err
}

// The waiting for a checkpoint.
const (
	proofTries = 20
	proofPause = 250 * time.Millisecond
)

// proveEntry asks for a proof until the newest checkpoint covers the entry.
func (a *app) proveEntry(ctx context.Context, index, size uint64) (proof *pb.LedgerProof, err error) {
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		for try := 0; ; try++ {
			proof, err = pb.NewLedgerServiceClient(conn).GetProof(ctx, &pb.GetProofRequest{Index: index, TreeSize: size})
			if status.Code(err) != codes.FailedPrecondition || try == proofTries {
				return err
			}
			select {
			case <-time.After(proofPause):
			case <-ctx.Done():
				return err
			}
		}
	})
	return proof, err
}

// proofStory is a proof decoded.
func proofStory(proof *pb.LedgerProof) rows {
	var path []string
	for _, hash := range proof.GetHashes() {
		path = append(path, hex.EncodeToString(hash))
	}
	r := rows{portrait: true, columns: columnsOf("Index", "Tree size", "Leaf hash", "Path", "Root", "|Checkpoint")}
	index := strconv.FormatUint(proof.GetIndex(), 10)
	r.add(index, index, strconv.FormatUint(proof.GetTreeSize(), 10), hex.EncodeToString(proof.GetLeafHash()),
		strings.Join(path, " "), hex.EncodeToString(proof.GetRootHash()), proof.GetCheckpoint())
	return r
}
