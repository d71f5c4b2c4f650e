package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/secret"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Authenticate proves a bearer token that begins with Prefix; any other
// credentials are ErrNotMine. See auth.Authenticator. It reads the session from the
// store each time: one that was revoked, on whatever server, proves nobody.
func (s *Sessions) Authenticate(ctx context.Context, c auth.Credentials) (identity.Principal, error) {
	bearer, ok := auth.Bearer(c.Authorization)
	if !ok || !strings.HasPrefix(bearer, Prefix) {
		return identity.Principal{}, auth.ErrNotMine
	}
	p, err := s.prove(ctx, bearer)
	return p, s.tally.refused(err)
}

func (s *Sessions) prove(ctx context.Context, bearer string) (identity.Principal, error) {
	id, key, err := secret.Parse(Prefix, bearer)
	if err != nil {
		return identity.Principal{}, refused("SESSION_INVALID", "the session token is not valid")
	}
	stored, err := s.config.Store.Record(ctx, collection, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		return identity.Principal{}, refused("SESSION_INVALID", "the session token is not valid, or its session has ended")
	} else if err != nil {
		return identity.Principal{}, fmt.Errorf("session: %w", err)
	}
	r, err := parseRecord(stored)
	if err != nil {
		return identity.Principal{}, err
	}
	hash := key.Hash()
	if subtle.ConstantTimeCompare(hash[:], r.Hash) != 1 {
		return identity.Principal{}, refused("SESSION_INVALID", "the session token is not valid, or its session has ended")
	}
	session, err := r.session(stored.ID)
	if err != nil {
		return identity.Principal{}, err
	}
	switch session.State(s.config.Now()) {
	case Revoked:
		return identity.Principal{}, refused("SESSION_REVOKED", "the session was revoked")
	case Expired:
		return identity.Principal{}, refused("SESSION_EXPIRED", "the session has expired")
	case Active:
	}
	return s.again(ctx, session.Principal, hash)
}

// again is the principal as it stands now.
func (s *Sessions) again(ctx context.Context, p identity.Principal, hash [32]byte) (identity.Principal, error) {
	now, err := s.config.Still(ctx, p)
	if err != nil {
		return identity.Principal{}, err
	}
	// A session is no proof of holding a key, and opens no other.
	p.Claims, p.Evidence = now.Claims, hash
	return p, nil
}

func refused(reason, detail string) error {
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: reason, Rule: "session", Detail: detail, Help: "log in again: certwright login",
	}
}
