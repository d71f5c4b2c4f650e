package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/merkle/layout"
	"github.com/certwright/certwright/merkle/proof"
)

// consistencyFlags are the flags of ledger consistency.
type consistencyFlags struct {
	tiles, key, file string
}

// consistent is the JSON of ledger consistency.
type consistent struct {
	Consistent bool   `json:"consistent"`
	Older      uint64 `json:"older"` // entries
	Newer      uint64 `json:"newer"`
}

func ledgerConsistencyCommand(a *app) *cobra.Command {
	f := &consistencyFlags{}
	cmd := leaf{
		use: "consistency OLD [NEW] [flags]", short: "Show that a newer checkpoint continues an older one",
		long: `
Shows by a consistency proof (RFC 6962 §2.1.2) that the ledger under the checkpoint
NEW begins with that under OLD: nothing was changed, taken away or put in between.
Both are files with a checkpoint (a signed note) or a proof (C2SP tlog-proof);
without NEW it is the newest checkpoint of where the tiles come from: the folder
of --tiles, which an export has written, else the running server, else its file.
No tile is trusted: each is proven to belong to NEW.

--key is the ledger's verifier key; without it the server's own word is taken for
it, which a server that lies would like. Exits with 8 if they are of different
histories, or if a signature does not hold.`,
		example: `
certwright ledger consistency saved-checkpoint
certwright ledger consistency saved-checkpoint --tiles ./ledger-copy --key verifier.key
certwright ledger consistency old.tlog-proof new.tlog-proof --tiles ./ledger-copy --key verifier.key`,
		next: "certwright ledger verify",
		args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("an OLD checkpoint")(cmd, args)
		},
		run: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args) },
	}.command()
	cmd.Flags().StringVar(&f.tiles, "tiles", "", "folder of an export with the tiles (default: ask the server)")
	cmd.Flags().StringVar(&f.key, "key", "", "the ledger's verifier key, or a file with it (with --tiles: required)")
	cmd.Flags().StringVar(&f.file, "file", "", "ledger file of a stopped server with the tiles")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagDirname("tiles")
	_ = cmd.MarkFlagFilename("file", "db")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *consistencyFlags) run(ctx context.Context, a *app, args []string) error {
	if f.tiles != "" && f.file != "" {
		return usagef("--tiles and --file both say where the tiles are: give one of them")
	}
	key := ""
	if f.key != "" {
		var err error
		if key, err = a.verifierKey(f.key); err != nil {
			return err
		}
	}
	var notes [2][]byte
	for i, name := range args {
		note, err := a.readCheckpoint(name)
		if err != nil {
			return err
		}
		notes[i] = note
	}
	check := func(ctx context.Context, from publish.Source, itsKey string) error {
		if key == "" {
			key = itsKey
			a.note("No --key: the signatures are checked with the key that the ledger itself names.")
		}
		return f.compare(ctx, a, from, key, notes)
	}
	if f.tiles == "" {
		return otherHistory(a.withSource(ctx, f.file, check))
	}
	if key == "" {
		return usagef("--tiles needs --key, the ledger's verifier key; certwright ledger status shows it: keep it where you check")
	}
	return otherHistory(missing(f.compare(ctx, a, publish.Folder(f.tiles), key, notes)))
}

// compare checks both checkpoints, and that one continues the other.
func (f *consistencyFlags) compare(ctx context.Context, a *app, from publish.Source, key string, notes [2][]byte) error {
	newest := notes[1] == nil
	if newest {
		var err error
		if notes[1], err = from.File(ctx, layout.Checkpoint); err != nil {
			return err
		}
	}
	var both [2]ledger.Checkpoint
	for i, which := range []string{"older", "newer"} {
		cp, err := ledger.ParseCheckpoint(notes[i], key)
		if err != nil {
			return failf(exitFound, "the %s checkpoint does not hold: %w", which, err)
		}
		both[i] = cp
	}
	switch {
	case both[0].Size > both[1].Size && newest:
		return fmt.Errorf("%w: the checkpoint covers %d entries, the ledger's newest one %d: entries are missing from the ledger", publish.ErrOtherHistory, both[0].Size, both[1].Size)
	case both[0].Size > both[1].Size:
		return usagef("the first checkpoint covers %d entries, the second %d: name the older one first", both[0].Size, both[1].Size)
	}
	if err := publish.Consistent(ctx, from, both[0], both[1]); err != nil {
		return err
	}
	older, newer := strconv.FormatUint(both[0].Size, 10), strconv.FormatUint(both[1].Size, 10)
	r := rows{portrait: true, columns: columnsOf("Verdict", "Ledger", "Older", "Newer")}
	r.add(newer, "ok", both[1].Origin, older+" entries", newer+" entries")
	return a.print(consistent{true, both[0].Size, both[1].Size}, r)
}

// readCheckpoint reads the signed note of a file; of a proof's file its checkpoint.
func (a *app) readCheckpoint(name string) ([]byte, error) {
	data, err := a.readInput(name)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(data), "c2sp.org/tlog-proof@") {
		return data, nil
	}
	p, err := proof.Parse(data)
	if err != nil {
		return nil, failf(exitFound, "the proof %s cannot be read: %w", name, err)
	}
	return p.Checkpoint, nil
}
