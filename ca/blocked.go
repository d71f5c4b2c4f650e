package ca

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// blockedCollection holds a record for each key for which nothing is issued any
// more; its ID is the KeyID's text. It is never removed.
const blockedCollection = "blocked-key"

// blockedRecord says by which certificate a key came to be blocked. When, and by
// whom, is what the entry says that the record is bound to.
type blockedRecord struct {
	Issuer string `json:"issuer"`
	Serial string `json:"serial"`
}

// blockRecord blocks the key of a certificate, bound to the entry before it in the
// unit: the certificate's revocation, or an action.
func blockRecord(row storage.Certificate) (storage.PutRecord, error) {
	return putBlocked(row.SPKI.String(), blockedRecord{Issuer: row.Issuer.String(), Serial: row.Serial.String()})
}

// putBlocked blocks a key, bound to the entry before it in the unit.
func putBlocked(key string, r blockedRecord) (storage.PutRecord, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return storage.PutRecord{}, fmt.Errorf("blocked key: %w", err)
	}
	return storage.PutRecord{Collection: blockedCollection, ID: key, IfVersion: storage.AnyVersion, Body: body, WithEntry: true}, nil
}

// actionBlocked is the action of an entry that blocks a key whose certificate was
// revoked before: its target is the KeyID, its detail the certificate's serial.
const actionBlocked = "key.blocked"

// blocking is an entry that blocks a certificate's key, with the record.
func blocking(row storage.Certificate, actor string) (storage.Unit, error) {
	put, err := blockRecord(row)
	if err != nil {
		return nil, err
	}
	draft, err := entry.Action{Action: actionBlocked, Target: row.SPKI.String(), Detail: blockedDetail + row.Serial.String()}.Draft(actor)
	if err != nil {
		return nil, err
	}
	return storage.Unit{storage.AppendEntry{Entry: draft}, put}, nil
}

// blockedDetail is before the serial in the detail of an action actionBlocked.
const blockedDetail = "serial "

// notBlocked is the precondition that a key is not blocked, in the unit of an
// intent: whichever of intent and block comes first is seen by the other.
func notBlocked(spki identity.KeyID) storage.RequireRecord {
	return storage.RequireRecord{Collection: blockedCollection, ID: spki.String(), Version: 0}
}

// block blocks the key of a certificate that is revoked already, and enters it
// into the ledger; nothing if it is blocked.
func (a *Authority) block(ctx context.Context, row storage.Certificate, actor string) error {
	_, err := a.store.Record(ctx, blockedCollection, row.SPKI.String())
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	unit, err := blocking(row, actor)
	if err != nil {
		return err
	}
	_, err = a.commitPatiently(ctx, unit)
	return err
}

// Blocked refuses a key that is known as compromised: BadCSR with reason
// BLOCKED_KEY. For keys that stand in no certificate, such as an account's.
func (a *Authority) Blocked(ctx context.Context, key crypto.PublicKey) error {
	return a.blockedToo(ctx, key, nil)
}

// blockedToo adds the broken rule that a key is blocked to what else is wrong
// with a request; err, perhaps nil, if it is not.
func (a *Authority) blockedToo(ctx context.Context, key crypto.PublicKey, err error) error {
	spki, failed := identity.KeyIDOf(key)
	if failed != nil {
		return errors.Join(err, failed)
	}
	_, missing := a.store.Record(ctx, blockedCollection, spki.String())
	if errors.Is(missing, storage.ErrNotFound) {
		return err
	}
	if missing != nil {
		return storeProblem(missing)
	}
	v := problem.Violation{
		Reason: "BLOCKED_KEY", Rule: "blocked keys", Value: spki.String(),
		Detail: "the key is known as compromised: nothing is issued for it", Help: "make a new key",
	}
	var p *problem.Problem
	if errors.As(err, &p) && p.Kind == problem.Denied {
		both := *p
		both.Violations = append(both.Violations[:len(both.Violations):len(both.Violations)], v)
		return &both
	}
	return &problem.Problem{
		Kind: problem.BadCSR, Reason: v.Reason, Rule: v.Rule, Value: v.Value, Detail: v.Detail, Help: v.Help,
		Violations: []problem.Violation{v},
	}
}
