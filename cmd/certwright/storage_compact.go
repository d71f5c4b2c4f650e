package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage/bolt"
)

// compacted is the result of storage compact: its JSON.
type compacted struct {
	File   string `json:"file"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

func storageCompactCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "compact [flags]", short: "Give free pages back to the disk",
		long: `
Copies the database of a stopped server without its free pages, compares the copy with
it row by row, checks the copy in another process, and puts it in its place. The disk
needs room for the copy. If it is ended, the database is as it was.`,
		example: `
certwright storage compact
certwright storage compact --data /var/lib/certwright -o json`,
		next: "certwright storage status",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			return a.compact(cmd, file)
		},
	}.command()
	cmd.Flags().StringVar(&file, "config", "", "configuration file (CERTWRIGHT_CONFIG; default DATA/certwright.yaml)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) compact(cmd *cobra.Command, configFile string) (err error) {
	ctx := cmd.Context()
	c, err := a.offline(cmd, configFile)
	if err != nil {
		return err
	}
	if _, err := datadir.Read(c.Data); err != nil {
		return failf(exitNotFound, "there is no CA in %s; --data names the data folder", c.Data)
	}
	release, err := datadir.Lock(c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	path := c.Path(strings.TrimPrefix(c.Storage, "bolt:"))
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	next := path + ".compact"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was ended
		return err
	}
	bar := a.progress("bytes copied")
	err = bolt.Compact(ctx, path, next, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	if err := a.scrubbed(ctx, next); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	after, err := os.Stat(next)
	if err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("put the copy in place: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	result := compacted{File: path, Before: before.Size(), After: after.Size()}
	r := rows{portrait: true, columns: columnsOf("File", "Before", "After")}
	r.add(path, path, sizeText(uint64(result.Before)), sizeText(uint64(result.After)))
	return a.print(result, r)
}

// scrubbed is an error if a copy is not sound.
func (a *app) scrubbed(ctx context.Context, file string) error {
	found, err := a.verifyInChild(ctx, fileCheck{file: file, scrub: true})
	if err == nil && len(found.Findings) > 0 {
		err = failf(exitFound, "the database has %s, the first: %s; nothing was changed; see certwright ledger verify",
			counted(len(found.Findings), "finding"), found.Findings[0].Detail)
	}
	return err
}
