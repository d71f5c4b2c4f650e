package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// checkCRLs compares the stored CRLs with the newest entry of each.
func (sc *scrub) checkCRLs() error {
	c := sc.tx.Bucket([]byte(bucketCRL)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		name := fmt.Sprintf("crl %x", k)
		published, ok := sc.crls[string(k)]
		delete(sc.crls, string(k))
		stored, err := parseCRL(k, v)
		switch {
		case err != nil:
			sc.find("crl", storage.NoIndex, name, "it is damaged: %v", err)
		case ok && stored.Number == published.Number && len(stored.DER) == 0: // taken back from a copy of the ledger
		case !ok || stored.Number != published.Number || sha256.Sum256(stored.DER) != published.SHA256:
			sc.find("crl", storage.NoIndex, name, "number %d is not the newest that an entry speaks of", stored.Number)
		}
	}
	for k, e := range sc.crls {
		sc.find("crl", storage.NoIndex, fmt.Sprintf("crl %x", k), "number %d is missing", e.Number)
	}
	return nil
}

// checkRecords checks every record's checksum, and that the records' index rows
// are those that follow from them.
func (sc *scrub) checkRecords() error {
	want := map[bucket]map[string]string{bucketRecordIndex: {}, bucketRecordExpiry: {}}
	damaged := false
	c := sc.tx.Bucket([]byte(bucketRecord)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		collection, id, _ := bytes.Cut(k, []byte{0})
		r, err := parseRecordRow(k, v)
		if err != nil {
			sc.find("record", storage.NoIndex, fmt.Sprintf("%q %q", collection, id), "it is damaged: %v", err)
			damaged = true
			continue
		}
		for _, x := range recordKeys(string(collection), string(id), r) {
			want[x.bucket][string(x.key)] = string(x.value)
		}
	}
	for b, rows := range want {
		c := sc.tx.Bucket([]byte(b)).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			value, ok := rows[string(k)]
			switch {
			case !ok && !damaged: // what a damaged record had is not known
				sc.find("record", storage.NoIndex, fmt.Sprintf("%s %q", b, k), "it does not follow from any record")
			case ok && value != string(v):
				sc.find("record", storage.NoIndex, fmt.Sprintf("%s %q", b, k), "it does not say what follows from its record")
			}
			delete(rows, string(k))
		}
		for k := range rows {
			sc.find("record", storage.NoIndex, fmt.Sprintf("%s %q", b, k), "it is missing, and a record must have it")
		}
	}
	return nil
}

// checkTokens checks that each token's count is that of its uses.
func (sc *scrub) checkTokens() error {
	counts, uses := map[string]uint32{}, map[string]uint32{}
	c := sc.tx.Bucket([]byte(bucketOnce)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		id, rest, _ := bytes.Cut(k, []byte{0})
		switch len(rest) {
		case 0:
			n, err := parseUses(k, v)
			if err != nil {
				sc.find("token", storage.NoIndex, string(id), "its count is damaged: %v", err)
				continue
			}
			counts[string(id)] = n
		case len([32]byte{}):
			uses[string(id)]++
			if _, err := unseal(k, v); err != nil {
				sc.find("token", storage.NoIndex, string(id), "a use of it is damaged: %v", err)
			}
		default:
			sc.find("token", storage.NoIndex, fmt.Sprintf("once %x", k), "it is not the key of a use")
		}
	}
	for id, n := range counts {
		if uses[id] != n {
			sc.find("token", storage.NoIndex, id, "its count is %d, and it has %d uses", n, uses[id])
		}
		delete(uses, id)
	}
	for id, n := range uses {
		sc.find("token", storage.NoIndex, id, "it has %d uses, and no count", n)
	}
	return nil
}

// checkErasable checks that each value is the one committed to.
func (sc *scrub) checkErasable() error {
	c := sc.tx.Bucket([]byte(bucketErasable)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(k) != 32 || len(v) < 32 || entry.Commit([32]byte(v[:32]), v[32:]) != [32]byte(k) {
			sc.find("erasable", storage.NoIndex, fmt.Sprintf("%x", k), "its value is not the one committed to")
		}
	}
	return nil
}

// checkMeta checks the format's checksum; the edge has been checked with the
// tree.
func (sc *scrub) checkMeta() error {
	meta := sc.tx.Bucket([]byte(bucketMeta))
	version, ok := unmark([]byte(keyFormat), meta.Get([]byte(keyFormat)))
	if !ok || len(version) != 4 || binary.BigEndian.Uint32(version) != format {
		sc.find("database", storage.NoIndex, keyFormat, "it cannot be read")
	}
	return nil
}
