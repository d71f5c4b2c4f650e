package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Revocation says what is revoked, why and by whom. Whoever calls has made sure
// that Actor may.
type Revocation struct {
	Issuer identity.KeyID
	Serial identity.Serial
	// Fingerprint is the SHA-256 of the DER of the certificate that is meant: all of
	// it counts, not the serial alone. Zero for an intent, which has no DER yet, and
	// where the row itself was just read.
	Fingerprint [32]byte
	Reason      identity.RevocationReason
	Actor       string // as in the ledger: "method:ID"
	// RequestID is the caller's name for the request: it stands for one revocation of
	// the actor. Empty: none.
	RequestID string
	Attach    []storage.Command // what stands or falls with it
}

// Revoked is a revoked certificate.
type Revoked struct {
	Certificate storage.Certificate // with its Revocation
	Repeated    bool                // it was revoked before, for the same reason
}

// Change is a revocation, for who keeps something that follows from it.
type Change struct {
	Issuer identity.KeyID
	Serial identity.Serial
	Shard  uint16 // of the CRL
	// Blocked is the key that is blocked from now on; zero: none is.
	Blocked identity.KeyID
}

func changeOf(row storage.Certificate) Change {
	return Change{Issuer: row.Issuer, Serial: row.Serial, Shard: row.CRLShard}
}

// maybeDurable tells whether a unit that failed so may still be in the ledger.
func maybeDurable(err error) bool { return errors.Is(err, storage.ErrUnknownOutcome) }

// Revoke revokes a certificate of any state, from its reservation on: durable on
// return. For keyCompromise the same unit blocks the key for ever. Revoking
// again for the same reason answers what stands there. The error is a
// *problem.Problem: NotFound if there is none, Conflict with reason
// ALREADY_REVOKED if it is revoked for another reason, which cannot change (the
// key is blocked nonetheless if this one is keyCompromise).
func (a *Authority) Revoke(ctx context.Context, r Revocation) (Revoked, error) {
	if _, err := identity.ParseRevocationReason(r.Reason.String()); err != nil {
		return Revoked{}, &problem.Problem{Kind: problem.Malformed, Reason: "REVOCATION_REASON", Detail: err.Error()}
	}
	row, err := a.meant(ctx, r)
	if err != nil {
		return Revoked{}, err
	}
	asked, err := a.askedBefore(ctx, r)
	if err != nil {
		return Revoked{}, err
	}
	if row.Revocation != nil {
		return a.revokedBefore(ctx, r, row)
	}
	unit, err := a.revocations([]storage.Certificate{row}, r.Reason, r.Actor)
	if err != nil {
		return Revoked{}, err
	}
	receipt, err := a.commitPatiently(ctx, slices.Concat(unit, asked, r.Attach))
	if errors.Is(err, storage.ErrConflict) { // perhaps somebody else was first
		if now, again := a.meant(ctx, r); again == nil && now.Revocation != nil {
			return a.revokedBefore(ctx, r, now)
		}
		if _, again := a.askedBefore(ctx, r); again != nil {
			return Revoked{}, again
		}
	}
	if err == nil || maybeDurable(err) {
		change := changeOf(row)
		if r.Reason == identity.KeyCompromise {
			change.Blocked = row.SPKI
		}
		a.revoked(change)
	}
	if err != nil {
		return Revoked{}, storeProblem(err)
	}
	a.counters.revoked.Add(1)
	cmd, _ := unit[0].(storage.Revoke)
	row.Revocation = &storage.RevocationFact{Index: receipt.Indexes[0], Reason: cmd.Reason, At: cmd.At}
	return Revoked{Certificate: row}, nil
}

// meant is the row of the certificate that a revocation means.
func (a *Authority) meant(ctx context.Context, r Revocation) (storage.Certificate, error) {
	row, err := a.store.BySerial(ctx, r.Issuer, r.Serial)
	if err == nil && r.Fingerprint != [32]byte{} && row.Fingerprint != r.Fingerprint {
		err = storage.ErrNotFound
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = &problem.Problem{Kind: problem.NotFound, Value: r.Serial.String(), Detail: "there is no such certificate", Err: err}
	}
	return row, err
}

// revokedBefore answers for what is revoked already.
func (a *Authority) revokedBefore(ctx context.Context, r Revocation, row storage.Certificate) (Revoked, error) {
	was := row.Revocation
	if was.Reason == r.Reason {
		return Revoked{Certificate: row, Repeated: true}, nil
	}
	p := &problem.Problem{
		Kind: problem.Conflict, Reason: "ALREADY_REVOKED", Value: r.Serial.String(), Allowed: was.Reason.String(),
		Detail: fmt.Sprintf("the certificate was revoked at %s for %s, which stays its reason", was.At.UTC().Format(time.RFC3339), was.Reason),
	}
	if r.Reason == identity.KeyCompromise {
		if err := a.block(ctx, row, r.Actor); err != nil {
			return Revoked{}, storeProblem(err)
		}
		change := changeOf(row)
		change.Blocked = row.SPKI
		a.revoked(change)
		p.Help = "its key is blocked from now on: nothing is issued for it"
	}
	return Revoked{}, p
}

// RevokeAll revokes several certificates in one unit, all or none, with the
// attached commands. The error is storage's: ErrConflict if one of them is revoked
// meanwhile, or a precondition attached does not hold.
func (a *Authority) RevokeAll(ctx context.Context, rows []storage.Certificate, reason identity.RevocationReason, actor string, attach []storage.Command) error {
	unit, err := a.revocations(rows, reason, actor)
	if err != nil {
		return err
	}
	_, err = a.commitPatiently(ctx, append(unit, attach...))
	if err == nil || maybeDurable(err) {
		for _, row := range rows {
			a.revoked(changeOf(row))
		}
	}
	if err == nil {
		a.counters.revoked.Add(uint64(len(rows)))
	}
	return err
}

// revocations are the commands that revoke the rows, in their order; for
// keyCompromise each with the block of its key, unless one before it has that.
func (a *Authority) revocations(rows []storage.Certificate, reason identity.RevocationReason, actor string) (storage.Unit, error) {
	var unit storage.Unit
	seen := map[identity.KeyID]bool{}
	for _, row := range rows {
		cmd, err := a.revocation(row.Issuer, row.Serial, reason, actor)
		if err != nil {
			return nil, err
		}
		unit = append(unit, cmd)
		if reason == identity.KeyCompromise && !seen[row.SPKI] {
			seen[row.SPKI] = true
			put, err := blockRecord(row)
			if err != nil {
				return nil, err
			}
			unit = append(unit, put)
		}
	}
	return unit, nil
}

func (a *Authority) revocation(issuer identity.KeyID, serial identity.Serial, reason identity.RevocationReason, actor string) (storage.Revoke, error) {
	at := a.now().UTC().Truncate(time.Millisecond)
	draft, err := entry.Revoked{Issuer: issuer, Serial: serial, Reason: uint8(reason), At: at}.Draft(actor)
	if err != nil {
		return storage.Revoke{}, fmt.Errorf("revocation: %w", err)
	}
	return storage.Revoke{Entry: draft, Issuer: issuer, Serial: serial, Reason: reason, At: at}, nil
}

// BlockKeys are the commands that block the keys of certificates that are not
// revoked with them, such as those that are revoked or expired already, each with
// its entry in the ledger; none for a key that is blocked. They are for the
// caller's unit. The error is the store's.
func (a *Authority) BlockKeys(ctx context.Context, rows []storage.Certificate, actor string) (storage.Unit, error) {
	var unit storage.Unit
	seen := map[identity.KeyID]bool{}
	for _, row := range rows {
		if seen[row.SPKI] {
			continue
		}
		seen[row.SPKI] = true
		_, err := a.store.Record(ctx, blockedCollection, row.SPKI.String())
		if err == nil {
			continue
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		block, err := blocking(row, actor)
		if err != nil {
			return nil, err
		}
		unit = append(unit, block...)
	}
	return unit, nil
}
