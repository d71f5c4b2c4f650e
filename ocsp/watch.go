package ocsp

import (
	"context"
	"errors"

	"github.com/certwright/certwright/storage"
)

// Watch is a Committer over another that tells the responder of each revocation
// it commits, before it returns. Whoever revokes commits through it.
func (r *Responder) Watch(c storage.Committer) storage.Committer { return watched{c, r} }

type watched struct {
	storage.Committer
	responder *Responder
}

// Commit implements storage.Committer. After an unknown outcome the answers are
// forgotten too: the ledger says what holds.
func (w watched) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	receipt, err := w.Committer.Commit(ctx, u)
	if err != nil && !errors.Is(err, storage.ErrUnknownOutcome) {
		return receipt, err
	}
	for _, c := range u {
		if revoke, ok := c.(storage.Revoke); ok {
			w.responder.Changed(revoke.Issuer, revoke.Serial)
		}
	}
	return receipt, err
}
