package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// maxPage is the most that a page can hold.
const maxPage = 1000

// BySerial implements storage.CertificateReader.
func (s *Store) BySerial(ctx context.Context, issuer identity.KeyID, serial identity.Serial) (storage.Certificate, error) {
	var c storage.Certificate
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		key := certKey(issuer, serial)
		sealed := tx.Bucket([]byte(bucketCert)).Get(key)
		if sealed == nil {
			return storage.ErrNotFound
		}
		r, err := parseRow(key, sealed)
		if err != nil {
			return fmt.Errorf("certificate %s: %w", serial, err)
		}
		c, err = readCertificate(tx, r.index)
		if err == nil && (c.Issuer != issuer || c.Serial != serial) {
			err = fmt.Errorf("%w: the row of serial %s is that of %s", errDamaged, serial, c.Serial)
		}
		return err
	})
	return c, err
}

// ByFingerprint implements storage.CertificateReader.
func (s *Store) ByFingerprint(ctx context.Context, sha256 [32]byte) (storage.Certificate, error) {
	return s.byIndex(ctx, bucketFingerprint, sha256)
}

// ByRequest implements storage.CertificateReader.
func (s *Store) ByRequest(ctx context.Context, key [32]byte) (storage.Certificate, error) {
	return s.byIndex(ctx, bucketRequest, key)
}

func (s *Store) byIndex(ctx context.Context, b bucket, key [32]byte) (storage.Certificate, error) {
	var c storage.Certificate
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(b)).Get(key[:])
		if value == nil {
			return storage.ErrNotFound
		}
		index, err := indexOf(value)
		if err != nil {
			return err
		}
		c, err = readCertificate(tx, index)
		return err
	})
	return c, err
}

// readCertificate reads the certificate of the intent at index.
func readCertificate(tx *bbolt.Tx, index uint64) (storage.Certificate, error) {
	c, err := joinRows(tx, index)
	if err != nil {
		return storage.Certificate{}, fmt.Errorf("certificate of entry %d: %w", index, err)
	}
	return c, nil
}

func joinRows(tx *bbolt.Tx, index uint64) (storage.Certificate, error) {
	raw := tx.Bucket([]byte(bucketEntry)).Get(indexKey(index))
	if raw == nil {
		return storage.Certificate{}, fmt.Errorf("%w: the entry is missing", errDamaged)
	}
	e, err := entry.Parse(slices.Clone(raw))
	if err != nil {
		return storage.Certificate{}, err
	}
	intent, f, err := readIntent(e.Draft)
	if err != nil {
		return storage.Certificate{}, err
	}
	key := certKey(intent.Issuer, f.serial)
	sealed := tx.Bucket([]byte(bucketCert)).Get(key)
	if sealed == nil {
		return storage.Certificate{}, fmt.Errorf("%w: the row of serial %s is missing", errDamaged, f.serial)
	}
	r, err := parseRow(key, sealed)
	if err != nil {
		return storage.Certificate{}, err
	}
	if r.index != index {
		return storage.Certificate{}, fmt.Errorf("%w: the row of serial %s is that of entry %d", errDamaged, f.serial, r.index)
	}
	return certificate(e, intent, f, r, tx.Bucket([]byte(bucketSig)).Get(indexKey(index)))
}

// span is the part of a bucket that a query walks: keys in [from, to) that end
// with an index. A nil to is the bucket's end.
type span struct {
	bucket   bucket
	from, to []byte
}

func spanOf(q storage.Query) (span, error) {
	switch q.Order {
	case storage.ByIndex:
		return span{bucket: bucketEntry}, nil
	case storage.ByName:
		return prefixSpan(bucketSAN, textPrefix(q.Value)), nil
	case storage.ByOwner:
		return prefixSpan(bucketOwner, textPrefix(q.Value)), nil
	case storage.BySPKI:
		id, err := parseKeyID(q.Value)
		return prefixSpan(bucketSPKI, id), err
	case storage.ByExpiry:
		sp := span{bucket: bucketExpiry}
		if !q.From.IsZero() {
			sp.from = sortableSeconds(ceilSecond(q.From))
		}
		if !q.To.IsZero() {
			sp.to = sortableSeconds(ceilSecond(q.To))
		}
		return sp, nil
	case storage.ByUnresolved:
		return span{bucket: bucketUnresolved}, nil
	}
	return span{}, fmt.Errorf("order %d is not known", q.Order)
}

func prefixSpan(b bucket, prefix []byte) span {
	return span{bucket: b, from: prefix, to: after(prefix)}
}

// after is the least key that is greater than all that begin with prefix; nil
// if there is none.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// ceilSecond is the first full second that is not before t.
func ceilSecond(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// Certificates implements storage.CertificateReader. A page's Next is the last
// key that it has walked.
func (s *Store) Certificates(ctx context.Context, q storage.Query) (storage.Page, error) {
	if q.Limit < 1 || q.Limit > maxPage {
		return storage.Page{}, fmt.Errorf("storage: a page of %d: 1 to %d are possible", q.Limit, maxPage)
	}
	sp, err := spanOf(q)
	if err != nil {
		return storage.Page{}, fmt.Errorf("storage: %w", err)
	}
	if q.After != nil && (bytes.Compare(q.After, sp.from) < 0 || sp.to != nil && bytes.Compare(q.After, sp.to) >= 0) {
		return storage.Page{}, errors.New("storage: the page to continue is that of another query")
	}
	var page storage.Page
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		page = storage.Page{}
		var last []byte
		for k, v := range sp.walk(tx, q.After, q.Descending) {
			if sp.bucket == bucketEntry && !isIntent(v) {
				continue
			}
			if len(page.Certificates) == q.Limit {
				page.Next = last
				return nil
			}
			if len(k) < 8 {
				return errRow
			}
			c, err := readCertificate(tx, binary.BigEndian.Uint64(k[len(k)-8:]))
			if err != nil {
				return err
			}
			page.Certificates = append(page.Certificates, c)
			last = slices.Clone(k)
		}
		return nil
	})
	return page, err
}

// isIntent looks at a raw entry's kind alone.
func isIntent(raw []byte) bool {
	return len(raw) >= 4 && binary.BigEndian.Uint16(raw[2:]) == uint16(entry.IssuanceIntent)
}

// walk yields keys and values of the span in one direction, those beyond the
// key mark if it is not nil.
func (sp span) walk(tx *bbolt.Tx, mark []byte, descending bool) func(func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		c := tx.Bucket([]byte(sp.bucket)).Cursor()
		step := c.Next
		var k, v []byte
		if descending {
			step = c.Prev
			if k, v = seekBefore(c, mark, sp.to); k != nil && bytes.Compare(k, sp.from) < 0 {
				return
			}
		} else if mark != nil {
			if k, v = c.Seek(mark); bytes.Equal(k, mark) {
				k, v = c.Next()
			}
		} else {
			k, v = c.Seek(sp.from)
		}
		for ; k != nil; k, v = step() {
			if bytes.Compare(k, sp.from) < 0 || sp.to != nil && bytes.Compare(k, sp.to) >= 0 || !yield(k, v) {
				return
			}
		}
	}
}

// seekBefore goes to the last key before mark, or before to, or of the bucket.
func seekBefore(c *bbolt.Cursor, mark, to []byte) (k, v []byte) {
	limit := mark
	if limit == nil {
		limit = to
	}
	if limit == nil {
		return c.Last()
	}
	if k, _ = c.Seek(limit); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// Revoked implements storage.RevocationReader.
func (s *Store) Revoked(
	ctx context.Context, issuer identity.KeyID, shard uint16, notAfter time.Time, each func(storage.Revoked) error,
) error {
	// The callback's error must come back as it is, and its panic is its own.
	var lines []storage.Revoked
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := revokedPrefix(issuer, shard)
		sp := span{bucketRevoked, append(slices.Clone(prefix), revokedHour(notAfter)...), after(prefix)}
		for k, v := range sp.walk(tx, nil, false) {
			end, line, err := parseRevokedLine(k, v)
			if err != nil {
				return fmt.Errorf("revoked %x: %w", k[len(prefix):], err)
			}
			if end >= ceilSecond(notAfter) {
				lines = append(lines, line)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}

// CRL implements storage.RevocationReader.
func (s *Store) CRL(ctx context.Context, issuer identity.KeyID, shard string) (storage.CRL, error) {
	var out storage.CRL
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		key := crlKey(issuer, shard)
		sealed := tx.Bucket([]byte(bucketCRL)).Get(key)
		if sealed == nil {
			return storage.ErrNotFound
		}
		var err error
		out, err = parseCRL(key, sealed)
		return err
	})
	return out, err
}
