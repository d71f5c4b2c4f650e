package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// UsedCollection holds, until it would have expired, each token that was used under
// a grant that takes tokens once.
const UsedCollection = "oidc-used"

// maxTokenID is the octets of a claim jti.
const maxTokenID = 1024

// Once gives the commands by which a token gets one certificate: they stand or fall
// with it, so that of many requests with one token one gets it. The token is known
// by its issuer and jti (RFC 7519 §4.1.7), and forgotten when it has expired.
func Once(ctx context.Context, store storage.RecordReader, p identity.Principal) (ca.Attach, error) {
	jti, _ := p.Claims["jti"].(string)
	issuer, _ := p.Claims["iss"].(string)
	if p.Method != identity.OIDC || jti == "" || len(jti) > maxTokenID {
		return ca.Attach{}, &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "TOKEN_WITHOUT_ID", Rule: "single_use",
			Detail: "the grant takes each token once, and this one has no identifier (jti)", Help: "have the identity provider send the claim jti",
		}
	}
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti))
	id := hex.EncodeToString(sum[:])
	switch _, err := store.Record(ctx, UsedCollection, id); {
	case err == nil:
		return ca.Attach{}, &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "TOKEN_USED", Rule: "single_use",
			Detail: "the token has been used: the grant takes each token once", Help: "ask the identity provider for a new token",
		}
	case !errors.Is(err, storage.ErrNotFound):
		return ca.Attach{}, fmt.Errorf("used token: %w", err)
	}
	until, err := untilOf(p.Claims["exp"])
	if err != nil {
		return ca.Attach{}, err
	}
	return ca.Attach{
		Reserve: []storage.Command{storage.PutRecord{Collection: UsedCollection, ID: id, Body: []byte{1}, Expires: until}},
		Abandon: []storage.Command{storage.DeleteRecord{Collection: UsedCollection, ID: id, IfVersion: storage.AnyVersion}},
	}, nil
}

// untilOf is when no leeway makes the token good any more.
func untilOf(exp any) (time.Time, error) {
	switch v := exp.(type) {
	case int64:
		return time.Unix(v, 0).Add(MaxLeeway), nil
	case float64:
		return time.Unix(int64(v)+1, 0).Add(MaxLeeway), nil
	}
	return time.Time{}, errors.New("a proven token without exp")
}
