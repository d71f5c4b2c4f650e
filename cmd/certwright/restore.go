package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/server/backup"
	"github.com/certwright/certwright/server/datadir"
)

func restoreCommand(a *app) *cobra.Command {
	var f sealedFlags
	cmd := leaf{
		use: "restore SRC [flags]", short: "Restore a backup into an empty data folder",
		long: `
Makes the data folder that --data names out of the backup SRC. The folder must be
empty, or not be there yet. Every file is compared with the backup's manifest, and
the database is checked, before anything gets its name: the folder is there whole or
not at all. Who can write the backup can change it: --key names the ledger's verifier
key (certwright ledger status), which must have signed the checkpoint in it.

A backup without keys needs the folder keys put back beside it. The last-seen file
is in no backup: if it is newer than the backup, the server refuses to start, and
certwright ledger recover goes on from there.`,
		example: `
certwright restore /mnt/backup/ca.tar --data /var/lib/certwright
certwright restore /mnt/backup/ca.tar.age --identity ca.agekey --data ./certwright-data`,
		next: "certwright serve",
		args: exactly("a backup SRC"),
		run: func(cmd *cobra.Command, args []string) error {
			return f.restore(cmd.Context(), a, args[0])
		},
	}.command()
	f.flags(cmd)
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *sealedFlags) restore(ctx context.Context, a *app, src string) error {
	if err := vacantFolder(a.data); err != nil {
		return err
	}
	file, archive, encrypted, err := f.open(src)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	result := backedUp{File: src}
	// The format file says what folder it is, and Create writes it: so it is read first.
	format, err := f.format(src)
	if err != nil {
		return err
	}
	err = datadir.Create(ctx, a.data, format, func(ctx context.Context, temp string) error {
		m, err := unpack(archive, temp)
		if err != nil {
			return failf(exitFound, "%w; nothing was restored", err)
		}
		work, err := os.MkdirTemp(a.data, ".restore-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work) //nolint:errcheck // what is left is a temporary folder
		if result, err = a.checkCopy(ctx, filepath.Join(temp, m.Database), work, f.held(m), true); err != nil {
			return err
		}
		if result.File = src; len(result.Findings) > 0 {
			return a.printBackup(result)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err == nil {
		result.Size = info.Size()
	}
	result.Encrypted = encrypted
	if err := a.printBackup(result); err != nil {
		return err
	}
	if !result.Keys {
		a.note("The backup has no private keys: put the folder %s back from where they are kept.", filepath.Join(a.data, datadir.KeyDir))
	}
	a.note("Next: certwright serve --data %s; if it refuses because the ledger is behind: certwright ledger recover --data %[1]s", quote(a.data))
	return nil
}

// vacantFolder refuses a folder that is not empty.
func vacantFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return failf(exitConflict, "%s is not empty (it has %q): a restore needs an empty folder; name another with --data", dir, entries[0].Name())
	}
	return nil
}

// errFound ends the reading of an archive.
var errFound = errors.New("found")

// format reads the format file out of a backup.
func (f *sealedFlags) format(src string) (datadir.Format, error) {
	var format datadir.Format
	file, archive, _, err := f.open(src)
	if err != nil {
		return format, err
	}
	defer file.Close() //nolint:errcheck // only read
	_, err = backup.Read(archive, func(backup.Manifest) error { return nil }, func(each backup.File, from io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(from, backup.MaxFile))
		if err == nil && each.Name == datadir.FormatFile {
			if format, err = datadir.ParseFormat(text); err == nil {
				err = errFound
			}
		}
		return err
	})
	switch {
	case errors.Is(err, errFound):
		return format, nil
	case err == nil:
		err = fmt.Errorf("the backup has no file %q", datadir.FormatFile)
	}
	return format, failf(exitFound, "%w; nothing was restored", err)
}

// unpack writes the files of a backup into a folder, but for the format file.
func unpack(archive io.Reader, dir string) (backup.Manifest, error) {
	return backup.Read(archive, func(backup.Manifest) error {
		return os.MkdirAll(filepath.Join(dir, datadir.KeyDir), 0o700)
	}, func(each backup.File, from io.Reader) error {
		if each.Name == datadir.FormatFile {
			_, err := io.Copy(io.Discard, from)
			return err
		}
		return writeNew(filepath.Join(dir, filepath.FromSlash(each.Name)), from)
	})
}
