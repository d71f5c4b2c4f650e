package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/backup"
)

// sealedFlags are those of commands that read a backup.
type sealedFlags struct{ identity, workDir, key string }

func backupVerifyCommand(a *app) *cobra.Command {
	var f sealedFlags
	cmd := leaf{
		use: "verify FILE [flags]", short: "Check a backup",
		long: `
Reads a backup to its end, compares every file with its manifest, and verifies the
ledger in it: pages, every hash, every certificate's entry, the published checkpoint.
Exits with 8 if something is wrong. It needs room for the database in --work-dir.

The manifest itself is signed by nobody. --key names the ledger's verifier key
(certwright ledger status): then the checkpoint must be signed by it, and so all
entries under it are those of your ledger.`,
		example: `
certwright backup verify /mnt/backup/ca.tar
certwright backup verify /mnt/backup/ca.tar.age --identity ca.agekey -o json`,
		next: "certwright restore FILE",
		args: exactly("a FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			return f.verify(cmd.Context(), a, args[0])
		},
	}.command()
	f.flags(cmd)
	cmd.Flags().StringVar(&f.workDir, "work-dir", "", "folder for the database while it is checked, in clear (default: that of FILE)")
	_ = cmd.MarkFlagDirname("work-dir")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *sealedFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.identity, "identity", "", "file with the age identity of an encrypted backup")
	cmd.Flags().StringVar(&f.key, "key", "", "verifier key that must have signed the checkpoint")
	_ = cmd.MarkFlagFilename("identity")
}

// held is the manifest by which a database is checked: with the key that was named.
func (f *sealedFlags) held(m backup.Manifest) backup.Manifest {
	if f.key != "" {
		m.VerifierKey = f.key
	}
	return m
}

// open opens a backup's archive. encrypted tells how it lies on the disk.
func (f *sealedFlags) open(path string) (file *os.File, archive io.Reader, encrypted bool, err error) {
	if file, err = plainfile.Open(path); err != nil {
		return nil, nil, false, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	var identities []byte
	if f.identity != "" {
		if identities, err = readSmall(f.identity); err != nil {
			return file, nil, false, fmt.Errorf("--identity: %w", err)
		}
	}
	_, plain := backup.Open(file, nil)
	if encrypted = errors.Is(plain, backup.ErrEncrypted); encrypted && identities == nil {
		return file, nil, true, usagef("%w", plain)
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return file, nil, encrypted, err
	}
	archive, err = backup.Open(file, identities)
	return file, archive, encrypted, err
}

func (f *sealedFlags) verify(ctx context.Context, a *app, path string) error {
	if f.key != "" {
		if err := ledger.CheckVerifierKey(f.key); err != nil {
			return usagef("--key %.64q is no verifier key (NAME+HASH+KEY, certwright ledger status prints it): was it copied in full?", f.key)
		}
	}
	file, archive, encrypted, err := f.open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	dir := f.workDir
	if dir == "" {
		dir = filepath.Dir(path)
	}
	work, err := os.MkdirTemp(dir, ".verify-*")
	if err != nil {
		return fmt.Errorf("a folder for the copy: %w; name one with --work-dir", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is a temporary folder
	database := ""
	m, err := backup.Read(archive, func(m backup.Manifest) error {
		database = m.Database
		return nil
	}, func(each backup.File, from io.Reader) error {
		if each.Name != database {
			_, err := io.Copy(io.Discard, from)
			return err
		}
		return writeNew(filepath.Join(work, database), from)
	})
	if err != nil {
		var disk *os.PathError
		if errors.As(err, &disk) {
			return err
		}
		return a.printBackup(backedUp{File: path, Size: info.Size(), Encrypted: encrypted, Findings: []finding{{Kind: "archive", Subject: filepath.Base(path), Detail: err.Error()}}})
	}
	result, err := a.checkCopy(ctx, filepath.Join(work, database), work, f.held(m), false)
	if err != nil {
		return err
	}
	result.File, result.Size, result.Encrypted = path, info.Size(), encrypted
	return a.printBackup(result)
}

// writeNew writes a new file, durably.
func writeNew(path string, from io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(&steadyFile{File: out}, from)
	return errors.Join(err, out.Sync(), out.Close())
}
