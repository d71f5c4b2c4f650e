// Package ari says when a certificate is to be renewed (RFC 9773 §4.2): the one
// answer for ACME clients and for those of the API.
package ari

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/storage"
)

// Collection holds, by certificate, a time before which it is to be replaced.
const Collection = "acme-window"

// The bounds of the time after which a client asks again (RFC 9773 §4.3.3).
const (
	askAgain     = 6 * time.Hour
	askAgainSoon = time.Minute
)

// Window is when to renew: at a random time in it.
type Window struct {
	Start, End  time.Time     // whole seconds, UTC
	Explanation string        // URL; empty: it is the usual window
	AskAgain    time.Duration // after which to look again
}

// pulled is a window that was pulled forward.
type pulled struct {
	Before      time.Time `json:"before"`
	Explanation string    `json:"explanation,omitempty"`
}

// Of is from two thirds to three quarters of the certificate's life; in the past
// once it is revoked; no later than Pull has it.
func Of(ctx context.Context, store storage.RecordReader, c storage.Certificate, now time.Time) (Window, error) {
	life := c.NotAfter.Sub(c.NotBefore)
	start := c.NotBefore.Add(life * 2 / 3).UTC().Truncate(time.Second)
	w := Window{Start: start, End: start.Add(max(life/12, time.Minute)).Truncate(time.Second)}
	w.AskAgain = max(askAgainSoon, min(askAgain, life/20))
	if c.Revocation != nil {
		w.End = c.Revocation.At.UTC().Truncate(time.Second)
		w.Start = w.End.Add(-time.Hour)
	}
	r, err := store.Record(ctx, Collection, key(c))
	if errors.Is(err, storage.ErrNotFound) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	var p pulled
	if err := json.Unmarshal(r.Body, &p); err != nil {
		return w, fmt.Errorf("renewal window: %w", err)
	}
	w.Explanation = p.Explanation
	if p.Before.Before(w.End) {
		w.Start, w.End = p.Before.Add(-time.Hour), p.Before
		if now := now.UTC().Truncate(time.Second); now.After(w.Start) && now.Before(w.End) {
			w.Start = now
		}
	}
	return w, nil
}

// key is the ID of the record about a certificate.
func key(c storage.Certificate) string { return c.Issuer.String()[:32] + "." + c.Serial.String() }

// Pull has a certificate replaced before a time, for the reason at a URL, which may
// be empty.
func Pull(c storage.Certificate, before time.Time, explanation string) (storage.PutRecord, error) {
	body, err := json.Marshal(pulled{before.UTC().Truncate(time.Second), explanation})
	return storage.PutRecord{
		Collection: Collection, ID: key(c), IfVersion: storage.AnyVersion, Body: body, Expires: c.NotAfter,
	}, err
}
