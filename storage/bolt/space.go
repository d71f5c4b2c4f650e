package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/storage"
)

// metaPages are the pages that no bucket takes: bbolt's two meta pages, its list of
// free pages, and the list of buckets.
const metaPages = 4

// Space tells what takes how much space. It walks all pages, in one read
// transaction.
func (s *Store) Space(ctx context.Context) (storage.Space, error) {
	var out storage.Space
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		version, err := getFormat(tx.Bucket([]byte(bucketMeta)))
		if err != nil {
			return err
		}
		info, err := s.file.Stat()
		if err != nil {
			return err
		}
		out = storage.Space{Format: version, Size: uint64(info.Size()), DiskFree: freeSpace(s.file)}
		if s.config.Reserve > 0 {
			out.Reserve = uint64(s.config.Reserve)
		}
		taken := uint64(metaPages * s.db.Info().PageSize)
		for _, b := range buckets() {
			if err := ctx.Err(); err != nil {
				return err
			}
			st := tx.Bucket([]byte(b)).Stats()
			part := storage.BucketSpace{
				Name: string(b), Rows: uint64(st.KeyN), Size: uint64(st.BranchAlloc + st.LeafAlloc), Used: uint64(st.BranchInuse + st.LeafInuse),
			}
			if part.Size == 0 { // a small part stands in the page that names it
				part.Size, part.Used = uint64(st.InlineBucketInuse), uint64(st.InlineBucketInuse)
			}
			out.Buckets = append(out.Buckets, part)
			taken += uint64(st.BranchAlloc + st.LeafAlloc)
		}
		out.Free = out.Size - min(taken, out.Size)
		return nil
	})
	return out, err
}

// Backup writes the file as it is at one moment: size is called first, with its
// length. Writers go on; the pages that they free are used again after it.
func (s *Store) Backup(ctx context.Context, size func(octets uint64) error, w io.Writer) error {
	return s.view(ctx, func(tx *bbolt.Tx) error {
		if err := size(uint64(tx.Size())); err != nil {
			return err
		}
		_, err := tx.WriteTo(w)
		return err
	})
}

// CheckPages reads every page of the file of a stopped server and checks bbolt's own
// structure: that each page is reached once or free, and that keys rise. Damage can
// end the process: call it in a child. Each finding is one line. Where report says
// false the check ends, and leaves the file open: pages that lead in a circle have no
// end of findings, and bbolt's checker cannot be ended.
func CheckPages(ctx context.Context, path string, report func(string) bool) (err error) {
	defer guard(&err)()
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.Size() == 0 {
		return openError(path, errDamaged)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return openError(path, err)
	}
	tx, err := db.Begin(false)
	if err != nil {
		return errors.Join(openError(path, err), db.Close())
	}
	if has, want := fileSize(path), tx.Size(); want > has {
		report(fmt.Sprintf("the file has %d octets, its pages take %d: it is cut", has, want))
	} else {
		for err := range tx.Check() {
			found := strings.TrimPrefix(err.Error(), "panic: ") // it was caught: it is a finding
			if !report(found) || ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return errors.Join(tx.Rollback(), db.Close(), ctx.Err())
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
