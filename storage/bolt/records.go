package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

func recordName(collection, id string) error {
	if collection == "" || id == "" {
		return errors.New("collection or ID is empty")
	}
	if err := text("collection", collection, maxCollection); err != nil {
		return err
	}
	return text("ID", id, maxText)
}

// record reads a record's row; version 0 if there is none.
func (u *unit) record(key []byte) (recordRow, error) {
	sealed := u.get(bucketRecord, key)
	if sealed == nil {
		return recordRow{}, nil
	}
	return parseRecordRow(key, sealed)
}

func versionConflict(stored, wanted uint64) error {
	return fmt.Errorf("%w: version %d is stored, %d is wanted", storage.ErrConflict, stored, wanted)
}

func preparePutRecord(c storage.PutRecord) (operation, error) {
	if err := recordName(c.Collection, c.ID); err != nil {
		return nil, err
	}
	if err := checkIndexes(c.Indexes); err != nil {
		return nil, err
	}
	if len(c.Body) > maxBody {
		return nil, fmt.Errorf("body of %d octets: %d are possible", len(c.Body), maxBody)
	}
	key := recordKey(c.Collection, c.ID)
	return func(u *unit) error {
		old, err := u.record(key)
		if err != nil {
			return err
		}
		if c.IfVersion != storage.AnyVersion && c.IfVersion != old.version {
			return versionConflict(old.version, c.IfVersion)
		}
		if err := u.checkUnique(c); err != nil {
			return err
		}
		next := recordRow{version: old.version + 1, indexes: c.Indexes, body: c.Body}
		if !c.Expires.IsZero() {
			next.expires = c.Expires.UnixMilli()
		}
		if c.WithEntry {
			if len(u.entries) == 0 {
				return errors.New("a record with an entry: none stands before it in the unit")
			}
			next.entry = u.base + uint64(len(u.entries)) - 1
		}
		value, err := next.marshal(key)
		if err != nil {
			return err
		}
		u.put(bucketRecord, key, value)
		u.records = append(u.records, recordChange{recordID: recordID{c.Collection, c.ID}, record: next.record(c.ID)})
		u.moveRecordKeys(recordKeys(c.Collection, c.ID, old), recordKeys(c.Collection, c.ID, next))
		return nil
	}, nil
}

// moveRecordKeys brings a record's index rows from what they were to what they
// are. A row that stays is not written: each write costs a page.
func (u *unit) moveRecordKeys(old, next []recordIndexEntry) {
	in := func(all []recordIndexEntry, k recordIndexEntry) bool {
		return slices.ContainsFunc(all, func(other recordIndexEntry) bool { return other.bucket == k.bucket && bytes.Equal(other.key, k.key) })
	}
	for _, k := range old {
		if !in(next, k) {
			u.delete(k.bucket, k.key)
		}
	}
	for _, k := range next {
		if !in(old, k) {
			u.put(k.bucket, k.key, k.value)
		}
	}
}

func checkIndexes(indexes []storage.RecordIndex) error {
	if len(indexes) > maxIndexes {
		return fmt.Errorf("%d indexes: %d are possible", len(indexes), maxIndexes)
	}
	for _, x := range indexes {
		if x.Name == "" {
			return errors.New("an index has no name")
		}
		if err := errors.Join(text("index name", x.Name, maxCollection), text("index value", x.Value, maxText)); err != nil {
			return err
		}
	}
	return nil
}

func (u *unit) checkUnique(c storage.PutRecord) error {
	for _, x := range c.Indexes {
		if !x.Unique {
			continue
		}
		holder := u.get(bucketRecordIndex, recordKey(c.Collection, x.Name, x.Value))
		if holder != nil && string(holder) != c.ID {
			return fmt.Errorf("%w: another record has this value of the unique index %s", storage.ErrConflict, x.Name)
		}
	}
	return nil
}

type recordIndexEntry struct {
	bucket     bucket
	key, value []byte
}

// recordKeys are the index rows that a record has.
func recordKeys(collection, id string, r recordRow) []recordIndexEntry {
	var keys []recordIndexEntry
	for _, x := range r.indexes {
		keys = append(keys, recordIndexEntry{bucketRecordIndex, recordKey(collection, x.Name, x.Value, id), nil})
		if x.Unique {
			keys = append(keys, recordIndexEntry{bucketRecordIndex, recordKey(collection, x.Name, x.Value), []byte(id)})
		}
	}
	if r.expires != 0 {
		keys = append(keys, recordIndexEntry{bucketRecordExpiry, recordExpiryKey(collection, time.UnixMilli(r.expires), id), nil})
	}
	return keys
}

func prepareDeleteRecord(c storage.DeleteRecord) (operation, error) {
	if err := recordName(c.Collection, c.ID); err != nil {
		return nil, err
	}
	key := recordKey(c.Collection, c.ID)
	return func(u *unit) error {
		old, err := u.record(key)
		if err != nil {
			return err
		}
		if old.version == 0 {
			return storage.ErrNotFound
		}
		if c.IfVersion != storage.AnyVersion && c.IfVersion != old.version {
			return versionConflict(old.version, c.IfVersion)
		}
		u.moveRecordKeys(recordKeys(c.Collection, c.ID, old), nil)
		u.delete(bucketRecord, key)
		u.records = append(u.records, recordChange{recordID: recordID{c.Collection, c.ID}, gone: true})
		return nil
	}, nil
}

func prepareRequireRecord(c storage.RequireRecord) (operation, error) {
	if err := recordName(c.Collection, c.ID); err != nil {
		return nil, err
	}
	key := recordKey(c.Collection, c.ID)
	return func(u *unit) error {
		stored, err := u.record(key)
		if err != nil {
			return err
		}
		if stored.version != c.Version {
			return versionConflict(stored.version, c.Version)
		}
		return nil
	}, nil
}

// uses is how many requests have used a token.
func (u *unit) uses(key []byte) (uint32, error) {
	sealed := u.get(bucketOnce, key)
	if sealed == nil {
		return 0, nil
	}
	return parseUses(key, sealed)
}

func parseUses(key, sealed []byte) (uint32, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return 0, err
	}
	if len(value) != 4 {
		return 0, errRow
	}
	return binary.BigEndian.Uint32(value), nil
}

func (u *unit) setUses(key []byte, n uint32) {
	if n == 0 {
		u.delete(bucketOnce, key)
		return
	}
	u.put(bucketOnce, key, seal(key, binary.BigEndian.AppendUint32(nil, n)))
}

func prepareUseToken(c storage.UseToken) (operation, error) {
	if err := text("token", c.ID, maxText); err != nil {
		return nil, err
	}
	count := textPrefix(c.ID)
	use := slices.Concat(count, c.For[:])
	return func(u *unit) error {
		if u.has(bucketOnce, use) {
			return nil
		}
		n, err := u.uses(count)
		if err != nil {
			return err
		}
		if n >= c.Max || n == math.MaxUint32 {
			return storage.ErrTokenSpent
		}
		u.put(bucketOnce, use, seal(use, nil))
		u.setUses(count, n+1)
		return nil
	}, nil
}

func prepareReleaseToken(c storage.ReleaseToken) (operation, error) {
	if err := text("token", c.ID, maxText); err != nil {
		return nil, err
	}
	count := textPrefix(c.ID)
	use := slices.Concat(count, c.For[:])
	return func(u *unit) error {
		if !u.has(bucketOnce, use) {
			return nil
		}
		n, err := u.uses(count)
		if err != nil {
			return err
		}
		if n == 0 {
			return errRow
		}
		u.delete(bucketOnce, use)
		u.setUses(count, n-1)
		return nil
	}, nil
}

func preparePutErasable(c storage.PutErasable) (operation, error) {
	if len(c.Value) > maxErasable {
		return nil, fmt.Errorf("value of %d octets: %d are possible", len(c.Value), maxErasable)
	}
	if entry.Commit(c.Salt, c.Value) != c.Commitment {
		return nil, errors.New("the commitment is not that of salt and value")
	}
	value := slices.Concat(c.Salt[:], c.Value)
	return func(u *unit) error {
		u.put(bucketErasable, c.Commitment[:], value)
		return nil
	}, nil
}

func marshalCRL(key []byte, number uint64, der []byte) []byte {
	return seal(key, append(binary.BigEndian.AppendUint64(make([]byte, 0, len(der)+12), number), der...))
}

func parseCRL(key, sealed []byte) (storage.CRL, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return storage.CRL{}, err
	}
	if len(value) < 8 {
		return storage.CRL{}, errRow
	}
	return storage.CRL{Number: binary.BigEndian.Uint64(value), DER: slices.Clone(value[8:])}, nil
}
