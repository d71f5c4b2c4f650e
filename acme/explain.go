package acme

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/storage"
)

// Order is one order with its authorizations, and what validation has contacted;
// NotFound.
func (s *Server) Order(ctx context.Context, id string) (enrol.Order, error) {
	o, err := read(ctx, s, orderCollection, id, decodeOrder)
	if err != nil {
		return enrol.Order{}, adminProblem(err, orders, "")
	}
	return s.explained(ctx, o)
}

// OrderOf is the order that was finalized under a request key; NotFound.
func (s *Server) OrderOf(ctx context.Context, requestKey [32]byte) (enrol.Order, error) {
	page, err := s.store.Records(ctx, orderCollection, indexIntent, hex.EncodeToString(requestKey[:]), nil, 1)
	if err == nil && len(page.Records) == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return enrol.Order{}, adminProblem(err, orders, "")
	}
	o, err := decodeOrder(page.Records[0])
	if err != nil {
		return enrol.Order{}, err
	}
	return s.explained(ctx, o)
}

// Orders are one page of an account's orders, or of all with account "", by ID,
// after next of the page before; without authorizations.
func (s *Server) Orders(ctx context.Context, account string, after []byte, limit int) (page []enrol.Order, next []byte, err error) {
	index := ""
	if account != "" {
		index = indexAccount
	}
	return list(ctx, s, orderCollection, index, account, after, limit, func(r storage.Record) (enrol.Order, error) {
		o, err := decodeOrder(r)
		if err != nil {
			return enrol.Order{}, err
		}
		shown, err := s.explained(ctx, o) // whether it has failed follows from its authorizations
		shown.Authorizations = nil
		return shown, err
	})
}

func (s *Server) explained(ctx context.Context, o *order) (enrol.Order, error) {
	out := o.shown()
	all := make([]*authorization, len(o.Authorizations))
	for i, id := range o.Authorizations {
		z, err := read(ctx, s, authzCollection, id, decodeAuthorization)
		if errors.Is(err, storage.ErrNotFound) {
			continue // swept
		}
		if err != nil {
			return out, adminProblem(err, orders, "")
		}
		all[i] = z
		shown := z.shown()
		shown.Status = z.status(s.now())
		out.Authorizations = append(out.Authorizations, shown)
	}
	var failure *Document
	out.Status, failure = s.orderState(o, all)
	out.Failure = failure.shown()
	return out, nil
}

func (o *order) shown() enrol.Order {
	out := enrol.Order{
		ID: o.ID, Account: o.Account, Status: o.Status, Identifiers: o.names(), Profile: o.Profile, Replaces: o.Replaces,
		Created: o.Created, Expires: o.Expires, Failure: o.Error.shown(),
	}
	if raw, err := hex.DecodeString(o.Intent); err == nil && len(raw) == 32 {
		out.RequestKey = (*[32]byte)(raw)
	}
	return out
}

func (z *authorization) shown() enrol.Authorization {
	out := enrol.Authorization{
		ID: z.ID, Identifier: z.Identifier.identity(), Wildcard: z.Wildcard, Status: z.Status, Expires: z.Expires, Grant: z.Grant,
	}
	for _, c := range z.Challenges {
		shown := enrol.Challenge{
			Type: c.Type, Status: c.Status, Validated: c.Validated, Attempts: c.Attempts, Record: c.Record, Failure: c.Error.shown(),
		}
		for _, hop := range c.Hops {
			shown.Hops = append(shown.Hops, enrol.Hop{Host: hop.Host, Port: hop.Port, Addresses: hop.Addresses})
		}
		out.Challenges = append(out.Challenges, shown)
	}
	return out
}

func (d *Document) shown() *enrol.Failure {
	if d == nil {
		return nil
	}
	out := enrol.Failure{Type: strings.TrimPrefix(d.Type, typePrefix), Detail: d.Detail}
	if d.Identifier != nil {
		id := d.Identifier.identity()
		out.Identifier = &id
	}
	for i := range d.Subproblems {
		out.Parts = append(out.Parts, *d.Subproblems[i].shown())
	}
	return &out
}
