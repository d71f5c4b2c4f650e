package acme

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// commitAgain is how long a validation's outcome waits for a busy store.
const commitAgain = time.Second

// maxHops bounds what is kept of the hosts that a validation contacted.
const maxHops = 4

// validate makes one attempt at the challenge in processing of an authorization
// and records how it ended. again is when the next attempt is due, problem why
// this one failed.
func (s *Server) validate(ctx context.Context, t *task) (again *time.Time, problem *Document) {
	z, err := read(ctx, s, authzCollection, t.authz, decodeAuthorization)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return s.later(ctx, t, err)
	}
	c := z.asked(t.kind)
	if c == nil {
		return nil, nil
	}
	a, err := s.account(ctx, z.Account)
	if err != nil {
		return s.later(ctx, t, err)
	}
	evidence, failure := s.attempt(ctx, a, z, c)
	if ctx.Err() != nil { // the server is stopping: the next run takes it up
		return nil, nil
	}
	t.attempt++
	c.Attempts = t.attempt
	c.Hops, c.Record = evidence.Hops[max(0, len(evidence.Hops)-maxHops):], evidence.Record
	if failure != nil && failure.retry && t.attempt <= len(s.config.Retries) {
		at := s.now().Add(s.config.Retries[t.attempt-1])
		return &at, failure.document
	}
	if err := s.settle(ctx, a, z, c, failure); err != nil {
		return s.later(ctx, t, err)
	}
	return nil, nil
}

// later tries again when the store could not be read or written.
func (s *Server) later(ctx context.Context, t *task, err error) (*time.Time, *Document) {
	if ctx.Err() != nil || errors.Is(err, storage.ErrReadOnly) || errors.Is(err, storage.ErrUnknownOutcome) {
		return nil, nil
	}
	s.logger.LogAttrs(ctx, slog.LevelWarn, "validation was not recorded; it is tried again", slog.String("authorization", t.authz), slog.Any("error", err))
	at := s.now().Add(commitAgain)
	return &at, nil
}

// asked is the challenge that the client has asked to be validated: the one in
// processing, else the pending one of the kind. nil if there is none, or if the
// authorization is decided.
func (z *authorization) asked(kind string) *proof {
	if z.Status != statusPending {
		return nil
	}
	if c := z.processing(); c != nil {
		return c
	}
	if c := z.challenge(kind); c != nil && c.Status == statusPending {
		return c
	}
	return nil
}

// processing is the challenge that is being validated; nil if there is none.
func (z *authorization) processing() *proof {
	i := slices.IndexFunc(z.Challenges, func(c proof) bool { return c.Status == statusProcessing })
	if i < 0 {
		return nil
	}
	return &z.Challenges[i]
}

// failed is why an attempt failed.
type failed struct {
	document *Document
	retry    bool
}

// attempt asks the validator once.
func (s *Server) attempt(ctx context.Context, a *account, z *authorization, c *proof) (challenge.Evidence, *failed) {
	v := s.validators[c.Type]
	switch {
	case v == nil:
		return challenge.Evidence{}, &failed{&refuse(Malformed, "the challenge %s is not offered any more", c.Type).Document, false}
	case a.Status != statusValid:
		return challenge.Evidence{}, &failed{&refuse(Unauthorized, "the account is %s", a.Status).Document, false}
	case z.status(s.now()) == statusExpired:
		return challenge.Evidence{}, &failed{&refuse(Malformed, "the authorization has expired").Document, false}
	}
	target := challenge.Target{Identifier: z.Identifier.identity(), Wildcard: z.Wildcard, AccountURL: s.accountURL(a.ID)}
	if challenge.TokenRequired(c.Type) {
		target.Token, target.KeyAuthorization = z.Token, z.Token+"."+a.Thumbprint
	}
	evidence, err := v.Validate(ctx, target)
	if err == nil {
		return evidence, nil
	}
	return evidence, failureOf(err)
}

// failureOf is what a validator's error is for a client.
func failureOf(err error) *failed {
	var e *challenge.Error
	if !errors.As(err, &e) {
		f := asFault(err)
		return &failed{&f.Document, problem.KindOf(err) == problem.Unavailable}
	}
	f := refuse(Type(e.Type), "%s", e.Text())
	return &failed{&f.Document, e.Temporary}
}

// settle records the outcome: challenge and authorization are valid or invalid.
func (s *Server) settle(ctx context.Context, a *account, z *authorization, c *proof, failure *failed) error {
	now := s.now().UTC().Truncate(time.Second)
	if failure == nil {
		c.Status, c.Validated = statusValid, now
	} else {
		c.Status, c.Error = statusInvalid, failure.document
		s.limits.failures.take(failureKey(a.ID, z.Identifier.identity()))
	}
	for {
		if z.Status = c.Status; z.Status == statusValid {
			z.Expires = now.Add(s.config.AuthorizationLifetime)
		}
		put, err := z.put(now)
		if err != nil {
			return err
		}
		if _, err = s.store.Commit(ctx, storage.Unit{put}); !errors.Is(err, storage.ErrConflict) {
			return err
		}
		again, err := read(ctx, s, authzCollection, z.ID, decodeAuthorization)
		if err != nil {
			return err
		}
		to := again.asked(c.Type)
		if to == nil || to.Type != c.Type { // deactivated meanwhile: that holds
			return nil
		}
		*to = *c
		z, c = again, to
	}
}

// The bounds of the questions for CAA, which the client waits for.
const (
	caaParallel = 16
	caaTime     = 20 * time.Second
)

// checkCAA asks for the CAA records of each DNS name of an order, with the method
// by which it was authorized (RFC 8659, RFC 8657).
func (s *Server) checkCAA(ctx context.Context, a *account, all []*authorization) error {
	if s.config.CAA == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, caaTime)
	defer cancel()
	found := make([]*Document, len(all))
	var g errgroup.Group
	g.SetLimit(caaParallel)
	for i, z := range all {
		if z.Identifier.Type == string(identity.DNS) {
			g.Go(func() error {
				found[i] = s.askCAA(ctx, a, z)
				return nil
			})
		}
	}
	_ = g.Wait() // none returns an error
	var subs []Document
	for _, sub := range found {
		if sub != nil {
			subs = append(subs, *sub)
		}
	}
	if len(subs) == 0 {
		return nil
	}
	return join("CAA records do not allow this certificate", subs).with(403)
}

// askCAA is why the CAA records forbid one name; nil if they allow it.
func (s *Server) askCAA(ctx context.Context, a *account, z *authorization) *Document {
	query := challenge.CAAQuery{
		Name: z.Identifier.Value, Wildcard: z.Wildcard, IssuerDomains: s.config.IssuerDomains, AccountURL: s.accountURL(a.ID),
	}
	for _, c := range z.Challenges {
		if c.Status == statusValid {
			query.Method = c.Type
		}
	}
	err := s.config.CAA(ctx, query)
	if err == nil {
		return nil
	}
	sub := *failureOf(err).document
	sub.Identifier = &z.Identifier
	return &sub
}
