package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// checkEvery is how many rows are checked between two looks at the context.
const checkEvery = 1024

// entries walks the ledger.
func (sc *scrub) entries(ctx context.Context) error {
	c := sc.tx.Bucket([]byte(bucketEntry)).Cursor()
	next := uint64(0)
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		if next%checkEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			sc.progress(next, max(sc.size, next))
		}
		if !bytes.Equal(k, indexKey(next)) {
			sc.find("entry", next, fmt.Sprintf("entry %d", next), "it is missing: the next key is %x", k)
			return nil
		}
		if err := sc.entry(next, raw); err != nil {
			return err
		}
		next++
	}
	return nil
}

func (sc *scrub) entry(index uint64, raw []byte) error {
	full, err := sc.edge.Append(merkle.LeafHash(raw))
	if err != nil {
		return err
	}
	for _, t := range full {
		sc.tiles++
		sc.checkTile(t.Level, t.N, t.Hashes, sc.tx.Bucket([]byte(bucketTile)).Get(tileKey(t.Level, t.N)))
	}
	e, err := entry.Parse(raw)
	if err != nil {
		sc.find("entry", index, fmt.Sprintf("entry %d", index), "it cannot be read: %v", err)
		return nil
	}
	switch e.Kind {
	case entry.IssuanceIntent:
		sc.intent(index, e)
	case entry.AbandonedIntent:
		var body entry.Abandoned
		if body, err = entry.ParseAbandoned(e.Draft); err == nil {
			sc.abandons[index] = body
		}
	case entry.Revocation:
		var body entry.Revoked
		if body, err = entry.ParseRevocation(e.Draft); err == nil {
			sc.revocations[index] = body
		}
	case entry.CRLPublished:
		var body entry.CRL
		if body, err = entry.ParseCRLPublished(e.Draft); err == nil {
			sc.crls[string(crlKey(body.Issuer, body.Shard))] = body
		}
	}
	if err != nil {
		sc.find("entry", index, fmt.Sprintf("entry %d", index), "its body cannot be read: %v", err)
	}
	return nil
}

// intent checks the row of an intent and adds up the rows that follow from it.
func (sc *scrub) intent(index uint64, e entry.Entry) {
	intent, f, err := readIntent(e.Draft)
	if err != nil {
		sc.find("entry", index, fmt.Sprintf("entry %d", index), "its intent cannot be read: %v", err)
		return
	}
	r, detail := sc.readRow(index, intent, f)
	if detail != "" {
		sc.find("certificate", index, f.serial.String(), "%s", detail)
		sc.unreadable[index] = true
	} else if r.revocation != nil || r.state == storage.Abandoned {
		sc.claims = append(sc.claims, claim{row: r, issuer: intent.Issuer, serial: f.serial})
	}
	sc.expected(index, intent, f, r, sc.add)
}

// readRow reads the row of an intent, or says what is wrong with it.
func (sc *scrub) readRow(index uint64, intent entry.Intent, f facts) (row, string) {
	key := certKey(intent.Issuer, f.serial)
	sealed := sc.certs.Get(key)
	if sealed == nil {
		return row{}, "its row is missing"
	}
	r, err := parseRow(key, sealed)
	if err != nil {
		return row{}, fmt.Sprintf("its row is damaged: %v", err)
	}
	if r.index != index {
		return row{}, fmt.Sprintf("its row is that of entry %d", r.index)
	}
	if r.state == storage.Issued && sc.sigs.Get(indexKey(index)) == nil {
		return row{}, "it is issued, and its signature is missing"
	}
	return r, ""
}

// expected calls each for every row that must be there because of an intent.
// Of a row that could not be read (state 0) it names what does not depend on it;
// the rest is passed over by the search for rows too many.
func (sc *scrub) expected(index uint64, intent entry.Intent, f facts, r row, each func(b bucket, key, value []byte)) {
	key := certKey(intent.Issuer, f.serial)
	if sealed := sc.certs.Get(key); sealed != nil {
		each(bucketCert, key, sealed) // its content is checked by readRow
	}
	for _, k := range intentKeys(intent, f, index) {
		each(k.bucket, k.key, nil)
	}
	at := indexKey(index)
	if hasRequest(intent) && !r.taken && (r.state == storage.Reserved || r.state == storage.Issued) {
		each(bucketRequest, intent.RequestKey[:], at)
	}
	switch r.state {
	case storage.Reserved:
		if !r.taken {
			each(bucketUnresolved, at, nil)
		}
	case storage.Issued:
		tail := sc.sigs.Get(at)
		each(bucketSig, at, tail)
		if der, err := joinCertificate(intent.TBS, tail); err == nil {
			fingerprint := sha256.Sum256(der)
			each(bucketFingerprint, fingerprint[:], at)
		}
	}
	if v := r.revocation; v != nil {
		line := revokedKey(intent.Issuer, r.shard, f.notAfter, f.serial)
		each(bucketRevoked, line, revokedLine(line, f.notAfter, *v))
	}
}

// checkTile compares a tile that follows from the entries with the stored one.
func (sc *scrub) checkTile(level int, n uint64, want, got []byte) {
	if bytes.Equal(want, got) {
		return
	}
	path := fmt.Sprintf("%d/%d", level, n)
	switch {
	case len(got) != len(want):
		sc.find("tile", storage.NoIndex, path, "it has %d octets, not %d", len(got), len(want))
	case level > 0 && sc.disagrees: // the entry below has been named
	case level > 0:
		sc.find("tile", storage.NoIndex, path, "it is not the one that follows from the entries")
	default:
		for i := 0; i < len(want); i += merkle.HashSize {
			if !bytes.Equal(want[i:i+merkle.HashSize], got[i:i+merkle.HashSize]) {
				index := n*merkle.TileWidth + uint64(i/merkle.HashSize)
				sc.find("entry", index, fmt.Sprintf("entry %d", index), "it does not have the hash that tile %s has for it", path)
				sc.disagrees = true
			}
		}
	}
}

// checkTree compares the edge that follows from the entries with the stored one.
func (sc *scrub) checkTree(stored *merkle.Edge) error {
	count := uint64(0)
	c := sc.tx.Bucket([]byte(bucketTile)).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		count++
	}
	if count > sc.tiles {
		sc.find("tile", storage.NoIndex, "tiles", "there are %d full tiles, %d follow from the entries", count, sc.tiles)
	}
	if stored == nil {
		return nil
	}
	if stored.Size() != sc.edge.Size() {
		sc.find("entry", min(stored.Size(), sc.edge.Size()), "the ledger's size", "there are %d entries, the tree has %d leaves",
			sc.edge.Size(), stored.Size())
		return nil
	}
	for level := 0; stored.Size()>>(merkle.Height*level) > 0; level++ {
		n, want := sc.edge.Partial(level)
		_, got := stored.Partial(level)
		sc.checkTile(level, n, want, got)
	}
	return nil
}

// subject is an index key for people: its bucket, its text or hexadecimal
// digits, and the entry it leads to.
func subject(b bucket, key []byte) string {
	switch b {
	case bucketSAN, bucketOwner:
		if cut := len(key) - 9; cut >= 0 {
			return fmt.Sprintf("%s %q entry %d", b, key[:cut], binary.BigEndian.Uint64(key[cut+1:]))
		}
	case bucketUnresolved, bucketSig:
		if len(key) == 8 {
			return fmt.Sprintf("%s entry %d", b, binary.BigEndian.Uint64(key))
		}
	case bucketExpiry, bucketSPKI:
		if cut := len(key) - 8; cut >= 0 {
			return fmt.Sprintf("%s %x entry %d", b, key[:cut], binary.BigEndian.Uint64(key[cut:]))
		}
	case bucketCert, bucketRevoked:
		if cut := len(key) - identity.SerialSize; cut >= 0 {
			return fmt.Sprintf("%s serial %x", b, key[cut:])
		}
	}
	return fmt.Sprintf("%s %x", b, key)
}
