package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/certwright/certwright/auth/secret"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Page is one page of sessions, newest first.
type Page struct {
	Sessions []Session
	Next     []byte // nil: that was the last page
}

// List is sessions, newest first, from after a page's Next on (nil: from the
// start), at most limit (1 to 1000) of them: those of a principal, by its text, or
// all of them if it is empty.
func (s *Sessions) List(ctx context.Context, principal string, after []byte, limit int) (Page, error) {
	index, value := "", ""
	if principal != "" {
		index, value = indexPrincipal, keyOf(principal)
	}
	records, err := s.config.Store.Records(ctx, collection, index, value, after, limit)
	if err != nil {
		return Page{}, fmt.Errorf("sessions: %w", err)
	}
	page := Page{Next: records.Next}
	for _, stored := range records.Records {
		r, err := parseRecord(stored)
		if err != nil {
			return Page{}, err
		}
		session, err := r.session(stored.ID)
		if err != nil {
			return Page{}, err
		}
		page.Sessions = append(page.Sessions, session)
	}
	return page, nil
}

// Get is one session by its ID; NotFound.
func (s *Sessions) Get(ctx context.Context, id string) (Session, error) {
	stored, r, err := s.read(ctx, id)
	if err != nil {
		return Session{}, err
	}
	return r.session(stored.ID)
}

// Revoke ends a session: from its return on, no call is served by it. One that is
// revoked already is answered as it is.
func (s *Sessions) Revoke(ctx context.Context, id, actor string) (Session, error) {
	// A conflict means that another call has revoked it meanwhile: the second
	// look finds that.
	for attempt := 0; ; attempt++ {
		session, err := s.revoke(ctx, id, actor)
		if !errors.Is(err, storage.ErrConflict) || attempt > 0 {
			return session, err
		}
	}
}

func (s *Sessions) revoke(ctx context.Context, id, actor string) (Session, error) {
	stored, r, err := s.read(ctx, id)
	if err != nil {
		return Session{}, err
	}
	if !r.Revoked.IsZero() {
		return r.session(stored.ID)
	}
	now := s.config.Now().UTC()
	unit, err := end(stored, r, now, actor)
	if err != nil {
		return Session{}, err
	}
	if _, err := s.config.Store.Commit(ctx, unit); err != nil {
		return Session{}, fmt.Errorf("session %s: %w", stored.ID, err)
	}
	s.tally.revoked()
	s.config.Logger.InfoContext(ctx, "session revoked", slog.String("session", stored.ID), slog.String("by", actor))
	r.Revoked = now
	return r.session(stored.ID)
}

// end is the commands that revoke a session.
func end(stored storage.Record, r record, now time.Time, actor string) (storage.Unit, error) {
	r.Revoked = now
	put, err := r.put(stored.ID, stored.Version)
	if err != nil {
		return nil, err
	}
	action, err := did(actionRevoked, stored.ID, put.Body, actor)
	return storage.Unit{action, put}, err
}

func (s *Sessions) read(ctx context.Context, text string) (storage.Record, record, error) {
	id, ok := secret.ParseID(text)
	if !ok {
		return storage.Record{}, record{}, NotFound(text)
	}
	stored, err := s.config.Store.Record(ctx, collection, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Record{}, record{}, NotFound(text)
	} else if err != nil {
		return storage.Record{}, record{}, fmt.Errorf("session: %w", err)
	}
	r, err := parseRecord(stored)
	return stored, r, err
}

// NotFound is the answer about a session that is not there for the caller.
func NotFound(id string) error {
	return &problem.Problem{
		Kind: problem.NotFound, Reason: "SESSION_NOT_FOUND", Detail: fmt.Sprintf("there is no session %.64q", id),
		Help: "List them: certwright session list.",
	}
}
