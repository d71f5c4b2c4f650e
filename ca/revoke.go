package ca

import (
	"context"
	"errors"
	"fmt"
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
	Reason identity.RevocationReason
	Actor  string // as in the ledger: "method:ID"
}

// Revoke revokes a certificate of any state, from its reservation on: durable on
// return. NotFound if there is none; Conflict if it is revoked already.
func (a *Authority) Revoke(ctx context.Context, r Revocation) error {
	if _, err := identity.ParseRevocationReason(r.Reason.String()); err != nil {
		return &problem.Problem{Kind: problem.Malformed, Reason: "REVOCATION_REASON", Detail: err.Error()}
	}
	cmd, err := a.revocation(r)
	if err != nil {
		return err
	}
	_, err = a.store.Commit(ctx, storage.Unit{cmd})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return &problem.Problem{Kind: problem.NotFound, Value: r.Serial.String(), Detail: "there is no such certificate", Err: err}
	case errors.Is(err, storage.ErrConflict):
		return &problem.Problem{Kind: problem.Conflict, Reason: "ALREADY_REVOKED", Value: r.Serial.String(), Detail: "the certificate is revoked already", Err: err}
	case err != nil:
		return storeProblem(err)
	}
	a.counters.revoked.Add(1)
	return nil
}

func (a *Authority) revocation(r Revocation) (storage.Revoke, error) {
	at := a.now().UTC().Truncate(time.Millisecond)
	body := entry.Revoked{Issuer: r.Issuer, Serial: r.Serial, Reason: uint8(r.Reason), At: at}
	draft, err := body.Draft(r.Actor)
	if err != nil {
		return storage.Revoke{}, fmt.Errorf("revocation: %w", err)
	}
	return storage.Revoke{Entry: draft, Issuer: r.Issuer, Serial: r.Serial, Reason: r.Reason, At: at}, nil
}
