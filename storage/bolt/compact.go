package bolt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// compactStep is how many octets of rows one transaction of a compaction writes.
const compactStep = 8 << 20

// Compact copies the file of a stopped server into a new one without free pages, and
// compares the two row by row. The new file is synced; the old one is not touched.
// On an error there is no new file. progress may be nil.
func Compact(ctx context.Context, from, to string, progress func(done, total uint64)) (err error) {
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("compact: %s: %w", to, os.ErrExist)
	}
	defer func() {
		if err != nil {
			if full := fullError(to, err); full != nil {
				err = full
			}
			err = errors.Join(fmt.Errorf("compact: %w", err), removeIfThere(to))
		}
	}()
	old, err := Open(ctx, Config{Path: from, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	db, err := bbolt.Open(to, 0o600, &bbolt.Options{
		Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, InitialMmapSize: int(mapSize()), NoSync: true, NoGrowSync: true, // synced at the end
	})
	if err != nil {
		return err
	}
	copied := false
	defer func() {
		if !copied {
			err = errors.Join(err, db.Close())
		}
	}()
	err = old.view(ctx, func(tx *bbolt.Tx) error { return copyRows(ctx, tx, db, progress) })
	if err != nil {
		return err
	}
	if err := errors.Join(db.Sync(), db.Close()); err != nil {
		return err
	}
	copied = true
	return sameRows(ctx, old, to)
}

// copyRows copies every bucket in the order of its keys.
func copyRows(ctx context.Context, from *bbolt.Tx, to *bbolt.DB, progress func(done, total uint64)) error {
	done, total := uint64(0), uint64(from.Size())
	for _, b := range buckets() {
		if err := to.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte(b))
			return err
		}); err != nil {
			return err
		}
		c := from.Bucket([]byte(b)).Cursor()
		for k, v := c.First(); k != nil; {
			if err := ctx.Err(); err != nil {
				return err
			}
			step := 0
			err := to.Update(func(tx *bbolt.Tx) error {
				into := tx.Bucket([]byte(b))
				into.FillPercent = appendFill // keys come in order
				for ; k != nil && step < compactStep; k, v = c.Next() {
					if err := into.Put(k, v); err != nil {
						return err
					}
					step += len(k) + len(v)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("bucket %s: %w", b, err)
			}
			done += uint64(step)
			progress(min(done, total), total)
		}
	}
	progress(total, total)
	return nil
}

// sameRows compares all rows of two files.
func sameRows(ctx context.Context, old *Store, path string) (err error) {
	again, err := Open(ctx, Config{Path: path, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	want, err := old.sum(ctx)
	if err != nil {
		return err
	}
	got, err := again.sum(ctx)
	if err != nil {
		return err
	}
	if want != got {
		return errors.New("the copy does not have the rows of the file: nothing was changed")
	}
	return nil
}

// sum is the SHA-256 of all rows with their lengths and buckets.
func (s *Store) sum(ctx context.Context) (out [sha256.Size]byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		h := sha256.New()
		var length [8]byte
		part := func(data []byte) {
			binary.BigEndian.PutUint64(length[:], uint64(len(data)))
			h.Write(length[:])
			h.Write(data)
		}
		for _, b := range buckets() {
			part([]byte(b))
			c := tx.Bucket([]byte(b)).Cursor()
			n := 0
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if n++; n%checkEvery == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				part(k)
				part(v)
			}
		}
		out = [sha256.Size]byte(h.Sum(nil))
		return nil
	})
	return out, err
}
