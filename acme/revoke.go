package acme

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// revoke revokes a certificate (RFC 8555 §7.6): for the account that had it
// issued, an account that holds authorizations for all its names, or whoever has
// its key. What is matched is the whole certificate.
func (s *Server) revoke(ctx context.Context, q *request) error {
	der, reason, err := toRevoke(q)
	if err != nil {
		return err
	}
	c, err := s.store.ByFingerprint(ctx, sha256.Sum256(der))
	if errors.Is(err, storage.ErrNotFound) {
		return notFound("certificate of this CA")
	}
	if err != nil {
		return storeFault(err)
	}
	by, err := s.revoker(ctx, q, c)
	if err != nil {
		return err
	}
	if reason == identity.KeyCompromise && q.key == nil && by != c.Requester {
		return refuse(BadRevocationReason, "keyCompromise blocks the key for ever: it is taken from the key's holder and from the account that asked for the certificate")
	}
	revoked, err := s.authority.Revoke(ctx, ca.Revocation{
		Issuer: c.Issuer, Serial: c.Serial, Fingerprint: c.Fingerprint, Reason: reason, Actor: by,
	})
	switch {
	case problem.KindOf(err) == problem.Conflict || err == nil && revoked.Repeated:
		return refuse(AlreadyRevoked, "the certificate is revoked already")
	case err != nil:
		return err
	}
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// toRevoke is what the request names: the certificate's DER and the reason.
func toRevoke(q *request) ([]byte, identity.RevocationReason, error) {
	var p struct {
		Certificate string `json:"certificate"`
		Reason      *int64 `json:"reason"`
	}
	if err := q.decode(&p); err != nil {
		return nil, 0, err
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(p.Certificate)
	if err != nil || len(der) == 0 {
		return nil, 0, refuse(Malformed, "the certificate is not base64url of DER")
	}
	reason := identity.Unspecified
	if p.Reason != nil {
		if *p.Reason < 0 || *p.Reason > 10 {
			return nil, 0, refuse(BadRevocationReason, "%d is no reason code", *p.Reason)
		}
		reason = identity.RevocationReason(*p.Reason)
	}
	if _, err := identity.ParseRevocationReason(reason.String()); err != nil {
		return nil, 0, refuse(BadRevocationReason, "%d is not one of the reasons 0, 1, 3, 4, 5, 9", reason)
	}
	return der, reason, nil
}

// revoker is who revokes, for the ledger, if that one may.
func (s *Server) revoker(ctx context.Context, q *request, c storage.Certificate) (string, error) {
	if q.key != nil {
		id, err := identity.KeyIDOf(q.key.Key)
		if err != nil || id != c.SPKI {
			return "", refuse(Unauthorized, "the request is signed neither by the certificate's key nor by an account")
		}
		return "acme-key:" + id.String(), nil // whoever has the key: perhaps not its owner
	}
	if c.Requester == actor(q.account.ID) {
		return c.Requester, nil
	}
	for _, name := range c.Names {
		base, wildcard := baseOf(name)
		z, err := s.reusable(ctx, q.account.ID, wire(base), wildcard)
		if err != nil {
			return "", storeFault(err)
		}
		if z == nil {
			return "", refuse(Unauthorized, "the certificate is another's, and the account is not authorized for all of its names")
		}
	}
	return actor(q.account.ID), nil
}
