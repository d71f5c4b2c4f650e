package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	pb "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/server/backup"
)

// fetched is a backup as it comes from the server: small files in memory, the
// database in a folder.
type fetched struct {
	manifest backup.Manifest
	dir      string
	small    map[string][]byte

	file *os.File // of the database, while it comes
	to   io.Writer
	sum  hash.Hash
	name string // of the file that comes
	size uint64
	have uint64
	text *bytes.Buffer // what came of it, if it is small
}

// fetchBackup has the server send a backup. The second result opens its files.
func (a *app) fetchBackup(ctx context.Context, dir string, withKeys bool) (backup.Manifest, func(string) (io.ReadCloser, error), error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return backup.Manifest{}, nil, err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewMaintenanceServiceClient(conn).Backup(ctx, &pb.BackupRequest{WithKeys: withKeys})
	if err != nil {
		return backup.Manifest{}, nil, a.reached(err)
	}
	f := &fetched{dir: dir, small: map[string][]byte{}}
	defer f.drop()
	bar := a.progress("bytes copied")
	defer bar.end()
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return f.manifest, nil, failf(exitFailure, "the server ended the backup before it was done; look at its log")
		}
		if err != nil {
			return f.manifest, nil, a.reached(err)
		}
		done, err := f.take(message)
		if err != nil {
			return f.manifest, nil, err
		}
		if done {
			return f.manifest, f.open, nil
		}
		if f.file != nil {
			bar.show(f.have, f.size)
		}
	}
}

// take takes up one part; true: it was the last.
func (f *fetched) take(message *pb.BackupResponse) (bool, error) {
	switch part := message.GetPart().(type) {
	case *pb.BackupResponse_Header_:
		f.manifest = backup.Manifest{
			Version: backup.Version, Time: part.Header.GetTime().AsTime(), Program: part.Header.GetVersion(),
			Checkpoint: part.Header.GetCheckpoint(), VerifierKey: part.Header.GetVerifierKey(),
		}
	case *pb.BackupResponse_File_:
		return false, f.begin(part.File)
	case *pb.BackupResponse_Data:
		if f.have += uint64(len(part.Data)); f.to == nil || f.have > f.size {
			return false, failf(exitFailure, "the server sends more of %q than it has said", f.name)
		}
		_, err := f.to.Write(part.Data)
		return false, err
	case *pb.BackupResponse_Done:
		return true, f.end()
	}
	return false, nil
}

// begin ends the file before and begins the next.
func (f *fetched) begin(file *pb.BackupResponse_File) error {
	if err := f.end(); err != nil {
		return err
	}
	if err := backup.CheckName(file.GetName()); err != nil {
		return err
	}
	f.name, f.size, f.have, f.sum = file.GetName(), file.GetSize(), 0, sha256.New()
	if !file.GetDatabase() {
		if f.size > backup.MaxFile {
			return failf(exitFailure, "%s has %d octets: too large for a file of a data folder", f.name, f.size)
		}
		f.text = &bytes.Buffer{}
		f.to = io.MultiWriter(f.text, f.sum)
		return nil
	}
	f.manifest.Database = f.name
	var err error
	f.file, err = os.OpenFile(filepath.Join(f.dir, f.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.to = io.MultiWriter(&steadyFile{File: f.file}, f.sum)
	return nil
}

// end ends the file that came.
func (f *fetched) end() error {
	if f.to == nil {
		return nil
	}
	if f.have != f.size {
		return failf(exitFailure, "the server sent %d octets of %q, and has said %d", f.have, f.name, f.size)
	}
	f.manifest.Files = append(f.manifest.Files, backup.File{
		Name: f.name, Size: int64(f.size), SHA256: backup.Sum([sha256.Size]byte(f.sum.Sum(nil))),
	})
	f.to = nil
	if f.file == nil {
		f.small[f.name] = f.text.Bytes()
		return nil
	}
	err := errors.Join(f.file.Sync(), f.file.Close())
	f.file = nil
	return err
}

// drop closes what did not come to its end.
func (f *fetched) drop() {
	if f.file != nil {
		_ = f.file.Close()
	}
}

// open opens a file that came.
func (f *fetched) open(name string) (io.ReadCloser, error) {
	if data, ok := f.small[name]; ok {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil, fmt.Errorf("the copy: %w", err)
	}
	return file, nil
}
