package acme

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// secretSize is the length of an EAB key's secret in octets.
const secretSize = 32

// nameForm is what the name and the owner of an EAB key look like.
const nameForm = `^[A-Za-z0-9][A-Za-z0-9._/+-]{0,127}$`

// CreateEAB makes a key for external account bindings (RFC 8555 §7.3.4). hmac is
// its secret, base64url without padding: this is the only time it is told.
func (s *Server) CreateEAB(ctx context.Context, spec enrol.EABSpec) (key enrol.EABKey, hmac string, err error) {
	if err := s.checkSpec(spec); err != nil {
		return enrol.EABKey{}, "", err
	}
	now := s.now().UTC().Truncate(time.Second)
	k := &eabKey{
		ID: newID(now), Name: spec.Name, Owner: spec.Owner, Uses: spec.Uses, Created: now, Creator: spec.Creator,
	}
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	s.seal(k, secret)
	if spec.TTL > 0 {
		k.Expires = now.Add(spec.TTL)
	}
	if spec.Bound != nil {
		bound := *spec.Bound
		bound.Name = k.tokenID()
		if bound.Owner == "" {
			bound.Owner = spec.Owner
		}
		if err := s.policy().CheckBound(bound); err != nil {
			return enrol.EABKey{}, "", err
		}
		k.Bound, k.Owner = &bound, bound.Owner
	}
	if err := s.putEAB(ctx, k, "eab-created", spec.Creator); err != nil {
		return enrol.EABKey{}, "", adminProblem(err, eabKeys, "")
	}
	return k.shown(0), base64.RawURLEncoding.EncodeToString(secret), nil
}

func (s *Server) checkSpec(spec enrol.EABSpec) error {
	form := regexp.MustCompile(nameForm)
	malformed := func(rule, value, detail string) error {
		return &problem.Problem{Kind: problem.Malformed, Rule: rule, Value: value, Detail: detail, Allowed: nameForm}
	}
	switch {
	case s.config.EAB == EABOff:
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Rule: "acme.eab", Value: string(EABOff), Detail: "external account bindings are switched off",
			Help: "set acme.eab to optional or required",
		}
	case !form.MatchString(spec.Name):
		return malformed("name", spec.Name, "the key has no name, or one that has not the form of a name")
	case spec.Owner != "" && !form.MatchString(spec.Owner):
		return malformed("owner", spec.Owner, "the owner has not the form of an owner")
	case spec.TTL < 0:
		return &problem.Problem{Kind: problem.Malformed, Rule: "ttl", Value: spec.TTL.String(), Detail: "the key would have expired already"}
	case spec.Bound != nil && spec.Bound.Owner != "" && spec.Owner != "" && spec.Bound.Owner != spec.Owner:
		return &problem.Problem{Kind: problem.Malformed, Rule: "owner", Value: spec.Owner, Detail: "the key and its grant name two owners"}
	}
	return nil
}

// putEAB writes a key with its entry in the ledger.
func (s *Server) putEAB(ctx context.Context, k *eabKey, event, by string) error {
	put, err := k.put()
	if err != nil {
		return err
	}
	draft, err := entry.Account{Event: event, EAB: k.ID}.Draft(by)
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, storage.Unit{put, storage.AppendEntry{Entry: draft}})
	return err
}

// RevokeEAB ends a key: no further account is made by it, and its secret is gone.
// The accounts that it has made stay.
func (s *Server) RevokeEAB(ctx context.Context, id, actor string) (enrol.EABKey, error) {
	for {
		k, err := read(ctx, s, eabCollection, id, decodeEAB)
		if err != nil {
			return enrol.EABKey{}, adminProblem(err, eabKeys, id)
		}
		if !k.Revoked {
			k.Revoked, k.Secret, k.Sealed = true, nil, false
			err := s.putEAB(ctx, k, "eab-revoked", actor)
			if errors.Is(err, storage.ErrConflict) {
				continue
			}
			if err != nil {
				return enrol.EABKey{}, adminProblem(err, eabKeys, id)
			}
		}
		return s.countedEAB(ctx, k)
	}
}

// EABKeys are one page of the keys, by ID, after next of the page before.
func (s *Server) EABKeys(ctx context.Context, after []byte, limit int) (page []enrol.EABKey, next []byte, err error) {
	return list(ctx, s, eabCollection, "", "", after, limit, func(r storage.Record) (enrol.EABKey, error) {
		k, err := decodeEAB(r)
		if err != nil {
			return enrol.EABKey{}, err
		}
		return s.countedEAB(ctx, k)
	})
}

func (s *Server) countedEAB(ctx context.Context, k *eabKey) (enrol.EABKey, error) {
	used, err := s.store.TokenUses(ctx, k.tokenID())
	return k.shown(used), err
}

func (k *eabKey) shown(used uint32) enrol.EABKey {
	return enrol.EABKey{
		ID: k.ID, Name: k.Name, Owner: k.Owner, Bound: k.Bound, Uses: k.Uses, Used: used, Created: k.Created, Expires: k.Expires,
		Disabled: k.Revoked, Creator: k.Creator,
	}
}

// Account is one account; NotFound.
func (s *Server) Account(ctx context.Context, id string) (enrol.Account, error) {
	a, err := s.account(ctx, id)
	if err != nil {
		return enrol.Account{}, adminProblem(err, accounts, id)
	}
	return a.shown(), nil
}

// Accounts are one page of the accounts, by ID, after next of the page before.
func (s *Server) Accounts(ctx context.Context, after []byte, limit int) (page []enrol.Account, next []byte, err error) {
	return list(ctx, s, accountCollection, "", "", after, limit, func(r storage.Record) (enrol.Account, error) {
		a, err := decodeAccount(r)
		if err != nil {
			return enrol.Account{}, err
		}
		return a.shown(), nil
	})
}

// DeactivateAccount ends an account: whatever it asks from then on is refused. One
// that is not valid is left as it is.
func (s *Server) DeactivateAccount(ctx context.Context, id, actor string) (enrol.Account, error) {
	for {
		a, err := s.account(ctx, id)
		if err != nil {
			return enrol.Account{}, adminProblem(err, accounts, id)
		}
		if a.Status != statusValid {
			return a.shown(), nil
		}
		next, err := s.deactivate(ctx, a, actor)
		if err == nil {
			return next.shown(), nil
		}
		var f *fault
		if !errors.As(err, &f) || !f.is(Unauthorized) { // else it has changed meanwhile: begin again
			return enrol.Account{}, adminProblem(err, accounts, id)
		}
	}
}

func (a *account) shown() enrol.Account {
	return enrol.Account{
		ID: a.ID, Status: a.Status, Contacts: a.Contacts, Owner: a.Owner, EAB: a.EAB, EABName: a.EABName,
		Thumbprint: a.Thumbprint, Terms: a.Terms, Created: a.Created,
	}
}

// list reads one page of a collection.
func list[T any](
	ctx context.Context, s *Server, collection, index, value string, after []byte, limit int, decode func(storage.Record) (T, error),
) ([]T, []byte, error) {
	page, err := s.store.Records(ctx, collection, index, value, after, limit)
	if err != nil {
		return nil, nil, adminProblem(err, kind{}, "")
	}
	out := make([]T, 0, len(page.Records))
	for _, r := range page.Records {
		each, err := decode(r)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, each)
	}
	return out, page.Next, nil
}

// kind is one of what an admin names, and what lists them.
type kind struct{ name, list string }

var (
	eabKeys  = kind{"EAB key", "certwright eab list shows them"}
	accounts = kind{"ACME account", "certwright account list shows them"}
	orders   = kind{"ACME order", "certwright cert explain --failed lists those that failed"}
)

// adminProblem is what an admin is told of one of a kind.
func adminProblem(err error, of kind, id string) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		detail := "there is no such " + of.name
		if id != "" {
			detail = fmt.Sprintf("there is no %s %.64q", of.name, id)
		}
		return &problem.Problem{Kind: problem.NotFound, Value: id, Detail: detail, Help: of.list, Err: err}
	case errors.Is(err, storage.ErrOverloaded):
		return &problem.Problem{Kind: problem.Overloaded, Detail: "too many requests are waiting", Help: "try again", Err: err}
	case errors.Is(err, storage.ErrReadOnly), errors.Is(err, storage.ErrUnknownOutcome):
		return &problem.Problem{Kind: problem.Unavailable, Detail: "the store takes no writes", Err: err}
	}
	return err
}
