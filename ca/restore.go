package ca

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

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
	active  activeRecord
	loaded  bool
	blocked []blockedAgain
}

// blockedAgain is a key that is to be blocked: by its ID, or of a certificate.
type blockedAgain struct {
	key    string
	issuer identity.KeyID
	serial identity.Serial
	record blockedRecord
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
	case entry.Revoked:
		if identity.RevocationReason(b.Reason) == identity.KeyCompromise {
			r.blocked = append(r.blocked, blockedAgain{
				issuer: b.Issuer, serial: b.Serial,
				record: blockedRecord{Time: e.Time, Actor: e.Actor, Issuer: identity.KeyID(b.Issuer).String(), Serial: identity.Serial(b.Serial).String()},
			})
		}
	case entry.Action:
		if b.Action == actionBlocked {
			r.blocked = append(r.blocked, blockedAgain{
				key: b.Target, record: blockedRecord{Time: e.Time, Actor: e.Actor, Serial: strings.TrimPrefix(b.Detail, "serial ")},
			})
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

// Last blocks the compromised keys.
func (r *Restorer) Last(ctx context.Context) ([]storage.Command, error) {
	var out []storage.Command
	for _, b := range r.blocked {
		if b.key == "" {
			row, err := r.store.BySerial(ctx, b.issuer, b.serial)
			if err != nil {
				return nil, fmt.Errorf("certificate %s, whose key is compromised: %w", b.serial, err)
			}
			b.key = row.SPKI.String()
		}
		b.record.Time = b.record.Time.UTC().Truncate(time.Millisecond)
		body, err := json.Marshal(b.record)
		if err != nil {
			return nil, err
		}
		out = append(out, storage.PutRecord{Collection: blockedCollection, ID: b.key, IfVersion: storage.AnyVersion, Body: body})
	}
	return out, nil
}
