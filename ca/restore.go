package ca

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// Restorer follows a recovery of the ledger: policies that come back are in force
// again, compromised keys are blocked again.
type Restorer struct {
	store interface {
		storage.RecordReader
		storage.CertificateReader
	}
	active activeRecord
	loaded bool
	recent recentIntents
}

// NewRestorer reads from the store into which entries come back.
func NewRestorer(store interface {
	storage.RecordReader
	storage.CertificateReader
},
) *Restorer {
	return &Restorer{store: store}
}

// Back takes up an entry that comes back; there: an earlier run has brought it.
func (r *Restorer) Back(ctx context.Context, e entry.Entry, body entry.Body, there bool) ([]storage.Command, error) {
	switch b := body.(type) {
	case entry.Policy:
		if !there {
			return r.policy(ctx, e, b)
		}
	case entry.Intent:
		return nil, r.recent.add(b)
	case entry.Revoked:
		if identity.RevocationReason(b.Reason) == identity.KeyCompromise {
			put, err := r.block(ctx, b)
			return []storage.Command{put}, err
		}
	case entry.Action:
		if b.Action == actionBlocked {
			put, err := putBlocked(b.Target, blockedRecord{Serial: strings.TrimPrefix(b.Detail, blockedDetail)})
			return []storage.Command{put}, err
		}
	}
	return nil, nil
}

// policy is the records of a policy that comes back.
func (r *Restorer) policy(ctx context.Context, e entry.Entry, b entry.Policy) ([]storage.Command, error) {
	if !r.loaded {
		rec, err := r.store.Record(ctx, activeCollection, activeID)
		if err == nil {
			err = json.Unmarshal(rec.Body, &r.active)
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("active policy: %w", err)
		}
		r.loaded = true
	}
	hash := b.Hash()
	r.active = activeRecord{Number: r.active.Number + 1, Hash: hex.EncodeToString(hash[:])}
	v := versionRecord{Number: r.active.Number, Hash: r.active.Hash, Time: e.Time, Actor: e.Actor, Document: b.Document}
	return activation(r.active, v, storage.AnyVersion)
}

// block blocks the key of a certificate that was revoked for keyCompromise.
func (r *Restorer) block(ctx context.Context, b entry.Revoked) (storage.PutRecord, error) {
	key, ok := r.recent.keyOf(b.Issuer, b.Serial)
	if !ok {
		row, err := r.store.BySerial(ctx, b.Issuer, b.Serial)
		if err != nil {
			return storage.PutRecord{}, fmt.Errorf("certificate %s, whose key is compromised: %w", identity.Serial(b.Serial), err)
		}
		key = row.SPKI
	}
	return putBlocked(key.String(), blockedRecord{Issuer: identity.KeyID(b.Issuer).String(), Serial: identity.Serial(b.Serial).String()})
}

// recentIntents are the last intents that have come back: those of a unit that is
// still being gathered are not in the store.
type recentIntents struct {
	ring [maxRecent]recentIntent
	next int
}

type recentIntent struct {
	issuer identity.KeyID
	serial identity.Serial
	key    identity.KeyID
}

// maxRecent is more than a unit of a recovery holds.
const maxRecent = 1024

func (r *recentIntents) add(b entry.Intent) error {
	serial, key, err := serialAndKey(b.TBS)
	if err != nil {
		return err
	}
	r.ring[r.next%maxRecent] = recentIntent{b.Issuer, serial, key}
	r.next++
	return nil
}

func (r *recentIntents) keyOf(issuer identity.KeyID, serial identity.Serial) (identity.KeyID, bool) {
	for _, each := range r.ring[:min(r.next, maxRecent)] {
		if each.issuer == issuer && each.serial == serial {
			return each.key, true
		}
	}
	return identity.KeyID{}, false
}

var errTBS = errors.New("an intent's TBSCertificate cannot be read")

// serialAndKey reads two fields of a TBSCertificate (RFC 5280 §4.1).
func serialAndKey(tbs []byte) (identity.Serial, identity.KeyID, error) {
	outer, number := cryptobyte.String(tbs), new(big.Int)
	var s, spki cryptobyte.String
	if !outer.ReadASN1(&s, asn1.SEQUENCE) || !s.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) || !s.ReadASN1Integer(number) ||
		!s.SkipASN1(asn1.SEQUENCE) || !s.SkipASN1(asn1.SEQUENCE) || !s.SkipASN1(asn1.SEQUENCE) || !s.SkipASN1(asn1.SEQUENCE) ||
		!s.ReadASN1Element(&spki, asn1.SEQUENCE) {
		return identity.Serial{}, identity.KeyID{}, errTBS
	}
	serial, err := identity.SerialFromBig(number)
	return serial, sha256.Sum256(spki), err
}
