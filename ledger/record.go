package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	data, err := os.ReadFile(path)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("last-seen file: %w", err)
	}
	cp, err := ParseCheckpoint(data, verifierKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("last-seen file %s does not hold: %w", path, err)
	}
	return cp, nil
}

// writeLock replaces the last-seen file and is durable on return: a power cut
// leaves the old one or the new one.
func writeLock(path string, signed []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the last-seen file: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once renamed
	_, err = f.Write(signed)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
