package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// derived are the buckets whose rows follow from the entries and the
// certificates' rows.
func derived() []bucket {
	return []bucket{
		bucketCert, bucketSig, bucketSAN, bucketOwner, bucketExpiry, bucketSPKI, bucketFingerprint, bucketRequest,
		bucketUnresolved, bucketRevoked,
	}
}

// compare sums up a bucket, and if the sum is not the expected one, looks for
// the rows that differ.
func (sc *scrub) compare(ctx context.Context, b bucket) error {
	var got sum
	c := sc.tx.Bucket([]byte(b)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if got.count%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		got.count++
		got.total += sc.hash(k, v)
	}
	if got == sc.want[b] {
		return nil
	}
	return sc.locate(ctx, b)
}

// locate names the rows of a bucket that are missing, wrong, or too many.
func (sc *scrub) locate(ctx context.Context, b bucket) error {
	rows := sc.tx.Bucket([]byte(b))
	expected := map[string]bool{}
	entries := sc.tx.Bucket([]byte(bucketEntry)).Cursor()
	for k, raw := entries.First(); k != nil; k, raw = entries.Next() {
		e, err := entry.Parse(raw)
		if err != nil || e.Kind != entry.IssuanceIntent || len(k) != 8 {
			continue
		}
		intent, f, err := readIntent(e.Draft)
		if err != nil {
			continue
		}
		index := binary.BigEndian.Uint64(k)
		if index%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		r, _ := sc.readRow(index, intent, f)
		sc.expected(index, intent, f, r, func(of bucket, key, value []byte) {
			if of != b {
				return
			}
			expected[string(key)] = true
			got := rows.Get(key)
			switch {
			case got == nil:
				sc.find("index", index, subject(b, key), "it is missing, and serial %s must have it", f.serial)
			case !bytes.Equal(got, value):
				sc.find("index", index, subject(b, key), "it does not say what follows from serial %s", f.serial)
			}
		})
	}
	c := rows.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		index, known := leadsTo(b, k, v)
		if !expected[string(k)] && (!known || !sc.unreadable[index]) {
			sc.surplus(b, k, index, known)
		}
	}
	return nil
}

func (sc *scrub) surplus(b bucket, key []byte, index uint64, known bool) {
	if !known {
		index = storage.NoIndex
	}
	if b == bucketCert && len(key) > identity.SerialSize {
		sc.find("certificate", index, identity.Serial(key[len(key)-identity.SerialSize:]).String(), "it has a row, and no entry")
		return
	}
	sc.find("index", index, subject(b, key), "it does not follow from any certificate")
}

// leadsTo is the entry that a row speaks of, if the row says it.
func leadsTo(b bucket, key, value []byte) (uint64, bool) {
	switch b {
	case bucketFingerprint, bucketRequest:
		index, err := indexOf(value)
		return index, err == nil
	case bucketCert:
		r, err := parseRow(key, value)
		return r.index, err == nil
	case bucketRevoked:
		return 0, false
	}
	if len(key) < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(key)-8:]), true
}
