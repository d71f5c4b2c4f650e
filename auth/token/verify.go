package token

import (
	"context"
	"crypto/rand"
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
// credentials are ErrNotMine. See auth.Authenticator.
func (t *Tokens) Authenticate(ctx context.Context, c auth.Credentials) (identity.Principal, error) {
	bearer, ok := auth.Bearer(c.Authorization)
	if !ok || !strings.HasPrefix(bearer, Prefix) {
		return identity.Principal{}, auth.ErrNotMine
	}
	return t.Verify(ctx, bearer)
}

// Verify answers the principal of a token's text, or Unauthenticated for one
// that is not well-formed, not known, revoked or expired. A token whose uses are
// used up still proves its holder, who may fetch what it asked for; it gets no
// further certificate, which UseToken decides.
func (t *Tokens) Verify(ctx context.Context, text string) (identity.Principal, error) {
	id, key, err := secret.Parse(Prefix, text)
	if err != nil {
		return identity.Principal{}, refused("TOKEN_INVALID", "the join token is not valid", err)
	}
	stored, err := t.config.Store.Record(ctx, collection, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		return identity.Principal{}, refused("TOKEN_INVALID", "the join token is not valid", nil)
	} else if err != nil {
		return identity.Principal{}, fmt.Errorf("token: %w", err)
	}
	r, err := t.parse(stored)
	if err != nil {
		return identity.Principal{}, err
	}
	hash := key.Hash()
	if subtle.ConstantTimeCompare(hash[:], r.Hash) != 1 {
		return identity.Principal{}, refused("TOKEN_INVALID", "the join token is not valid", nil)
	}
	token := r.token(id.String(), 0)
	if state := token.State(t.config.Now()); state == Revoked || state == Expired {
		return identity.Principal{}, ended(state)
	}
	p := token.Principal()
	p.Evidence = hash
	return p, nil
}

// ended is the refusal of a token in the state Revoked or Expired.
func ended(state State) error {
	if state == Revoked {
		return refused("TOKEN_REVOKED", "the join token is revoked", nil)
	}
	return refused("TOKEN_EXPIRED", "the join token has expired", nil)
}

func refused(reason, detail string, err error) error {
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: reason, Detail: detail,
		Help: "Ask an admin for a new one: certwright token create.", Err: err,
	}
}

// Commands are what must stand or fall with a certificate that a token pays for:
// Reserve with the intent, Abandon with its abandoning.
type Commands struct {
	Reserve, Abandon []storage.Command
}

// Use is the commands for one certificate of the principal, whose request ID has
// this key (zero: a request of its own, which counts as a use each time). Reserve
// fails with storage.ErrTokenSpent if no use is left and with storage.ErrConflict
// if the token was revoked meanwhile. A principal that is no token's has none.
func (t *Tokens) Use(ctx context.Context, p identity.Principal, key [32]byte) (Commands, error) {
	if p.Method != identity.Token {
		return Commands{}, nil
	}
	stored, r, err := t.read(ctx, p.ID)
	if err != nil {
		return Commands{}, err
	}
	if state := r.token(p.ID, 0).State(t.config.Now()); state == Revoked || state == Expired {
		return Commands{}, ended(state)
	}
	request := key
	if request == ([32]byte{}) {
		_, _ = rand.Read(request[:]) // never fails
	}
	request = useOf(p.ID, request)
	return Commands{
		Reserve: []storage.Command{
			storage.RequireRecord{Collection: collection, ID: p.ID, Version: stored.Version},
			storage.UseToken{ID: p.ID, For: request, Max: r.Uses},
		},
		Abandon: []storage.Command{storage.ReleaseToken{ID: p.ID, For: request}},
	}, nil
}

// Spent is the refusal of a token without a use left.
func Spent() *problem.Problem {
	return &problem.Problem{
		Kind: problem.PermissionDenied, Reason: "TOKEN_SPENT", Rule: "token uses",
		Detail: "the join token has no use left",
		Help:   "Ask an admin for a new one: certwright token create.",
		Err:    storage.ErrTokenSpent,
	}
}

func (t *Tokens) read(ctx context.Context, text string) (storage.Record, record, error) {
	id, ok := secret.ParseID(text)
	if !ok {
		return storage.Record{}, record{}, NotFound(text)
	}
	stored, err := t.config.Store.Record(ctx, collection, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Record{}, record{}, NotFound(text)
	} else if err != nil {
		return storage.Record{}, record{}, fmt.Errorf("token: %w", err)
	}
	r, err := parseRecord(stored)
	return stored, r, err
}

// NotFound is the answer about a token that is not there for the caller.
func NotFound(id string) error {
	return &problem.Problem{
		Kind: problem.NotFound, Reason: "TOKEN_NOT_FOUND", Detail: fmt.Sprintf("there is no join token %.64q", id),
		Help: "List them: certwright token list.",
	}
}

// Available tells whether the principal's token can pay for a certificate: nil,
// Spent, or as Verify if it is revoked or has expired. Nothing is reserved. A
// principal that is no token's needs none.
func (t *Tokens) Available(ctx context.Context, p identity.Principal) error {
	if p.Method != identity.Token {
		return nil
	}
	token, err := t.Get(ctx, p.ID)
	if err != nil {
		return err
	}
	switch state := token.State(t.config.Now()); state {
	case Revoked, Expired:
		return ended(state)
	case UsedUp:
		return Spent()
	}
	return nil
}
