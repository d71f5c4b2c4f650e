package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/problem"
)

// The times of a key set.
const (
	// refreshAfter is when Run reads a key set again, so that a key that the
	// provider has taken away is believed no longer.
	refreshAfter = 10 * time.Minute
	// staleAfter is how long keys are believed whose provider does not answer.
	staleAfter = 12 * time.Hour
	// refetchAfter is between two fetches that unknown keys ask for, whether they
	// succeed or not.
	refetchAfter = 15 * time.Second
	// fetchTimeout bounds one fetch, discovery included.
	fetchTimeout = 8 * time.Second
	// rediscoverAfter is how long the address of the keys is remembered.
	rediscoverAfter = time.Hour
)

// discoveryPath is below an issuer's URL (OpenID Connect Discovery 1.0 §4).
const discoveryPath = "/.well-known/openid-configuration"

// keySet are the keys of one provider: kept, fetched again when a token names one
// that is not there, and by Run.
type keySet struct {
	issuer Issuer
	client *egress.Client
	now    func() time.Time
	logger *slog.Logger
	slot   chan struct{} // who holds it fetches

	mu      sync.Mutex
	keys    []publicKey
	reads   uint64    // how often keys were read: their generation
	fetched time.Time // when keys were read
	tried   time.Time // when a fetch last began

	jwksURL    string // of the discovery document; only who holds the slot touches it
	discovered time.Time
}

func newKeySet(i Issuer, client *egress.Client, now func() time.Time, logger *slog.Logger) *keySet {
	return &keySet{issuer: i, client: client, now: now, logger: logger, slot: make(chan struct{}, 1)}
}

// find are the keys that a token may have been signed with. Keys that are at hand
// are never waited for.
func (s *keySet) find(ctx context.Context, said peeked) (found []any, generation uint64, err error) {
	keys, generation := s.current()
	if found := fitting(keys, said); len(found) > 0 {
		return found, generation, nil
	}
	if err := s.refetch(ctx); err != nil {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "the keys of an identity provider cannot be read",
			slog.String("issuer", s.issuer.URL), slog.Any("error", err))
	}
	keys, generation = s.current()
	if found := fitting(keys, said); len(found) > 0 {
		return found, generation, nil
	}
	if generation == 0 {
		return nil, 0, &problem.Problem{
			Kind: problem.Unavailable, Reason: "TOKEN_KEYS_UNAVAILABLE", Rule: "identity token",
			Detail: "the keys of the token's issuer cannot be read at this time", Help: "try again in a minute; the server's log says what is wrong",
		}
	}
	return nil, 0, &refusal{reason: "TOKEN_KEY", detail: "the token's key (kid) is not one of its issuer's",
		help: "ask the identity provider for a new token; if its keys have just changed, try again in a minute"}
}

// current are the keys at hand and their generation; 0 if there are none that may
// be believed.
func (s *keySet) current() ([]publicKey, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || s.now().Sub(s.fetched) > staleAfter {
		return nil, 0
	}
	return s.keys, s.reads
}

// generation is that of the keys at hand.
func (s *keySet) generation() uint64 {
	_, generation := s.current()
	return generation
}

// refetch reads the keys again, unless somebody has done so in the last
// refetchAfter. The fetch goes on if its caller goes away: else who hangs up at
// once could keep the keys from ever coming.
func (s *keySet) refetch(ctx context.Context) error {
	select {
	case s.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.slot }()
	if !s.due(refetchAfter) {
		return nil
	}
	return s.read(context.WithoutCancel(ctx))
}

// refresh is Run's turn.
func (s *keySet) refresh(ctx context.Context) error {
	select {
	case s.slot <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-s.slot }()
	s.mu.Lock()
	fresh := s.keys != nil && s.now().Sub(s.fetched) < refreshAfter && !s.fetched.After(s.now())
	s.mu.Unlock()
	if fresh || !s.due(refetchAfter) {
		return nil
	}
	return s.read(ctx)
}

// due tells whether the last fetch began long enough ago, and if so begins one.
func (s *keySet) due(after time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if since := now.Sub(s.tried); !s.tried.IsZero() && since >= 0 && since < after {
		return false
	}
	s.tried = now
	return true
}

func (s *keySet) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	data, err := s.source(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.fetched = keys, s.now()
	s.reads++
	return nil
}

// source is the key set's text.
func (s *keySet) source(ctx context.Context) ([]byte, error) {
	if s.issuer.JWKSFile != "" {
		return plainfile.Read(s.issuer.JWKSFile, MaxBytes)
	}
	if s.issuer.JWKSURL != "" {
		return s.get(ctx, s.issuer.JWKSURL)
	}
	if now := s.now(); s.jwksURL == "" || now.Sub(s.discovered) > rediscoverAfter || s.discovered.After(now) {
		found, err := s.discover(ctx)
		if err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		s.jwksURL, s.discovered = found, now
	}
	return s.get(ctx, s.jwksURL)
}

// discover is the address of the keys by the provider's discovery document, which
// must be about this issuer and no other (§4.3).
func (s *keySet) discover(ctx context.Context) (string, error) {
	data, err := s.get(ctx, strings.TrimSuffix(s.issuer.URL, "/")+discoveryPath)
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return "", errors.New("the document is not JSON")
	}
	if document.Issuer != s.issuer.URL {
		return "", errors.New("the document is about another issuer")
	}
	if err := checkURL(document.JWKSURI); err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	return document.JWKSURI, nil
}

func (s *keySet) get(ctx context.Context, url string) ([]byte, error) {
	answer, err := s.client.Get(ctx, url, egress.Options{TLS: s.issuer.TLS, Accept: "application/json"})
	switch {
	case err != nil:
		return nil, err
	case answer.Status != 200:
		return nil, fmt.Errorf("status %d", answer.Status)
	case answer.Truncated || len(answer.Body) > MaxBytes:
		return nil, fmt.Errorf("the answer has more than %d octets", MaxBytes)
	}
	return answer.Body, nil
}

// tick is how often Run looks for keys that are to be read again.
const tick = 30 * time.Second

// Run keeps the keys fresh until ctx ends.
func (a *Authenticator) Run(ctx context.Context) error {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		for _, p := range a.issuers {
			if err := p.keys.refresh(ctx); err != nil && ctx.Err() == nil {
				a.logger.LogAttrs(ctx, slog.LevelWarn, "the keys of an identity provider cannot be read",
					slog.String("issuer", p.URL), slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}
