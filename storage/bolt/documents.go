package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Record implements storage.RecordReader.
func (s *Store) Record(ctx context.Context, collection, id string) (storage.Record, error) {
	if err := ctx.Err(); err != nil {
		return storage.Record{}, err
	}
	name := recordID{collection, id}
	out, found, state := s.recent.get(name)
	if found {
		return out, nil
	}
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		var err error
		out, err = readRecord(tx, collection, id)
		return err
	})
	if err == nil {
		s.recent.keep(name, out, state)
	}
	return out, err
}

func readRecord(tx *bbolt.Tx, collection, id string) (storage.Record, error) {
	key := recordKey(collection, id)
	sealed := tx.Bucket([]byte(bucketRecord)).Get(key)
	if sealed == nil {
		return storage.Record{}, storage.ErrNotFound
	}
	r, err := parseRecordRow(key, sealed)
	if err != nil {
		return storage.Record{}, fmt.Errorf("record %s/%s: %w", collection, id, err)
	}
	return r.record(id), nil
}

// Records implements storage.RecordReader. A page's Next is its last ID.
func (s *Store) Records(
	ctx context.Context, collection, index, value string, after []byte, limit int,
) (storage.RecordPage, error) {
	if limit < 1 || limit > maxPage {
		return storage.RecordPage{}, fmt.Errorf("storage: a page of %d: 1 to %d are possible", limit, maxPage)
	}
	sp := prefixSpan(bucketRecord, textPrefix(collection))
	if index != "" {
		sp = prefixSpan(bucketRecordIndex, append(recordKey(collection, index, value), 0))
	}
	var mark []byte
	if after != nil {
		mark = slices.Concat(sp.from, after)
	}
	var page storage.RecordPage
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		for k := range sp.walk(tx, mark, false) {
			if len(page.Records) == limit {
				page.Next = []byte(page.Records[limit-1].ID)
				return nil
			}
			r, err := readRecord(tx, collection, string(k[len(sp.from):]))
			if err != nil {
				return err
			}
			page.Records = append(page.Records, r)
		}
		return nil
	})
	return page, err
}

// ExpiredRecords implements storage.RecordReader.
func (s *Store) ExpiredRecords(ctx context.Context, collection string, before time.Time, limit int) ([]storage.Record, error) {
	prefix := textPrefix(collection)
	sp := prefixSpan(bucketRecordExpiry, prefix)
	end := recordExpiryKey(collection, before, "")
	var out []storage.Record
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		for k := range sp.walk(tx, nil, false) {
			if len(out) >= limit || bytes.Compare(k, end) >= 0 {
				return nil
			}
			if len(k) < len(end) {
				return errRow
			}
			r, err := readRecord(tx, collection, string(k[len(end):]))
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

func parseKeyID(text string) ([]byte, error) {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(identity.KeyID{}) {
		return nil, errors.New("not a key ID: 64 hexadecimal digits")
	}
	return id, nil
}
