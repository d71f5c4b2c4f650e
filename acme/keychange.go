package acme

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/storage"
)

// rawObject is a JSON object that is read later; null is none.
type rawObject []byte

// UnmarshalJSON keeps the text.
func (r *rawObject) UnmarshalJSON(text []byte) error {
	if string(text) != "null" {
		*r = append((*r)[:0], text...)
	}
	return nil
}

// keyChange gives an account another key (RFC 8555 §7.3.5). Of many from one key
// exactly one succeeds: it is a compare-and-swap of the account, and a key can be
// that of one account only.
func (s *Server) keyChange(ctx context.Context, q *request) error {
	inner, err := jws.Parse(q.payload, jws.KeyRoll)
	if err != nil {
		return faultOf(err)
	}
	if inner.URL != q.url {
		return refuse(Malformed, "the URL of the inner JWS is not that of the outer one")
	}
	if err := checkAccountKey(inner.Key); err != nil {
		return err
	}
	if err := inner.Verify(inner.Key.Key); err != nil {
		return faultOf(err)
	}
	if err := s.checkKeyChange(q, inner.Payload); err != nil {
		return err
	}
	if err := s.usable(ctx, inner.Key); err != nil {
		return err
	}
	fresh, err := s.draftAccount(inner.Key)
	if err != nil {
		return err
	}
	next := *q.account
	next.key, next.Key, next.Thumbprint = fresh.key, fresh.Key, fresh.Thumbprint
	if next.Thumbprint == q.account.Thumbprint {
		return s.keyConflict(q.account.ID, "the account has this key already")
	}
	for {
		if holder, err := s.byThumbprint(ctx, next.Thumbprint); err == nil {
			return s.keyConflict(holder.ID, "the key is another account's")
		} else if !errors.Is(err, storage.ErrNotFound) {
			return storeFault(err)
		}
		err := s.putKey(ctx, &next)
		if err == nil {
			return s.answerAccount(q, http.StatusOK, &next)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return storeFault(err)
		}
		again, err := s.moved(ctx, q.account)
		if err != nil {
			return err
		}
		next.version, next.Contacts, next.Terms = again.version, again.Contacts, again.Terms
	}
}

// keyConflict names the account that has the key (RFC 8555 §7.3.5).
func (s *Server) keyConflict(holder, detail string) error {
	return refuse(Malformed, "%s", detail).with(http.StatusConflict).add("Location", s.accountURL(holder))
}

// checkKeyChange checks the inner payload: the account and its old key.
func (s *Server) checkKeyChange(q *request, payload []byte) error {
	var p struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}
	inner := request{payload: payload}
	if err := inner.decode(&p); err != nil {
		return err
	}
	if p.Account != s.accountURL(q.account.ID) {
		return refuse(Malformed, "the inner JWS is for another account")
	}
	old, err := jws.ParseKey(p.OldKey)
	if err != nil {
		return refuse(Malformed, "oldKey: %s", err)
	}
	was, err := s.draftAccount(old)
	if err != nil {
		return err
	}
	if was.Thumbprint != q.account.Thumbprint {
		return refuse(Malformed, "oldKey is not the account's key")
	}
	return nil
}

func (s *Server) putKey(ctx context.Context, next *account) error {
	put, err := next.put()
	if err != nil {
		return err
	}
	event, err := s.accountEvent("key-changed", &account{ID: next.ID, Thumbprint: next.Thumbprint, EAB: next.EAB}, actor(next.ID))
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, append(storage.Unit{put}, event...))
	return err
}
