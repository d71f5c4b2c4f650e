package main

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/layout"
	pb "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage/bolt"
)

// exportResult is the JSON of ledger export.
type exportResult struct {
	Dir         string `json:"dir"`
	Entries     uint64 `json:"entries"`
	Before      uint64 `json:"before"` // entries that the folder held before
	Files       int    `json:"files"`  // written
	VerifierKey string `json:"verifierKey"`
}

func ledgerExportCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "export DIR [flags]", short: "Write the ledger as files that anybody can verify",
		long: `
Writes the checkpoint, the tiles and the entries into a folder, as they are served
under /ledger/ (C2SP tlog-tiles). Every hash is computed from the entries and must
lead to the signed checkpoint, which is written last. Run again, it fetches only
what is new, and refuses (exit code 8) a ledger that does not begin with what the
folder has. An export that was interrupted goes on where it was.

A running server is asked; if none is running, the ledger's file in the data
folder is read, or the one that --file names. The files are yours alone (mode
0600): entries name internal hosts.`,
		example: `
certwright ledger export ./ledger-copy
certwright ledger export ./ledger-copy --file certwright-data/ledger.db -o json`,
		next: "certwright ledger consistency OLD-CHECKPOINT ledger-copy/checkpoint --tiles ledger-copy --key VERIFIER-KEY",
		args: exactly("a DIR"),
		run: func(cmd *cobra.Command, args []string) error {
			bar := a.progress("entries exported")
			defer bar.end()
			c := publish.ExportConfig{Dir: args[0], Progress: bar.show}
			var done publish.Exported
			err := a.withSource(cmd.Context(), file, func(ctx context.Context, from publish.Source, key string) (err error) {
				c.From, c.VerifierKey = from, key
				done, err = publish.Export(ctx, c)
				return err
			})
			bar.end()
			if err != nil {
				return otherHistory(err)
			}
			r := rows{portrait: true, columns: columnsOf("Folder", "Entries", "New", "Files written", "Verifier key")}
			size := strconv.FormatUint(done.Checkpoint.Size, 10)
			r.add(args[0], args[0], size, strconv.FormatUint(done.Checkpoint.Size-done.Before, 10), strconv.Itoa(done.Files), c.VerifierKey)
			return a.print(exportResult{args[0], done.Checkpoint.Size, done.Before, done.Files, c.VerifierKey}, r)
		},
	}.command()
	cmd.Flags().StringVar(&file, "file", "", "ledger file of a stopped server (default: that of --data, if no server runs there)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("file", "db")
	cmd.ValidArgsFunction = nil
	return cmd
}

// otherHistory gives the finding its exit code.
func otherHistory(err error) error {
	if errors.Is(err, publish.ErrOtherHistory) {
		return failf(exitFound, "%w; keep both as they are", err)
	}
	return err
}

// withSource gives the ledger's files: those of the running server, or of the file
// of a stopped one, with the ledger's verifier key as the source knows it.
func (a *app) withSource(ctx context.Context, file string, use func(ctx context.Context, from publish.Source, key string) error) error {
	if file == "" && a.server == "" && !listens(ctx, filepath.Join(a.data, "admin.sock")) {
		if beside := filepath.Join(a.data, "ledger.db"); exists(beside) {
			file = beside
		}
	}
	if file != "" {
		return a.withFile(ctx, file, use)
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answers are there
	client := pb.NewLedgerServiceClient(conn)
	head, err := client.GetHead(ctx, &pb.GetHeadRequest{})
	if err != nil {
		return a.reached(err)
	}
	return a.reached(use(ctx, serverFiles{client}, head.GetVerifierKey()))
}

// withFile reads the file of a stopped server.
func (a *app) withFile(ctx context.Context, file string, use func(ctx context.Context, from publish.Source, key string) error) error {
	if err := readable(file); err != nil {
		return err
	}
	_, key, err := a.beside(ctx, filepath.Dir(file))
	if err != nil {
		return err
	}
	store, err := bolt.Open(ctx, bolt.Config{Path: file, ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // only read
	a.note("No server is asked: reading %s.", file)
	verifierKey := ""
	if key != nil {
		if verifierKey, err = ledger.CurrentVerifierKey(ctx, store, key.origin, key.public); err != nil {
			return err
		}
	}
	checkpoint := func(ctx context.Context) (ledger.Checkpoint, error) {
		return ledger.StoredCheckpoint(ctx, store, verifierKey)
	}
	return use(ctx, publish.New(publish.Config{Store: store, Checkpoint: checkpoint}), verifierKey)
}

// serverFiles are the files of a running server's ledger.
type serverFiles struct{ client pb.LedgerServiceClient }

// File implements publish.Source.
func (s serverFiles) File(ctx context.Context, path string) ([]byte, error) {
	file, err := s.client.GetFile(ctx, &pb.GetFileRequest{Path: path}, grpc.MaxCallRecvMsgSize(layout.MaxBundle+1<<16))
	return file.GetData(), err
}
