package bolt

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// operation does one command of a unit: it checks its preconditions and writes
// to the unit's own memory.
type operation func(*unit) error

// unit is one unit while it is done. It reads what the transaction holds and
// what its own commands have written before; its writes stay in memory until
// all its preconditions have held, so that it can be dropped without a trace.
type unit struct {
	tx      *bbolt.Tx
	at      time.Time // of its entries; of the last one if they are restored
	last    time.Time // of the last entry before them
	restore bool      // its entries are restored
	base    uint64    // index of its first entry
	entries [][]byte
	writes  []write        // in the order of their first coming, each key once
	places  map[string]int // of the writes, once they are more than fewWrites
	records []recordChange
}

// fewWrites is how many writes are looked through one by one: more than a usual unit
// has.
const fewWrites = 32

type write struct {
	bucket bucket
	key    []byte
	value  []byte
	gone   bool
}

func newUnit(tx *bbolt.Tx, base uint64, at, last time.Time) *unit {
	return &unit{tx: tx, at: at, last: last, base: base, writes: make([]write, 0, fewWrites/2)}
}

func (u *unit) get(b bucket, key []byte) []byte {
	if i := u.place(b, key); i >= 0 {
		if u.writes[i].gone {
			return nil
		}
		return u.writes[i].value
	}
	return u.tx.Bucket([]byte(b)).Get(key)
}

func (u *unit) has(b bucket, key []byte) bool { return u.get(b, key) != nil }

// put writes; key and value must not change afterwards. A nil value is empty.
func (u *unit) put(b bucket, key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	u.set(write{bucket: b, key: key, value: value})
}

func (u *unit) delete(b bucket, key []byte) { u.set(write{bucket: b, key: key, gone: true}) }

// place is where in writes a key stands; negative if it does not.
func (u *unit) place(b bucket, key []byte) int {
	if u.places != nil {
		if i, ok := u.places[writeID(b, key)]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(u.writes, func(w write) bool { return w.bucket == b && bytes.Equal(w.key, key) })
}

func writeID(b bucket, key []byte) string { return string(b) + "\x00" + string(key) }

func (u *unit) set(w write) {
	if i := u.place(w.bucket, w.key); i >= 0 {
		u.writes[i] = w
		return
	}
	u.writes = append(u.writes, w)
	switch {
	case u.places != nil:
		u.places[writeID(w.bucket, w.key)] = len(u.writes) - 1
	case len(u.writes) > fewWrites:
		u.places = make(map[string]int, 2*len(u.writes))
		for i, w := range u.writes {
			u.places[writeID(w.bucket, w.key)] = i
		}
	}
}

// append gives the entry its place.
func (u *unit) append(d entry.Draft) (uint64, error) {
	if u.restore {
		return 0, errMixed
	}
	raw, err := d.Marshal(u.at)
	if err != nil {
		return 0, err
	}
	u.entries = append(u.entries, raw)
	return u.base + uint64(len(u.entries)) - 1, nil
}

// entry is a raw entry of the ledger or of this unit.
func (u *unit) entry(index uint64) []byte {
	if index >= u.base {
		if index-u.base >= uint64(len(u.entries)) {
			return nil
		}
		return u.entries[index-u.base]
	}
	return u.tx.Bucket([]byte(bucketEntry)).Get(indexKey(index))
}

// flush hands the unit's writes to the transaction.
func (u *unit) flush(edge *merkle.Edge) error {
	for i, raw := range u.entries {
		if err := appendLeaf(u.tx, edge, u.base+uint64(i), raw); err != nil {
			return err
		}
	}
	for _, w := range u.writes {
		b := u.tx.Bucket([]byte(w.bucket))
		var err error
		if w.gone {
			err = b.Delete(w.key)
		} else {
			err = b.Put(w.key, w.value)
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %w", w.bucket, err)
		}
	}
	return nil
}

func appendLeaf(tx *bbolt.Tx, edge *merkle.Edge, index uint64, raw []byte) error {
	if err := tx.Bucket([]byte(bucketEntry)).Put(indexKey(index), raw); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	full, err := edge.Append(merkle.LeafHash(raw))
	if err != nil {
		return err
	}
	for _, t := range full {
		if err := tx.Bucket([]byte(bucketTile)).Put(tileKey(t.Level, t.N), t.Hashes); err != nil {
			return fmt.Errorf("tile %d/%d: %w", t.Level, t.N, err)
		}
	}
	return nil
}

// receipt is what the unit's caller gets.
func (u *unit) receipt() storage.Receipt {
	if len(u.entries) == 0 {
		return storage.Receipt{}
	}
	r := storage.Receipt{Time: u.at}
	for i := range u.entries {
		r.Indexes = append(r.Indexes, u.base+uint64(i))
	}
	return r
}
