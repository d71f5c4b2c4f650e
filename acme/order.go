package acme

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/certwright/certwright/storage"
)

// orderObject is an order as clients see it (RFC 8555 §7.1.3).
type orderObject struct {
	Status         string       `json:"status"`
	Expires        time.Time    `json:"expires"`
	Identifiers    []Identifier `json:"identifiers"`
	NotBefore      time.Time    `json:"notBefore,omitzero"`
	NotAfter       time.Time    `json:"notAfter,omitzero"`
	Error          *Document    `json:"error,omitempty"`
	Authorizations []string     `json:"authorizations"`
	Finalize       string       `json:"finalize"`
	Certificate    string       `json:"certificate,omitempty"`
	Profile        string       `json:"profile,omitempty"`
	Replaces       string       `json:"replaces,omitempty"`
}

func (s *Server) orderURL(id string) string { return s.base + "/order/" + id }

// orderObject shows an order whose authorizations are all given.
func (s *Server) orderObject(o *order, all []*authorization) orderObject {
	status, problem := s.orderState(o, all)
	out := orderObject{
		Status: status, Expires: o.Expires, Identifiers: o.Identifiers, NotBefore: o.NotBefore, NotAfter: o.NotAfter,
		Error: problem, Finalize: s.orderURL(o.ID) + "/finalize", Profile: o.Profile, Replaces: o.Replaces,
		Authorizations: make([]string, len(o.Authorizations)),
	}
	for i, id := range o.Authorizations {
		out.Authorizations[i] = s.authzURL(id)
	}
	if status == statusValid {
		out.Certificate = s.base + "/cert/" + o.ID
	}
	return out
}

// orderState is the order's state (RFC 8555 §7.1.6). While it is pending, it
// follows from its authorizations: that is one write less for each of them, and no
// order can say ready when an authorization no longer is.
func (s *Server) orderState(o *order, all []*authorization) (string, *Document) {
	if o.Status != statusPending {
		return o.Status, o.Error
	}
	now := s.now()
	if !now.Before(o.Expires) {
		return statusInvalid, &refuse(Malformed, "the order has expired").Document
	}
	status := statusReady
	for i, id := range o.Identifiers {
		if i >= len(all) || all[i] == nil || !all[i].covers(o.Account, id) {
			return statusInvalid, &refuse(Unauthorized, "the authorization for %s is gone", id.Value).Document
		}
		switch z := all[i]; z.status(now) {
		case statusValid:
		case statusPending:
			status = statusPending
		case statusInvalid:
			return statusInvalid, z.failure()
		default:
			return statusInvalid, &refuse(Unauthorized, "the authorization for %s is %s", id.Value, z.status(now)).Document
		}
	}
	return status, nil
}

// covers tells whether the authorization is the account's, and for exactly this
// identifier of an order.
func (z *authorization) covers(account string, id Identifier) bool {
	base, wildcard := baseOf(id.identity())
	return z.Account == account && z.Identifier == wire(base) && z.Wildcard == wildcard
}

// failure is the problem of the challenge that failed, with the identifier.
func (z *authorization) failure() *Document {
	for _, c := range z.Challenges {
		if c.Status == statusInvalid && c.Error != nil {
			problem := *c.Error
			problem.Identifier = &z.Identifier
			return &problem
		}
	}
	return &refuse(Unauthorized, "the authorization for %s is invalid", z.Identifier.Value).Document
}

// authorizations are those of an order; nil in the place of one that is gone.
// They are not asked for if the order's state does not follow from them.
func (s *Server) authorizations(ctx context.Context, o *order) ([]*authorization, error) {
	if o.Status != statusPending {
		return nil, nil
	}
	all := make([]*authorization, len(o.Authorizations))
	for i, id := range o.Authorizations {
		z, err := read(ctx, s, authzCollection, id, decodeAuthorization)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, storeFault(err)
		}
		all[i] = z
	}
	return all, nil
}

// ownOrder reads an order of the caller, and while it is pending its
// authorizations.
func (s *Server) ownOrder(ctx context.Context, q *request) (*order, []*authorization, error) {
	o, err := read(ctx, s, orderCollection, q.args[0], decodeOrder)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, notFound("order")
	}
	if err != nil {
		return nil, nil, storeFault(err)
	}
	if err := q.own(o.Account); err != nil {
		return nil, nil, err
	}
	if o.Status != statusPending { // they decide nothing any more
		return o, nil, nil
	}
	all, err := s.authorizations(ctx, o)
	return o, all, err
}

// getOrder answers with an order.
func (s *Server) getOrder(ctx context.Context, q *request) error {
	if err := q.asGet(); err != nil {
		return err
	}
	o, all, err := s.ownOrder(ctx, q)
	if err != nil {
		return err
	}
	return s.answerOrder(q, o, all)
}

// answerOrder answers with Location, on which some clients rely after finalize.
func (s *Server) answerOrder(q *request, o *order, all []*authorization) error {
	object := s.orderObject(o, all)
	q.location(s.orderURL(o.ID))
	if object.Status == statusPending || object.Status == statusProcessing {
		q.retryAfter(time.Second)
	}
	return q.json(http.StatusOK, object)
}

// ordersPage is how many orders one page of the list has.
const ordersPage = 100

// listOrders lists an account's orders but the invalid ones, oldest first (RFC 8555
// §7.1.2.1).
func (s *Server) listOrders(ctx context.Context, q *request) error {
	if err := q.asGet(); err != nil {
		return err
	}
	if err := q.own(q.args[0]); err != nil {
		return err
	}
	var after []byte
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if cursor := query.Get("cursor"); cursor != "" {
		after, err = base64.RawURLEncoding.DecodeString(cursor)
	}
	if err != nil || len(after) > 0 && !isID(string(after)) {
		return refuse(Malformed, "the cursor is not one of this server's")
	}
	page, err := s.store.Records(ctx, orderCollection, indexAccount, q.account.ID, after, ordersPage)
	if err != nil {
		return storeFault(err)
	}
	list := struct {
		Orders []string `json:"orders"`
	}{[]string{}}
	for _, r := range page.Records {
		o, err := decodeOrder(r)
		if err != nil {
			return err
		}
		if o.Status == statusInvalid || o.Status == statusPending && !s.now().Before(o.Expires) {
			continue
		}
		list.Orders = append(list.Orders, s.orderURL(r.ID))
	}
	if page.Next != nil {
		q.link(s.accountURL(q.account.ID)+"/orders?cursor="+base64.RawURLEncoding.EncodeToString(page.Next), "next")
	}
	return q.json(http.StatusOK, list)
}
