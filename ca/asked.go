package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// askedCollection holds, for each request ID of a revocation, the digest of what
// was asked under it.
const (
	askedCollection = "revocation-request"
	keepAsked       = 90 * 24 * time.Hour
)

// askedBefore are the commands that keep a request ID with its revocation; none
// if they are kept already. Conflict if the ID stands for another revocation.
func (a *Authority) askedBefore(ctx context.Context, r Revocation) (storage.Unit, error) {
	if r.RequestID == "" {
		return nil, nil
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(r.Actor), r.Actor, r.RequestID))
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", r.Issuer, r.Serial, r.Reason))
	id := hex.EncodeToString(key[:])
	stored, err := a.store.Record(ctx, askedCollection, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.Unit{storage.PutRecord{
			Collection: askedCollection, ID: id, Body: digest[:], Expires: a.now().Add(keepAsked),
		}}, nil
	case err != nil:
		return nil, storeProblem(err)
	case !bytes.Equal(stored.Body, digest[:]):
		return nil, &problem.Problem{
			Kind: problem.Conflict, Reason: "REQUEST_ID_REUSED", Rule: "request_id",
			Detail: "the request ID stands for another revocation of the same caller", Help: "use a new request ID",
		}
	}
	return nil, nil
}
