package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/backup"
)

// backupFlags are those of backup.
type backupFlags struct {
	recipients, recipientFiles []string
	withKeys                   bool
	workDir                    string
}

// backedUp is the result of backup and backup verify: its JSON.
type backedUp struct {
	File       string    `json:"file"`
	Time       time.Time `json:"time"`
	Program    string    `json:"program"`
	Size       int64     `json:"size"`
	Entries    uint64    `json:"entries"`    // in the database
	Checkpoint uint64    `json:"checkpoint"` // entries under the published checkpoint
	Origin     string    `json:"origin"`
	Verifier   string    `json:"verifierKey"`
	Encrypted  bool      `json:"encrypted"`
	Keys       bool      `json:"keys"`
	Findings   []finding `json:"findings"`
}

func backupCommand(a *app) *cobra.Command {
	var f backupFlags
	cmd := leaf{
		use: "backup DEST [flags]", short: "Back up a running server",
		long: `
Copies the database of a running server, as it is at one moment, and what lies
beside it, into the file DEST, which must not be there yet. The copy is checked
before it gets its name: page by page, and against the checkpoint that the server
had published.

With --recipient it is encrypted for an age recipient (age1…; age-keygen makes one).
Private keys come along with --with-keys only, and encrypted only; they are still
under the passphrase, which is never in a backup. Nor is the last-seen file: it is
what shows that an older copy was restored.`,
		example: `
certwright backup /mnt/backup/ca.tar
certwright backup /mnt/backup/ca.tar.age --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --with-keys
certwright backup verify /mnt/backup/ca.tar`,
		next: "certwright backup verify FILE",
		args: exactly("a file DEST"),
		run: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), a, args[0])
		},
	}.command()
	cmd.Flags().StringArrayVar(&f.recipients, "recipient", nil, "encrypt for this age recipient; may be repeated")
	cmd.Flags().StringArrayVar(&f.recipientFiles, "recipients-file", nil, "encrypt for the age recipients in this file; may be repeated")
	cmd.Flags().BoolVar(&f.withKeys, "with-keys", false, "back up the private keys too; needs a recipient")
	cmd.Flags().StringVar(&f.workDir, "work-dir", "", "folder for the copy while it is checked, in clear (default: that of DEST; with a recipient: the data folder)")
	a.outputFlag(cmd)
	_ = cmd.MarkFlagFilename("recipients-file")
	_ = cmd.MarkFlagDirname("work-dir")
	cmd.ValidArgsFunction = nil
	cmd.AddCommand(backupVerifyCommand(a))
	return cmd
}

func (f *backupFlags) run(ctx context.Context, a *app, dest string) error {
	text, err := f.recipientText()
	if err != nil {
		return err
	}
	if f.withKeys && len(text) == 0 {
		return usagef("--with-keys needs a --recipient: private keys leave the server encrypted only")
	}
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = failf(exitConflict, "%s is there already; a backup never replaces a file: name another", dest)
		}
		return err
	}
	work, err := f.work(a, filepath.Dir(dest), len(text) > 0)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is a temporary folder
	m, fetched, err := a.fetchBackup(ctx, work, f.withKeys)
	if err != nil {
		return err
	}
	result, err := a.checkCopy(ctx, filepath.Join(work, m.Database), work, m, true)
	if err != nil {
		return err
	}
	if result.File = dest; len(result.Findings) > 0 {
		return a.printBackup(result)
	}
	if result.Size, err = a.writeBackup(dest, m, fetched, text); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	result.Encrypted = len(text) > 0
	return a.printBackup(result)
}

// recipientText is the recipients, one a line; nothing without.
func (f *backupFlags) recipientText() ([]byte, error) {
	var text []byte
	for _, each := range f.recipients {
		text = append(append(text, each...), '\n')
	}
	for _, each := range f.recipientFiles {
		data, err := readSmall(each)
		if err != nil {
			return nil, fmt.Errorf("--recipients-file: %w", err)
		}
		text = append(append(text, data...), '\n')
	}
	if len(text) > 0 {
		if _, err := backup.Recipients(text); err != nil {
			return nil, usagef("%w", err)
		}
	}
	return text, nil
}

// work makes a folder for what is in clear.
func (f *backupFlags) work(a *app, beside string, encrypted bool) (string, error) {
	dir := f.workDir
	switch {
	case dir != "":
	case encrypted && exists(a.data):
		dir = a.data
	default:
		dir = beside
	}
	work, err := os.MkdirTemp(dir, ".backup-*")
	if err != nil {
		return "", fmt.Errorf("a folder for the copy: %w", err)
	}
	return work, nil
}

// writeBackup writes the archive under a temporary name, durably, and gives it its
// name.
func (a *app) writeBackup(dest string, m backup.Manifest, open func(string) (io.ReadCloser, error), recipients []byte) (size int64, err error) {
	out, err := os.CreateTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(out.Name()))
		}
	}()
	var to io.WriteCloser = &steadyFile{File: out}
	if len(recipients) > 0 {
		known, err := backup.Recipients(recipients)
		if err != nil {
			return 0, err
		}
		if to, err = backup.Encrypt(to, known); err != nil {
			return 0, err
		}
	}
	if err := backup.Write(to, m, open); err != nil {
		return 0, err
	}
	if len(recipients) > 0 {
		if err := to.Close(); err != nil {
			return 0, err
		}
	}
	info, err := out.Stat()
	if err != nil {
		return 0, err
	}
	if err := out.Sync(); err != nil {
		return 0, err
	}
	if err := os.Link(out.Name(), dest); err != nil { // unlike Rename it never replaces
		if errors.Is(err, fs.ErrExist) {
			return 0, err
		}
		if err := os.Rename(out.Name(), dest); err != nil { // a file system without links
			return 0, err
		}
	} else if err := os.Remove(out.Name()); err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(out.Close(), syncDir(filepath.Dir(dest)))
}

// steadyFile syncs after every few megabytes, so that the disk is never given all at
// once: the server beside it waits for that disk too.
type steadyFile struct {
	*os.File
	since int
}

const syncEvery = 8 << 20

func (f *steadyFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if f.since += n; err == nil && f.since >= syncEvery {
		f.since = 0
		err = f.Sync()
	}
	return n, err
}

// readSmall reads a file of at most 64 KiB.
func readSmall(path string) ([]byte, error) {
	return plainfile.Read(path, 1<<16)
}

// checkCopy checks a copy of the database in another process.
func (a *app) checkCopy(ctx context.Context, file, work string, m backup.Manifest, quick bool) (backedUp, error) {
	result := backedUp{Time: m.Time, Program: m.Program, Verifier: m.VerifierKey, Keys: m.Keys(), Findings: []finding{}}
	cp, err := ledger.ParseCheckpoint([]byte(m.Checkpoint), m.VerifierKey)
	if err != nil {
		result.Findings = append(result.Findings, finding{Kind: "checkpoint", Subject: "published checkpoint", Detail: err.Error()})
		return result, nil //nolint:nilerr // it is a finding
	}
	result.Checkpoint, result.Origin = cp.Size, cp.Origin
	note := filepath.Join(work, ".checkpoint")
	if err := os.WriteFile(note, []byte(m.Checkpoint), 0o600); err != nil {
		return result, err
	}
	found, err := a.verifyInChild(ctx, fileCheck{file: file, checkpoint: note, key: m.VerifierKey, quick: quick})
	if err != nil {
		return result, err
	}
	result.Entries = found.Entries
	result.Findings = append(result.Findings, found.Findings...)
	return result, nil
}

// printBackup prints what a backup is, or what is wrong with it.
func (a *app) printBackup(b backedUp) error {
	if len(b.Findings) > 0 {
		r := rows{columns: columnsOf("kind", "subject", "detail")}
		for _, f := range b.Findings {
			r.add(f.Subject, f.Kind, f.Subject, f.Detail)
		}
		if err := a.print(b, r); err != nil {
			return err
		}
		return failf(exitFound, "the backup %s has %s: do not rely on it", b.File, counted(len(b.Findings), "finding"))
	}
	yes := map[bool]string{true: "yes", false: "no"}
	r := rows{portrait: true, columns: columnsOf("File", "Verdict", "Begun", "Size", "Entries", "Checkpoint", "Origin", "Verifier key", "Encrypted", "Private keys")}
	r.add(b.File, b.File, "ok", b.Time.UTC().Format(time.RFC3339), sizeText(uint64(b.Size)), strconv.FormatUint(b.Entries, 10),
		strconv.FormatUint(b.Checkpoint, 10)+" entries", b.Origin, b.Verifier, yes[b.Encrypted], yes[b.Keys])
	return a.print(b, r)
}

// sizeText is a number of octets for people.
func sizeText(n uint64) string {
	switch {
	case n >= 10<<30:
		return strconv.FormatUint(n>>30, 10) + " GiB"
	case n >= 10<<20:
		return strconv.FormatUint(n>>20, 10) + " MiB"
	case n >= 10<<10:
		return strconv.FormatUint(n>>10, 10) + " KiB"
	}
	return strconv.FormatUint(n, 10) + " B"
}
