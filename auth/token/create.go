package token

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/certwright/certwright/auth/secret"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// indexRequest finds a token by the key of the request ID that made it.
const indexRequest = "request"

// Create makes a token and answers it with its secret text, the only time that
// the secret is known. Its making stands in the ledger, in the same unit.
//
// With a request ID it makes one token for one request: the same spec again
// answers the token with an empty secret, because nobody has it any more (who has
// lost it revokes the token and makes another); another spec under the same ID is
// a Conflict.
func (t *Tokens) Create(ctx context.Context, spec Spec) (Token, string, error) {
	spec, err := spec.canonical(t.config)
	if err != nil {
		return Token{}, "", err
	}
	now := t.config.Now().UTC()
	id, key := secret.NewID(now), secret.New()
	hash := key.Hash()
	r := record{
		Hash: hash[:], Owner: spec.Owner, Profiles: spec.Profiles, Names: spec.Names, Uses: spec.Uses,
		Created: now, Expires: now.Add(spec.TTL), Creator: spec.Creator,
	}
	if spec.RequestID != "" {
		r.Request = requestKey(spec)
		if r.Digest, err = spec.digest(); err != nil {
			return Token{}, "", err
		}
		if token, found, err := t.repeated(ctx, r); found || err != nil {
			return token, "", err
		}
	}
	put, err := r.put(id.String(), 0)
	if err != nil {
		return Token{}, "", err
	}
	action, err := created(id.String(), r, put.Body)
	if err != nil {
		return Token{}, "", err
	}
	_, err = t.config.Store.Commit(ctx, append(action, put))
	if errors.Is(err, storage.ErrConflict) && r.Request != "" {
		// Another call with the same request ID was quicker.
		if token, found, err := t.repeated(ctx, r); found || err != nil {
			return token, "", err
		}
	}
	if err != nil {
		return Token{}, "", fmt.Errorf("token: %w", err)
	}
	t.config.Logger.InfoContext(ctx, "join token made", slog.String("token", id.String()), slog.String("by", spec.Creator))
	return r.token(id.String(), 0), secret.Text(Prefix, id, key), nil
}

func requestKey(s Spec) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(s.Creator), s.Creator, s.RequestID))
	return hex.EncodeToString(sum[:])
}

// repeated finds the token that the request ID has made before.
func (t *Tokens) repeated(ctx context.Context, r record) (Token, bool, error) {
	page, err := t.config.Store.Records(ctx, collection, indexRequest, r.Request, nil, 1)
	if err != nil {
		return Token{}, false, fmt.Errorf("token: %w", err)
	}
	if len(page.Records) == 0 {
		return Token{}, false, nil
	}
	stored := page.Records[0]
	before, err := parseRecord(stored)
	if err != nil {
		return Token{}, false, err
	}
	if !bytes.Equal(before.Digest, r.Digest) {
		return Token{}, false, &problem.Problem{
			Kind: problem.Conflict, Reason: "REQUEST_ID_REUSED", Rule: "request_id",
			Detail: "another token was made under this request ID",
			Help:   "Use a new request ID for a new request.",
		}
	}
	token, err := t.counted(ctx, stored.ID, before)
	return token, err == nil, err
}

func (t *Tokens) counted(ctx context.Context, id string, r record) (Token, error) {
	used, err := t.config.Store.TokenUses(ctx, id)
	if err != nil {
		return Token{}, fmt.Errorf("token %s: %w", id, err)
	}
	return r.token(id, used), nil
}

// Get is one token by its ID; NotFound.
func (t *Tokens) Get(ctx context.Context, id string) (Token, error) {
	stored, r, err := t.read(ctx, id)
	if err != nil {
		return Token{}, err
	}
	return t.counted(ctx, stored.ID, r)
}

// Page is one page of tokens, newest first.
type Page struct {
	Tokens []Token
	Next   []byte // nil: that was the last page
}

// List is tokens, newest first, from after a page's Next on (nil: from the
// start), at most limit (1 to 1000) of them.
func (t *Tokens) List(ctx context.Context, after []byte, limit int) (Page, error) {
	records, err := t.config.Store.Records(ctx, collection, "", "", after, limit)
	if err != nil {
		return Page{}, fmt.Errorf("tokens: %w", err)
	}
	page := Page{Next: records.Next}
	for _, stored := range records.Records {
		r, err := parseRecord(stored)
		if err != nil {
			return Page{}, err
		}
		token, err := t.counted(ctx, stored.ID, r)
		if err != nil {
			return Page{}, err
		}
		page.Tokens = append(page.Tokens, token)
	}
	return page, nil
}

// Revoke ends a token: from its return on, no certificate is reserved with it. A
// token that is revoked already is answered as it is. Certificates stay valid.
func (t *Tokens) Revoke(ctx context.Context, id, actor string) (Token, error) {
	// A conflict means that another call has revoked it meanwhile: the second
	// look finds that.
	for attempt := 0; ; attempt++ {
		token, err := t.revoke(ctx, id, actor)
		if !errors.Is(err, storage.ErrConflict) || attempt > 0 {
			return token, err
		}
	}
}

func (t *Tokens) revoke(ctx context.Context, id, actor string) (Token, error) {
	stored, r, err := t.read(ctx, id)
	if err != nil {
		return Token{}, err
	}
	if !r.Revoked.IsZero() {
		return t.counted(ctx, stored.ID, r)
	}
	r.Revoked = t.config.Now().UTC()
	put, err := r.put(stored.ID, stored.Version)
	if err != nil {
		return Token{}, err
	}
	action, err := revoked(stored.ID, r, put.Body, actor)
	if err != nil {
		return Token{}, err
	}
	if _, err := t.config.Store.Commit(ctx, append(action, put)); err != nil {
		return Token{}, fmt.Errorf("token %s: %w", id, err)
	}
	t.config.Logger.InfoContext(ctx, "join token revoked", slog.String("token", stored.ID), slog.String("by", actor))
	return t.counted(ctx, stored.ID, r)
}
