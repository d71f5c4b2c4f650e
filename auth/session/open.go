package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/certwright/certwright/auth/secret"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Wish is what somebody who has proven himself wants to open.
type Wish struct {
	Principal identity.Principal
	// Lifetime, at most the configured one; 0: that.
	Lifetime time.Duration
	// Until is the end of what it was proven with, which no session outlives; zero:
	// none.
	Until time.Time
	// Once makes the proof good for one session: its record must be new. nil: it is
	// good for more.
	Once *storage.PutRecord
	// Name is what the session is to be called, if the principal's claims, which are kept,
	// do not say it. Optional.
	Name string
	// Address of who asks.
	Address string
}

// Open opens a session and answers it with its secret text, the only time that the
// secret is known. It stands in the ledger, in the same unit as the use of the
// proof and the end of the oldest session if there are too many.
func (s *Sessions) Open(ctx context.Context, w Wish) (Session, string, error) {
	if w.Lifetime < 0 || w.Lifetime > s.config.Lifetime || w.Lifetime > 0 && w.Lifetime < MinLifetime {
		return Session{}, "", &problem.Problem{
			Kind: problem.Malformed, Rule: "lifetime", Value: w.Lifetime.String(), Detail: "a session cannot last as long as that",
			Allowed: MinLifetime.String() + " to " + s.config.Lifetime.String(), Help: "leave it out for the longest",
		}
	}
	if w.Lifetime == 0 {
		w.Lifetime = s.config.Lifetime
	}
	const attempts = 5 // others of the same principal may come between
	for n := 1; ; n++ {
		opened, text, err := s.open(ctx, w)
		switch {
		case err == nil:
			s.tally.opened()
			s.config.Logger.InfoContext(ctx, "session opened", slog.String("session", opened.ID), slog.String("by", w.Principal.String()))
			return opened, text, nil
		case !errors.Is(err, storage.ErrConflict):
			return Session{}, "", s.tally.refused(err)
		case n == attempts:
			return Session{}, "", problem.New(problem.Overloaded, "other sessions of this principal are being opened")
		}
	}
}

// open is one attempt.
func (s *Sessions) open(ctx context.Context, w Wish) (Session, string, error) {
	if err := s.unused(ctx, w.Once); err != nil {
		return Session{}, "", err
	}
	now := s.config.Now().UTC()
	r, err := newRecord(w.Principal)
	if err != nil {
		return Session{}, "", err
	}
	id, key := secret.NewID(now), secret.New()
	hash := key.Hash()
	r.Hash, r.Name, r.Address, r.Created, r.Expires = hash[:], w.Name, w.Address, now, now.Add(w.Lifetime)
	if !w.Until.IsZero() && w.Until.Before(r.Expires) {
		r.Expires = w.Until.UTC()
	}
	unit, err := s.makeRoom(ctx, w.Principal, now)
	if err != nil {
		return Session{}, "", err
	}
	put, err := r.put(id.String(), 0)
	if err != nil {
		return Session{}, "", err
	}
	action, err := did(actionOpened, id.String(), put.Body, w.Principal.String())
	if err != nil {
		return Session{}, "", err
	}
	unit = append(unit, action, put)
	if w.Once != nil {
		unit = append(unit, *w.Once)
	}
	if _, err := s.config.Store.Commit(ctx, unit); err != nil {
		return Session{}, "", fmt.Errorf("session: %w", err)
	}
	opened, err := r.session(id.String())
	return opened, secret.Text(Prefix, id, key), err
}

// unused refuses a proof that has opened a session.
func (s *Sessions) unused(ctx context.Context, once *storage.PutRecord) error {
	if once == nil {
		return nil
	}
	switch _, err := s.config.Store.Record(ctx, once.Collection, once.ID); {
	case err == nil:
		return &problem.Problem{
			Kind: problem.Unauthenticated, Reason: "TOKEN_USED", Rule: "session",
			Detail: "the identity token has opened a session before", Help: "log in again: certwright login",
		}
	case !errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("session: %w", err)
	}
	return nil
}

// makeRoom guards the principal's sessions against others that are opened at the
// same time, and ends the oldest of them if there are as many as there may be.
func (s *Sessions) makeRoom(ctx context.Context, p identity.Principal, now time.Time) (storage.Unit, error) {
	guard := storage.PutRecord{Collection: guards, ID: keyOf(p.String()), Body: []byte{1}, Expires: now.Add(MaxLifetime + keep)}
	switch stored, err := s.config.Store.Record(ctx, guards, guard.ID); {
	case err == nil:
		guard.IfVersion = stored.Version
	case !errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("session: %w", err)
	}
	unit := storage.Unit{guard}
	active, kept := 0, 0
	var after []byte
	for {
		page, err := s.config.Store.Records(ctx, collection, indexPrincipal, guard.ID, after, 100)
		if err != nil {
			return nil, fmt.Errorf("session: %w", err)
		}
		for _, stored := range page.Records { // the newest first
			r, err := parseRecord(stored)
			if err != nil {
				return nil, err
			}
			if !r.Revoked.IsZero() || !now.Before(r.Expires) {
				continue
			}
			if active++; active < MaxOpen {
				continue
			}
			ended, err := end(stored, r, now, p.String())
			if err != nil {
				return nil, err
			}
			unit = append(unit, ended...)
		}
		if kept += len(page.Records); kept >= maxKept {
			return nil, &problem.Problem{
				Kind: problem.RateLimited, Reason: "TOO_MANY_SESSIONS", Rule: "session",
				Detail: "this principal has opened too many sessions in the last day", Allowed: strconv.Itoa(maxKept),
				Help: "keep a session until it ends instead of opening another for each call",
			}
		}
		if after = page.Next; after == nil {
			return unit, nil
		}
	}
}
