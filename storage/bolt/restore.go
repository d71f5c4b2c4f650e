package bolt

import (
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

var errMixed = errors.New("a unit has either restored entries or new ones")

func prepareRestore(c storage.RestoreEntry) (operation, error) {
	e, err := entry.Parse(c.Raw)
	if err != nil {
		return nil, err
	}
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		return nil, err
	}
	follow, err := followUp(e, body, c.CRLShard)
	if err != nil {
		return nil, err
	}
	return func(u *unit) error {
		index, err := u.appendRaw(c.Raw, e.Time)
		if err != nil {
			return err
		}
		return follow(u, index)
	}, nil
}

// appendRaw gives a restored entry its place.
func (u *unit) appendRaw(raw []byte, at time.Time) (uint64, error) {
	if len(u.entries) > 0 && !u.restore {
		return 0, errMixed
	}
	if at.Before(u.last) {
		return 0, fmt.Errorf("%w: the entry is of %s, earlier than the last one", storage.ErrConflict, at.Format(time.RFC3339Nano))
	}
	u.restore, u.at, u.last = true, at, at
	u.entries = append(u.entries, raw)
	return u.base + uint64(len(u.entries)) - 1, nil
}

// followUp writes what follows from a restored entry.
func followUp(e entry.Entry, body entry.Body, shard uint16) (func(u *unit, index uint64) error, error) {
	switch b := body.(type) {
	case entry.Intent:
		return followIntent(e.Draft, shard)
	case entry.Abandoned:
		return func(u *unit, index uint64) error { return u.restoreAbandoned(b, index) }, nil
	case entry.Revoked:
		return func(u *unit, index uint64) error { return u.restoreRevoked(b, index) }, nil
	case entry.CRL:
		if err := text("shard", b.Shard, maxText); err != nil {
			return nil, err
		}
		key := crlKey(b.Issuer, b.Shard)
		return func(u *unit, _ uint64) error {
			u.put(bucketCRL, key, marshalCRL(key, b.Number, nil))
			return nil
		}, nil
	}
	return func(*unit, uint64) error { return nil }, nil
}

func followIntent(d entry.Draft, shard uint16) (func(u *unit, index uint64) error, error) {
	intent, f, err := readIntent(d)
	if err != nil {
		return nil, err
	}
	key := certKey(intent.Issuer, f.serial)
	return func(u *unit, index uint64) error {
		if u.has(bucketCert, key) {
			return storage.ErrDuplicateSerial
		}
		u.put(bucketCert, key, row{taken: true, state: storage.Reserved, shard: shard, index: index}.marshal(key))
		for _, k := range intentKeys(intent, f, index) {
			u.put(k.bucket, k.key, nil)
		}
		return nil
	}, nil
}

// restoreAbandoned gives up a certificate: one that was taken back, or one that was
// still reserved when the database was copied.
func (u *unit) restoreAbandoned(b entry.Abandoned, index uint64) error {
	e, err := entry.Parse(u.entry(b.Index))
	if err != nil {
		return fmt.Errorf("the entry abandons entry %d: %w", b.Index, err)
	}
	if e.Kind == entry.SSHIntent {
		return nil
	}
	intent, f, err := readIntent(e.Draft)
	if err != nil {
		return fmt.Errorf("the entry abandons entry %d: %w", b.Index, err)
	}
	key := certKey(intent.Issuer, f.serial)
	r, err := u.row(key)
	if err != nil {
		return err
	}
	if r.state != storage.Reserved {
		return fmt.Errorf("%w: the certificate is %s", storage.ErrConflict, stateText(r))
	}
	r.state, r.abandoned = storage.Abandoned, index
	u.put(bucketCert, key, r.marshal(key))
	u.delete(bucketUnresolved, indexKey(r.index))
	if hasRequest(intent) && !r.taken {
		u.delete(bucketRequest, intent.RequestKey[:])
	}
	return nil
}

func (u *unit) restoreRevoked(b entry.Revoked, index uint64) error {
	key := certKey(b.Issuer, b.Serial)
	r, err := u.row(key)
	if err != nil {
		return err
	}
	if r.revocation != nil {
		return fmt.Errorf("%w: the certificate is revoked already", storage.ErrConflict)
	}
	_, f, err := u.intent(r)
	if err != nil {
		return err
	}
	r.revocation = &revocation{index: index, reason: identity.RevocationReason(b.Reason), at: b.At.UnixMilli()}
	u.put(bucketCert, key, r.marshal(key))
	line := revokedKey(b.Issuer, r.shard, f.notAfter, b.Serial)
	u.put(bucketRevoked, line, revokedLine(line, f.notAfter, *r.revocation))
	return nil
}
