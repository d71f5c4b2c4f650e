package acme

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// maxContacts and maxContact bound an account's contacts.
const (
	maxContacts = 10
	maxContact  = 254
)

// accountObject is an account as clients see it (RFC 8555 §7.1.2).
type accountObject struct {
	Status   string   `json:"status"`
	Contacts []string `json:"contact,omitempty"`
	Terms    bool     `json:"termsOfServiceAgreed,omitempty"`
	Orders   string   `json:"orders"`
}

func (s *Server) accountURL(id string) string { return s.base + "/account/" + id }

// answerAccount answers with an account; Location also where nothing is made: some
// clients rely on it.
func (s *Server) answerAccount(q *request, status int, a *account) error {
	q.location(s.accountURL(a.ID))
	return q.json(status, accountObject{a.Status, a.Contacts, a.Terms, s.accountURL(a.ID) + "/orders"})
}

// accountPayload is the payload of newAccount and of account updates.
type accountPayload struct {
	Status   string    `json:"status"`
	Contacts *[]string `json:"contact"`
	Terms    bool      `json:"termsOfServiceAgreed"`
	Existing bool      `json:"onlyReturnExisting"`
	Binding  rawObject `json:"externalAccountBinding"`
}

// byThumbprint finds the account of a key; storage.ErrNotFound if there is none.
func (s *Server) byThumbprint(ctx context.Context, thumbprint string) (*account, error) {
	page, err := s.store.Records(ctx, accountCollection, indexKey, thumbprint, nil, 1)
	if err != nil {
		return nil, err
	}
	if len(page.Records) == 0 {
		return nil, storage.ErrNotFound
	}
	return decodeAccount(page.Records[0])
}

// newAccount makes an account or finds that of the key (RFC 8555 §7.3).
func (s *Server) newAccount(ctx context.Context, q *request) error {
	var p accountPayload
	if err := q.decode(&p); err != nil {
		return err
	}
	if err := s.usable(ctx, q.key); err != nil {
		return err
	}
	a, err := s.draftAccount(q.key)
	if err != nil {
		return err
	}
	for {
		existing, err := s.byThumbprint(ctx, a.Thumbprint)
		switch {
		case err == nil:
			return s.foundAccount(q, existing)
		case !errors.Is(err, storage.ErrNotFound):
			return storeFault(err)
		case p.Existing:
			return refuse(AccountDoesNotExist, "there is no account with this key")
		}
		err = s.makeAccount(ctx, q, a, p)
		if errors.Is(err, errKeyTaken) { // another request has made it meanwhile
			continue
		}
		if err != nil {
			return err
		}
		return s.answerAccount(q, http.StatusCreated, a)
	}
}

func (s *Server) foundAccount(q *request, a *account) error {
	if a.Status != statusValid {
		return refuse(Unauthorized, "the account of this key is %s", a.Status)
	}
	return s.answerAccount(q, http.StatusOK, a)
}

// draftAccount is a new account with a key.
func (s *Server) draftAccount(key *jose.JSONWebKey) (*account, error) {
	public := &jose.JSONWebKey{Key: key.Key} // without kid, use and alg
	text, err := public.MarshalJSON()
	if err != nil {
		return nil, refuse(BadPublicKey, "the key cannot be kept").because(err)
	}
	sum, err := jws.Thumbprint(public)
	if err != nil {
		return nil, refuse(BadPublicKey, "the key cannot be kept").because(err)
	}
	return &account{
		ID: newID(s.now()), key: public, Status: statusValid, Key: text,
		Thumbprint: base64.RawURLEncoding.EncodeToString(sum[:]), Created: s.now().UTC().Truncate(time.Second),
	}, nil
}

// errKeyTaken: there is an account with the key.
var errKeyTaken = errors.New("the key is another account's")

// makeAccount makes the account: its record, the use of its EAB key and its entry
// in the ledger are one unit.
func (s *Server) makeAccount(ctx context.Context, q *request, a *account, p accountPayload) error {
	if wait := s.limits.accounts.take(addressKey(q.r.RemoteAddr)); wait > 0 {
		return limited(wait, "new accounts from this address")
	}
	if s.config.Terms != "" && !p.Terms {
		f := refuse(UserActionRequired, "the terms of service must be agreed to: see %s", s.config.Terms)
		f.Instance = s.config.Terms
		return f.add("Link", "<"+s.config.Terms+`>;rel="terms-of-service"`)
	}
	a.Terms = p.Terms
	if p.Contacts != nil {
		a.Contacts = *p.Contacts
	}
	if err := checkContacts(a.Contacts); err != nil {
		return err
	}
	unit, err := s.bindIfAsked(ctx, q, a, p.Binding)
	if err != nil {
		return err
	}
	put, err := a.put()
	if err != nil {
		return err
	}
	event, err := s.accountEvent("created", a, actor(a.ID))
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, append(append(storage.Unit{put}, unit...), event...))
	if errors.Is(err, storage.ErrTokenSpent) {
		return refuse(Unauthorized, "the external account key has no use left").because(err)
	}
	if errors.Is(err, storage.ErrConflict) {
		if _, err := s.byThumbprint(ctx, a.Thumbprint); err == nil {
			return errKeyTaken
		}
		return refuse(Unauthorized, "the external account key has just been changed").because(err)
	}
	return storeFault(err)
}

// actor is an account as the ledger's actor.
func actor(account string) string {
	return identity.Principal{Method: identity.ACME, ID: account}.String()
}

// accountEvent are the commands that record an event of an account. Contacts stand
// as commitments.
func (s *Server) accountEvent(event string, a *account, by string) (storage.Unit, error) {
	body := entry.Account{Event: event, Account: a.ID, EAB: a.EAB}
	sum, err := base64.RawURLEncoding.DecodeString(a.Thumbprint)
	if err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("account %s: its thumbprint is damaged", a.ID)
	}
	body.Key = [32]byte(sum)
	var unit storage.Unit
	for _, contact := range a.Contacts {
		c := storage.PutErasable{Value: []byte(contact)}
		_, _ = rand.Read(c.Salt[:]) // never fails
		c.Commitment = entry.Commit(c.Salt, c.Value)
		body.Contacts = append(body.Contacts, c.Commitment)
		unit = append(unit, c)
	}
	draft, err := body.Draft(by)
	return append(unit, storage.AppendEntry{Entry: draft}), err
}

// checkContacts takes mailto URLs with one address (RFC 8555 §7.3).
func checkContacts(contacts []string) error {
	if len(contacts) > maxContacts {
		return refuse(InvalidContact, "%d contacts: %d are allowed", len(contacts), maxContacts)
	}
	var subs []string
	for _, contact := range contacts {
		scheme, rest, ok := strings.Cut(contact, ":")
		if !ok || len(contact) > maxContact {
			return refuse(InvalidContact, "%.64q is not a mailto URL", contact)
		}
		if !strings.EqualFold(scheme, "mailto") {
			return refuse(UnsupportedContact, "contacts with the scheme %.16q are not supported, only mailto", scheme)
		}
		address, err := url.PathUnescape(rest)
		if err != nil || strings.ContainsAny(rest, "?,") {
			return refuse(InvalidContact, "%.64q is not a mailto URL with one address and no header fields", contact)
		}
		if _, err := (identity.Identifier{Type: identity.Email, Value: address}).Canonical(); err != nil {
			subs = append(subs, err.Error())
		}
	}
	if len(subs) > 0 {
		return refuse(InvalidContact, "%s", strings.Join(subs, "; "))
	}
	return nil
}

// updateAccount reads, changes or deactivates an account (RFC 8555 §7.3.2, §7.3.6).
func (s *Server) updateAccount(ctx context.Context, q *request) error {
	if err := q.own(q.args[0]); err != nil {
		return err
	}
	if len(q.payload) == 0 {
		return s.answerAccount(q, http.StatusOK, q.account)
	}
	var p accountPayload
	if err := q.decode(&p); err != nil {
		return err
	}
	switch p.Status {
	case "", statusValid:
	case statusDeactivated:
		a, err := s.deactivate(ctx, q.account, actor(q.account.ID))
		if err != nil {
			return err
		}
		return s.answerAccount(q, http.StatusOK, a)
	default:
		return refuse(Malformed, "an account's status can be set to deactivated only")
	}
	next := *q.account
	if p.Contacts != nil {
		next.Contacts = *p.Contacts
	}
	next.Terms = next.Terms || p.Terms
	if err := checkContacts(next.Contacts); err != nil {
		return err
	}
	if slices.Equal(next.Contacts, q.account.Contacts) && next.Terms == q.account.Terms {
		return s.answerAccount(q, http.StatusOK, q.account)
	}
	return s.changeContacts(ctx, q, &next)
}

func (s *Server) changeContacts(ctx context.Context, q *request, next *account) error {
	put, err := next.put()
	if err != nil {
		return err
	}
	event, err := s.accountEvent("contacts-changed", next, actor(next.ID))
	if err != nil {
		return err
	}
	if _, err := s.store.Commit(ctx, append(storage.Unit{put}, event...)); err != nil {
		return storeFault(err)
	}
	return s.answerAccount(q, http.StatusOK, next)
}

// deactivate deactivates an account whatever else is changed meanwhile.
func (s *Server) deactivate(ctx context.Context, a *account, by string) (*account, error) {
	for {
		next := *a
		next.Status = statusDeactivated
		put, err := next.put()
		if err != nil {
			return nil, err
		}
		event, err := s.accountEvent(statusDeactivated, &account{ID: a.ID, Thumbprint: a.Thumbprint, EAB: a.EAB}, by)
		if err != nil {
			return nil, err
		}
		_, err = s.store.Commit(ctx, append(storage.Unit{put}, event...))
		if !errors.Is(err, storage.ErrConflict) {
			return &next, storeFault(err)
		}
		if a, err = s.moved(ctx, a); err != nil {
			return nil, err
		}
	}
}
