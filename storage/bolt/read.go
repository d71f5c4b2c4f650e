package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// maxEntryBytes is the most that Entries returns at a time.
const maxEntryBytes = 8 << 20

// view reads the last state that is durable. What bbolt gives out is only valid inside.
func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("storage: %w", err)
		}
	}()
	defer guard(&err)()
	last, err := s.snapshots.take()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.snapshots.leave(last)) }()
	return read(last.tx)
}

// Head implements storage.LedgerReader.
func (s *Store) Head(ctx context.Context) (storage.Head, error) {
	var h storage.Head
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		edge, last, err := getEdge(tx)
		if err != nil {
			return err
		}
		h.Size, h.LastTime = edge.Size(), last
		h.Root, err = edge.Root()
		return err
	})
	return h, err
}

// Entries implements storage.LedgerReader.
func (s *Store) Entries(ctx context.Context, start uint64, limit int) ([][]byte, error) {
	var out [][]byte
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketEntry)).Cursor()
		total := 0
		for k, v := c.Seek(indexKey(start)); k != nil && len(out) < limit; k, v = c.Next() {
			if want := start + uint64(len(out)); !bytes.Equal(k, indexKey(want)) {
				return fmt.Errorf("%w: entry %d is missing", errDamaged, want)
			}
			if total += len(v); total > maxEntryBytes {
				return nil
			}
			out = append(out, slices.Clone(v))
		}
		return nil
	})
	return out, err
}

// Tile implements storage.LedgerReader.
func (s *Store) Tile(ctx context.Context, level int, n uint64, width int) ([]byte, error) {
	if level < 0 || level > 63 || width < 1 || width > merkle.TileWidth {
		return nil, fmt.Errorf("storage: tile of level %d and width %d: %w", level, width, storage.ErrNotFound)
	}
	var out []byte
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		if full := tx.Bucket([]byte(bucketTile)).Get(tileKey(level, n)); full != nil {
			if len(full) != merkle.TileWidth*merkle.HashSize {
				return fmt.Errorf("tile %d/%d: %w", level, n, errRow)
			}
			out = slices.Clone(full[:width*merkle.HashSize])
			return nil
		}
		edge, _, err := getEdge(tx)
		if err != nil {
			return err
		}
		at, hashes := edge.Partial(level)
		if at != n || len(hashes) < width*merkle.HashSize {
			return fmt.Errorf("tile %d/%d of width %d: %w", level, n, width, storage.ErrNotFound)
		}
		out = slices.Clone(hashes[:width*merkle.HashSize])
		return nil
	})
	return out, err
}

// Erasable implements storage.LedgerReader.
func (s *Store) Erasable(ctx context.Context, commitment [32]byte) (value []byte, salt [32]byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bucketErasable)).Get(commitment[:])
		if v == nil {
			return storage.ErrNotFound
		}
		if len(v) < len(salt) || entry.Commit([32]byte(v[:32]), v[32:]) != commitment {
			return errChecksum
		}
		salt, value = [32]byte(v[:32]), append([]byte{}, v[32:]...)
		return nil
	})
	return value, salt, err
}

// TokenUses implements storage.RecordReader.
func (s *Store) TokenUses(ctx context.Context, id string) (uint32, error) {
	var n uint32
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		key := textPrefix(id)
		sealed := tx.Bucket([]byte(bucketOnce)).Get(key)
		if sealed == nil {
			return nil
		}
		var err error
		n, err = parseUses(key, sealed)
		return err
	})
	return n, err
}

func indexOf(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, errRow
	}
	return binary.BigEndian.Uint64(value), nil
}
