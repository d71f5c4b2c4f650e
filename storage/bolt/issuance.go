package bolt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

func prepareReserve(c storage.ReserveIssuance) (operation, error) {
	intent, f, err := readIntent(c.Entry)
	if err != nil {
		return nil, err
	}
	switch {
	case identity.KeyID(intent.Issuer) != c.Issuer:
		return nil, errors.New("the issuer is not the intent's")
	case f.serial != c.Serial:
		return nil, errors.New("the serial is not the TBS's")
	case f.spki != c.SPKI:
		return nil, errors.New("the public key is not the TBS's")
	case f.notBefore.Unix() != c.NotBefore.Unix() || f.notAfter.Unix() != c.NotAfter.Unix():
		return nil, errors.New("the validity is not the TBS's")
	case !sameNames(f.names, c.Names):
		return nil, errors.New("the names are not the TBS's")
	}
	key := certKey(c.Issuer, c.Serial)
	return func(u *unit) error {
		if u.has(bucketCert, key) {
			return storage.ErrDuplicateSerial
		}
		if hasRequest(intent) && u.has(bucketRequest, intent.RequestKey[:]) {
			return storage.ErrDuplicateRequest
		}
		index, err := u.append(c.Entry)
		if err != nil {
			return err
		}
		r := row{
			state: storage.Reserved, shard: c.CRLShard, index: index,
			incarnation: c.Incarnation, deadline: c.Deadline.UnixMilli(),
		}
		u.put(bucketCert, key, r.marshal(key))
		for _, k := range intentKeys(intent, f, index) {
			u.put(k.bucket, k.key, nil)
		}
		if hasRequest(intent) {
			u.put(bucketRequest, intent.RequestKey[:], indexKey(index))
		}
		u.put(bucketUnresolved, indexKey(index), nil)
		return nil
	}, nil
}

func hasRequest(i entry.Intent) bool { return i.RequestKey != [32]byte{} }

// readIntent reads an intent and the facts of its TBS.
func readIntent(d entry.Draft) (entry.Intent, facts, error) {
	intent, err := entry.ParseIntent(d)
	if err != nil {
		return entry.Intent{}, facts{}, err
	}
	if err := text("owner", intent.Owner, maxText); err != nil {
		return entry.Intent{}, facts{}, err
	}
	f, err := parseTBS(intent.TBS)
	if err != nil {
		return entry.Intent{}, facts{}, err
	}
	return intent, f, nil
}

type indexEntry struct {
	bucket bucket
	key    []byte
}

// intentKeys are the index keys that every intent has for ever, whatever
// becomes of it.
func intentKeys(i entry.Intent, f facts, index uint64) []indexEntry {
	keys := []indexEntry{
		{bucketOwner, textKey(i.Owner, index)},
		{bucketExpiry, expiryKey(f.notAfter, index)},
		{bucketSPKI, spkiKey(f.spki, index)},
	}
	for _, name := range nameTexts(f.names) {
		keys = append(keys, indexEntry{bucketSAN, textKey(name, index)})
	}
	return keys
}

// row reads a certificate's row; ErrNotFound if there is none.
func (u *unit) row(key []byte) (row, error) {
	sealed := u.get(bucketCert, key)
	if sealed == nil {
		return row{}, storage.ErrNotFound
	}
	return parseRow(key, sealed)
}

// intent reads the intent of a row.
func (u *unit) intent(r row) (entry.Intent, facts, error) {
	e, err := entry.Parse(u.entry(r.index))
	if err != nil {
		return entry.Intent{}, facts{}, err
	}
	return readIntent(e.Draft)
}

func prepareComplete(c storage.CompleteIssuance) (operation, error) {
	tbs, tail, err := splitCertificate(c.Certificate)
	if err != nil {
		return nil, err
	}
	if again, err := joinCertificate(tbs, tail); err != nil || !bytes.Equal(again, c.Certificate) {
		return nil, errors.New("the certificate is not in DER")
	}
	fingerprint := sha256.Sum256(c.Certificate)
	key := certKey(c.Issuer, c.Serial)
	return func(u *unit) error {
		r, err := u.row(key)
		if err != nil {
			return err
		}
		if r.state != storage.Reserved || r.revocation != nil {
			return fmt.Errorf("%w: the certificate is %s", storage.ErrConflict, stateText(r))
		}
		intent, _, err := u.intent(r)
		if err != nil {
			return err
		}
		if !bytes.Equal(intent.TBS, tbs) {
			return fmt.Errorf("%w: the certificate's TBS is not the intent's", storage.ErrConflict)
		}
		r.state = storage.Issued
		u.put(bucketCert, key, r.marshal(key))
		u.put(bucketSig, indexKey(r.index), tail)
		u.put(bucketFingerprint, fingerprint[:], indexKey(r.index))
		u.delete(bucketUnresolved, indexKey(r.index))
		return nil
	}, nil
}

func stateText(r row) string {
	if r.revocation != nil {
		return r.state.String() + " and revoked"
	}
	return r.state.String()
}

func prepareAbandon(c storage.Abandon) (operation, error) {
	body, err := entry.ParseAbandoned(c.Entry)
	if err != nil {
		return nil, err
	}
	key := certKey(c.Issuer, c.Serial)
	return func(u *unit) error {
		r, err := u.row(key)
		if err != nil {
			return err
		}
		if r.state != storage.Reserved {
			return fmt.Errorf("%w: the certificate is %s", storage.ErrConflict, stateText(r))
		}
		if body.Index != r.index {
			return fmt.Errorf("the entry speaks of intent %d, the serial is that of intent %d", body.Index, r.index)
		}
		intent, _, err := u.intent(r)
		if err != nil {
			return err
		}
		if r.abandoned, err = u.append(c.Entry); err != nil {
			return err
		}
		r.state = storage.Abandoned
		u.put(bucketCert, key, r.marshal(key))
		u.delete(bucketUnresolved, indexKey(r.index))
		if hasRequest(intent) && !r.taken {
			u.delete(bucketRequest, intent.RequestKey[:])
		}
		return nil
	}, nil
}

func prepareRevoke(c storage.Revoke) (operation, error) {
	body, err := entry.ParseRevocation(c.Entry)
	if err != nil {
		return nil, err
	}
	if identity.KeyID(body.Issuer) != c.Issuer || identity.Serial(body.Serial) != c.Serial || body.Reason != uint8(c.Reason) ||
		body.At.UnixMilli() != c.At.UnixMilli() {
		return nil, errors.New("the entry speaks of another revocation")
	}
	key := certKey(c.Issuer, c.Serial)
	return func(u *unit) error {
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
		index, err := u.append(c.Entry)
		if err != nil {
			return err
		}
		r.revocation = &revocation{index: index, reason: c.Reason, at: c.At.UnixMilli()}
		u.put(bucketCert, key, r.marshal(key))
		line := revokedKey(c.Issuer, r.shard, f.notAfter, c.Serial)
		u.put(bucketRevoked, line, revokedLine(line, f.notAfter, *r.revocation))
		return nil
	}, nil
}

func preparePutCRL(c storage.PutCRL) (operation, error) {
	body, err := entry.ParseCRLPublished(c.Entry)
	if err != nil {
		return nil, err
	}
	if identity.KeyID(body.Issuer) != c.Issuer || body.Shard != c.Shard || body.Number != c.Number || body.SHA256 != sha256.Sum256(c.DER) {
		return nil, errors.New("the entry speaks of another CRL")
	}
	if err := text("shard", c.Shard, maxText); err != nil {
		return nil, err
	}
	key := crlKey(c.Issuer, c.Shard)
	return func(u *unit) error {
		if sealed := u.get(bucketCRL, key); sealed != nil {
			stored, err := parseCRL(key, sealed)
			if err != nil {
				return err
			}
			if stored.Number >= c.Number {
				return fmt.Errorf("%w: CRL number %d is stored", storage.ErrConflict, stored.Number)
			}
		}
		if _, err := u.append(c.Entry); err != nil {
			return err
		}
		u.put(bucketCRL, key, marshalCRL(key, c.Number, c.DER))
		return nil
	}, nil
}

// certificate is what a row, its intent's entry and its signature say together.
func certificate(e entry.Entry, intent entry.Intent, f facts, r row, tail []byte) (storage.Certificate, error) {
	c := storage.Certificate{
		Issuer: intent.Issuer, Serial: f.serial, Index: r.index, Time: e.Time, Requester: e.Actor, Intent: intent,
		State: r.state, Names: f.names, SPKI: f.spki, NotBefore: f.notBefore, NotAfter: f.notAfter, CRLShard: r.shard,
	}
	switch r.state {
	case storage.Reserved:
		c.Incarnation, c.Deadline = r.incarnation, time.UnixMilli(r.deadline).UTC()
	case storage.Issued:
		if tail == nil {
			return storage.Certificate{}, errors.New("its signature is missing")
		}
		der, err := joinCertificate(intent.TBS, tail)
		if err != nil {
			return storage.Certificate{}, err
		}
		c.DER, c.Fingerprint = der, sha256.Sum256(der)
	}
	if v := r.revocation; v != nil {
		c.Revocation = &storage.RevocationFact{
			Index: v.index, Reason: v.reason, At: time.UnixMilli(v.at).UTC(),
		}
	}
	return c, nil
}
