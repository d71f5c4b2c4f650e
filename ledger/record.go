package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/flock"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Where the newest checkpoint stands in the store: uint64 Unix milliseconds of
// its signing, then the signed note.
const (
	collection = "checkpoint"
	latest     = "latest"
)

// stored is the store's newest checkpoint.
type stored struct {
	Checkpoint
	version uint64 // of its record; 0: there is none
}

// readStored reads the store's newest checkpoint; version 0 if there is none.
func readStored(ctx context.Context, s storage.RecordReader, verifierKey string) (stored, error) {
	r, err := s.Record(ctx, collection, latest)
	if errors.Is(err, storage.ErrNotFound) {
		return stored{}, nil
	}
	if err != nil {
		return stored{}, fmt.Errorf("read the stored checkpoint: %w", err)
	}
	if len(r.Body) < 8 {
		return stored{}, errors.New("the stored checkpoint is too short")
	}
	cp, err := ParseCheckpoint(r.Body[8:], verifierKey)
	if err != nil {
		return stored{}, fmt.Errorf("the stored checkpoint does not hold: %w", err)
	}
	cp.Time = time.UnixMilli(int64(binary.BigEndian.Uint64(r.Body))).UTC()
	return stored{Checkpoint: cp, version: r.Version}, nil
}

// putStored is the command that replaces it.
func putStored(cp Checkpoint, version uint64) storage.PutRecord {
	body := binary.BigEndian.AppendUint64(nil, uint64(cp.Time.UnixMilli()))
	return storage.PutRecord{Collection: collection, ID: latest, IfVersion: version, Body: append(body, cp.Note...)}
}

// readLock reads the last-seen file: one signed note. Not there: fs.ErrNotExist.
func readLock(path, verifierKey string) (Checkpoint, error) {
	data, err := plainfile.Read(path, maxCheckpoint)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("last-seen file: %w", err)
	}
	cp, err := ParseCheckpoint(data, verifierKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("last-seen file %s does not hold: %w", path, err)
	}
	return cp, nil
}

// lockContent is what stands in the last-seen file; nil: it is not there.
func lockContent(path string) ([]byte, error) {
	data, err := plainfile.Read(path, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// heldLock is the last-seen file while nobody else may write it: two servers that
// were given one file take turns.
type heldLock struct {
	path string
	dir  *os.File
}

func holdLock(path string) (*heldLock, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("last-seen file: %w", err)
	}
	if err := flock.Wait(dir); err != nil {
		return nil, fmt.Errorf("last-seen file: %w", errors.Join(err, dir.Close()))
	}
	return &heldLock{path: path, dir: dir}, nil
}

// prepareLock makes the folder of a last-seen file that is not there, and wants it to
// be one that can be written: before anything goes into the ledger because of it.
func prepareLock(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return refused(fmt.Errorf("the folder of the last-seen file cannot be made: %w", err), "make it for the server's user, or correct ledger.lock")
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return refused(fmt.Errorf("the last-seen file cannot be written: %w", err), "let the server's user write its folder, or correct ledger.lock")
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// release lets the others: closing the folder ends the turn.
func (h *heldLock) release() error { return h.dir.Close() }

// compareLock wants the last-seen file to be what this server has seen there last
// (nil: no file), or, if it is not nil, what the store says it was going to write.
// Another content means that somebody else signs for this ledger, or has put a file
// in place.
func compareLock(path string, seen, stored []byte) error {
	now, err := lockContent(path)
	if err != nil {
		return fmt.Errorf("last-seen file: %w", err)
	}
	if !bytes.Equal(now, seen) && (stored == nil || !bytes.Equal(now, stored)) {
		return changedLock(path, now, seen)
	}
	return nil
}

// write replaces the file and is durable on return: a power cut leaves the old one
// or the new one.
func (h *heldLock) write(next []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the last-seen file: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(h.path), "."+filepath.Base(h.path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once renamed
	_, err = f.Write(next)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), h.path); err != nil {
		return err
	}
	return h.dir.Sync()
}

// lockChanged is the reason of a conflict about the last-seen file.
const lockChanged = "LEDGER_LOCK_CHANGED"

// changedLock says what stands in the last-seen file instead of what was seen.
func changedLock(path string, now, seen []byte) error {
	covers := func(note []byte) string {
		cp, err := ParseCheckpoint(note, "")
		switch {
		case note == nil:
			return "is gone"
		case err != nil:
			return "is no checkpoint"
		}
		return fmt.Sprintf("covers %d entries", cp.Size)
	}
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: lockChanged,
		Detail: fmt.Sprintf("%s was changed by somebody else: it %s, what this server has seen there last %s", path, covers(now), covers(seen)),
		Help:   "only one server may have this file; find out who wrote to it, then start this server again",
	}
}
