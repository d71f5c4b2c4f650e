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
	// Across epochs: what the newer one has lost of the older, or nil.
	Epochs *acrossEpochs `json:"epochs,omitempty"`
}

// acrossEpochs is how a checkpoint goes on from one of an earlier epoch.
type acrossEpochs struct {
	Older   string `json:"older"` // origin
	Newer   string `json:"newer"`
	Genesis uint64 `json:"genesis"` // index, of the first epoch that follows the older's
	Lost    uint64 `json:"lost"`    // entries under the older checkpoint
	Named   bool   `json:"named"`   // the genesis names the older checkpoint
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

Of two epochs (certwright ledger recover) it says how NEW is linked to OLD: whether
it contains it, or which of its entries are lost to the ledger, as the genesis of
the new epoch says. The key of one epoch is good for all.

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
		cp, err := ledger.ParseAnyEpoch(notes[i], key)
		if err != nil {
			return failf(exitFound, "the %s checkpoint does not hold: %w", which, err)
		}
		both[i] = cp
	}
	if both[0].Origin != both[1].Origin {
		return acrossOf(ctx, a, from, key, both)
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
	return a.print(consistent{Consistent: true, Older: both[0].Size, Newer: both[1].Size}, r)
}

// acrossOf says how a checkpoint is linked to one of an earlier epoch.
func acrossOf(ctx context.Context, a *app, from publish.Source, key string, both [2]ledger.Checkpoint) error {
	_, older := ledger.SplitOrigin(both[0].Origin)
	_, newer := ledger.SplitOrigin(both[1].Origin)
	if older > newer {
		return usagef("the first checkpoint is of epoch %d, the second of epoch %d: name the older one first", older, newer)
	}
	link, err := publish.Linked(ctx, from, both[0], both[1], key)
	if err != nil {
		return err
	}
	out := acrossEpochs{Older: both[0].Origin, Newer: both[1].Origin, Genesis: link.Index, Named: link.Named}
	verdict := "ok"
	a.note("Two epochs: OLD is of epoch %d, NEW of epoch %d; epoch %d begins at entry %d.", older, newer, link.Number, link.Index)
	if link.Contained {
		a.note("NEW contains OLD: nothing under OLD is lost.")
	} else {
		out.Lost, verdict = both[0].Size-link.Index, "linked, not contained"
		a.note("Entries %d to %d under OLD (%d) are lost to the ledger. That those before them are the same is shown by a copy of OLD's tree: certwright-audit.", link.Index, both[0].Size-1, out.Lost)
		if !link.Named {
			a.note("The new epoch names %d entries as the last that were there, OLD covers %d: that OLD is a part of them is not shown.", link.Previous.Size, both[0].Size)
		}
	}
	r := rows{portrait: true, columns: columnsOf("Verdict", "Ledger", "Older", "Newer", "New epoch at entry", "Lost")}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	r.add(number(both[1].Size), verdict, both[1].Origin, number(both[0].Size)+" entries of epoch "+number(older), number(both[1].Size)+" entries of epoch "+number(newer),
		number(link.Index), number(out.Lost))
	return a.print(consistent{Consistent: link.Contained, Older: both[0].Size, Newer: both[1].Size, Epochs: &out}, r)
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
