package acme

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/storage"
)

// authzObject is an authorization as clients see it (RFC 8555 §7.1.4).
type authzObject struct {
	Identifier Identifier        `json:"identifier"`
	Status     string            `json:"status"`
	Expires    time.Time         `json:"expires"`
	Challenges []challengeObject `json:"challenges"`
	Wildcard   bool              `json:"wildcard,omitempty"`
}

// challengeObject is a challenge as clients see it (RFC 8555 §8).
type challengeObject struct {
	Type          string    `json:"type"`
	URL           string    `json:"url"`
	Status        string    `json:"status"`
	Token         string    `json:"token,omitempty"`
	Validated     time.Time `json:"validated,omitzero"`
	Error         *Document `json:"error,omitempty"`
	AccountURI    string    `json:"accounturi,omitempty"`          // of dns-persist-01
	IssuerDomains []string  `json:"issuer-domain-names,omitempty"` // of dns-persist-01
}

func (s *Server) authzURL(id string) string { return s.base + "/authz/" + id }

// newToken has 160 bits of entropy (RFC 8555 §8.1 asks for 128).
func newToken() string {
	var raw [20]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func (s *Server) authzObject(z *authorization) authzObject {
	out := authzObject{
		Identifier: z.Identifier, Status: z.status(s.now()), Expires: z.Expires, Wildcard: z.Wildcard, Challenges: []challengeObject{},
	}
	for _, c := range z.Challenges {
		// Once it is decided, what decided it is all there is to show.
		if z.Status != statusPending && c.Status == statusPending {
			continue
		}
		out.Challenges = append(out.Challenges, s.challengeObject(z, c))
	}
	return out
}

func (s *Server) challengeObject(z *authorization, c proof) challengeObject {
	out := challengeObject{
		Type: c.Type, URL: s.base + "/challenge/" + z.ID + "/" + c.Type, Status: c.Status, Validated: c.Validated, Error: c.Error,
	}
	if challenge.TokenRequired(c.Type) {
		out.Token = z.Token
	} else if v, ok := s.validators[c.Type].(interface{ IssuerDomains() []string }); ok {
		out.AccountURI, out.IssuerDomains = s.accountURL(z.Account), v.IssuerDomains()
	}
	if c.Status == statusProcessing && out.Error == nil {
		out.Error = s.pool.lastError(z.ID)
	}
	return out
}

// ownAuthorization reads an authorization of the caller.
func (s *Server) ownAuthorization(ctx context.Context, q *request) (*authorization, error) {
	z, err := read(ctx, s, authzCollection, q.args[0], decodeAuthorization)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, notFound("authorization")
	}
	if err != nil {
		return nil, storeFault(err)
	}
	return z, q.own(z.Account)
}

// authorization reads or deactivates an authorization (RFC 8555 §7.5, §7.5.2).
func (s *Server) authorization(ctx context.Context, q *request) error {
	if len(q.payload) > 0 {
		var p struct {
			Status string `json:"status"`
		}
		if err := q.decode(&p); err != nil {
			return err
		}
		if p.Status != statusDeactivated {
			return refuse(Malformed, "an authorization's status can be set to deactivated only")
		}
	}
	waited := false
	for {
		z, err := s.ownAuthorization(ctx, q)
		if err != nil {
			return err
		}
		if len(q.payload) == 0 {
			if z.processing() != nil && !waited {
				waited = true
				s.pool.await(ctx, z.ID)
				continue
			}
			if z.Status == statusPending {
				q.retryAfter(time.Second)
			}
			return q.json(http.StatusOK, s.authzObject(z))
		}
		switch z.status(s.now()) {
		case statusPending, statusValid:
		default:
			return refuse(Malformed, "the authorization is %s: it cannot be deactivated", z.status(s.now()))
		}
		z.Status = statusDeactivated
		put, err := z.put(s.now())
		if err != nil {
			return err
		}
		err = s.commitFor(ctx, q.account, storage.Unit{put})
		if errors.Is(err, storage.ErrConflict) { // a validation has ended meanwhile
			continue
		}
		if err != nil {
			return storeFault(err)
		}
		return q.json(http.StatusOK, s.authzObject(z))
	}
}

// respond tells the server to validate a challenge (RFC 8555 §7.5.1), or reads it.
// The validation runs outside of the request, which waits a little for its first
// attempt: what that decides needs no second unit. What it does not decide in time
// stands in the store as processing before the client is told so.
func (s *Server) respond(ctx context.Context, q *request) error {
	if len(q.payload) > 0 {
		var ignored struct{}
		if err := q.decode(&ignored); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		z, err := s.ownAuthorization(ctx, q)
		if err != nil {
			return err
		}
		c := z.challenge(q.args[1])
		if c == nil {
			return notFound("challenge")
		}
		if len(q.payload) == 0 || z.status(s.now()) != statusPending || c.Status != statusPending {
			return s.answerChallenge(q, z, c)
		}
		t, err := s.begin(z, c)
		if err != nil {
			return err
		}
		if t != nil && first {
			t.await(ctx, maxFirst)
			continue
		}
		c.Status = statusProcessing
		put, err := z.put(s.now())
		if err != nil {
			return err
		}
		err = s.commitFor(ctx, q.account, storage.Unit{put})
		if errors.Is(err, storage.ErrConflict) { // the same challenge, at the same time
			continue
		}
		if err != nil {
			return storeFault(err)
		}
		s.pool.add(z.Account, z.ID, c.Type)
		return s.answerChallenge(q, z, c)
	}
}

// begin has a pending challenge validated. The task is nil if the pool is full: then
// the store will say it.
func (s *Server) begin(z *authorization, c *proof) (*task, error) {
	if other := z.processing(); other != nil {
		return nil, busy(other.Type)
	}
	if err := s.limitValidation(z); err != nil {
		return nil, err
	}
	t := s.pool.add(z.Account, z.ID, c.Type)
	if t != nil && t.kind != "" && t.kind != c.Type {
		return nil, busy(t.kind)
	}
	return t, nil
}

// limitValidation refuses what would be one validation too many: of orders that were
// made before the name's had failed, or of an account that waits for very many.
func (s *Server) limitValidation(z *authorization) error {
	if s.pool.knows(z.ID) {
		return nil
	}
	if wait := s.limits.failures.wait(failureKey(z.Account, z.Identifier.identity())); wait > 0 {
		return limited(wait, "failed validations of this account for "+z.Identifier.Value)
	}
	if s.pool.full(z.Account) {
		f := refuse(RateLimited, "%d validations of this account are waiting: let them end first", s.config.MaxWaiting)
		f.retry = retryLater
		return f
	}
	return nil
}

// busy: an authorization is proven by one challenge at a time.
func busy(kind string) error {
	return refuse(Malformed, "the challenge %s of this authorization is being validated", kind).with(http.StatusConflict)
}

// challenge is the challenge of a type; nil if there is none.
func (z *authorization) challenge(kind string) *proof {
	for i := range z.Challenges {
		if z.Challenges[i].Type == kind {
			return &z.Challenges[i]
		}
	}
	return nil
}

func (s *Server) answerChallenge(q *request, z *authorization, c *proof) error {
	q.link(s.authzURL(z.ID), "up")
	object := s.challengeObject(z, *c)
	q.location(object.URL)
	if c.Status == statusProcessing {
		q.retryAfter(time.Second)
	}
	return q.json(http.StatusOK, object)
}
