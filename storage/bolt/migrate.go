package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/problem"
)

// migration brings a file to the format to from the one before. There is no way
// back: an older program refuses the file.
type migration struct {
	to  uint32
	run func(*bbolt.Tx) error
}

// migrations are all steps, in order. A step is never changed once it was released.
func migrations() []migration {
	return []migration{{to: 2, run: versionRows}}
}

// migrate does the steps that the file lacks, in one transaction: it has the newest
// format then, or is as it was.
func (s *Store) migrate(steps []migration) error {
	newest := uint32(1)
	for _, m := range steps {
		newest = max(newest, m.to)
	}
	from := uint32(0)
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		from, err = getFormat(tx.Bucket([]byte(bucketMeta)))
		return err
	})
	switch {
	case err != nil || from == newest:
		return err
	case from > newest:
		return otherFormat(s.config.Path, from)
	}
	s.config.Logger.Warn("the database is brought to a new format: older programs will refuse it",
		slog.String("path", s.config.Path), slog.Uint64("from", uint64(from)), slog.Uint64("to", uint64(newest)))
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, m := range steps {
			if m.to <= from {
				continue
			}
			if err := m.run(tx); err != nil {
				return fmt.Errorf("bring the database to format %d: %w", m.to, err)
			}
		}
		return putFormat(tx.Bucket([]byte(bucketMeta)), newest)
	})
}

func putFormat(meta *bbolt.Bucket, version uint32) error {
	return meta.Put([]byte(keyFormat), mark([]byte(keyFormat), binary.BigEndian.AppendUint32(nil, version)))
}

func getFormat(meta *bbolt.Bucket) (uint32, error) {
	if meta == nil {
		return 0, errors.New("there is no meta bucket")
	}
	version, ok := unmark([]byte(keyFormat), meta.Get([]byte(keyFormat)))
	if !ok || len(version) != 4 {
		return 0, errors.New("the format cannot be read")
	}
	return binary.BigEndian.Uint32(version), nil
}

// otherFormat refuses a file of another format.
func otherFormat(path string, version uint32) error {
	p := &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "DATABASE_FORMAT",
		Detail: fmt.Sprintf("the database %s has format %d; this program knows format %d", path, version, format),
		Help:   "use the newer program that wrote it",
	}
	if version < format {
		p.Help = "start the server once with this program, which brings it up to date"
	}
	return p
}

// versionRows is the step to format 2: every value that changes gets a version
// before it. A row with a wrong checksum stays as it is, and is found by a scrub
// as before.
func versionRows(tx *bbolt.Tx) error {
	for _, b := range []bucket{bucketCert, bucketRevoked, bucketCRL, bucketRecord, bucketOnce} {
		if err := rewrite(tx.Bucket([]byte(b)), func(key, sealed []byte) []byte {
			if value, ok := unmark(key, sealed); ok {
				return seal(key, value)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("bucket %s: %w", b, err)
		}
	}
	meta := tx.Bucket([]byte(bucketMeta))
	value, ok := unmark([]byte(keyEdge), meta.Get([]byte(keyEdge)))
	if !ok {
		return fmt.Errorf("edge of the tree: %w", errChecksum)
	}
	return meta.Put([]byte(keyEdge), seal([]byte(keyEdge), value))
}

// rewrite replaces the values of a bucket by what change makes of them; nil leaves
// one as it is. A cursor does not outlive a write, so it goes by stretches.
func rewrite(b *bbolt.Bucket, change func(key, value []byte) []byte) error {
	if b == nil {
		return errors.New("it is missing")
	}
	const stretch = 4096
	type pair struct{ key, value []byte }
	var last []byte
	for {
		pairs := make([]pair, 0, stretch)
		c := b.Cursor()
		k, v := c.First()
		if last != nil {
			if k, v = c.Seek(last); bytes.Equal(k, last) {
				k, v = c.Next()
			}
		}
		for ; k != nil && len(pairs) < stretch; k, v = c.Next() {
			last = bytes.Clone(k)
			pairs = append(pairs, pair{last, change(last, v)})
		}
		if len(pairs) == 0 {
			return nil
		}
		for _, p := range pairs {
			if p.value == nil {
				continue
			}
			if err := b.Put(p.key, p.value); err != nil {
				return err
			}
		}
	}
}
