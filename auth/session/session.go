// Package session is the short sessions of admins: secrets of 256 random bits that
// stand for one who has logged in by an identity provider or a client certificate.
// The store keeps the SHA-256 of the secret, who it is and what was proven of it;
// roles are not kept: each call has those that the policy gives at that time.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Prefix begins every session token's text, so that secret scanners can find them.
const Prefix = "cws_"

// The bounds of sessions.
const (
	DefaultLifetime = time.Hour
	MinLifetime     = time.Minute
	MaxLifetime     = 12 * time.Hour
	// MaxOpen is how many sessions of one principal are open at once: one more ends
	// the oldest.
	MaxOpen = 10
	// maxKept is how many records of one principal are kept, ended ones included:
	// whoever opens sessions in a loop is held back.
	maxKept = 1000
)

const (
	collection = "session"
	// guards holds a record for each principal with sessions: who opens one writes
	// it, so that of two at once one counts the other.
	guards = "session-of"
	// indexPrincipal finds the sessions of a principal.
	indexPrincipal = "principal"
	// keep is how long the record of a session outlives it, for lists.
	keep = 24 * time.Hour
)

// Collections are those whose records are to be swept when they have expired.
func Collections() []string { return []string{collection, guards} }

// Store is what sessions need of the storage.
type Store interface {
	storage.Committer
	storage.RecordReader
}

// Config of Sessions.
type Config struct {
	Store Store
	// Still proves again what a session was opened with: a certificate that was
	// revoked, or a provider that is believed no longer or by another configuration
	// than the principal's Basis, ends it. Its error goes to the caller. Required.
	Still func(context.Context, identity.Principal) (identity.Principal, error)
	// Lifetime of a session; 0: DefaultLifetime.
	Lifetime time.Duration
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: none
}

// Sessions opens, proves and revokes sessions. Its methods may be called by many
// goroutines at once.
type Sessions struct {
	config Config
	tally  tally
}

// New makes Sessions over a store.
func New(c Config) *Sessions {
	if c.Lifetime == 0 {
		c.Lifetime = DefaultLifetime
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sessions{config: c}
}

// Session is a session without its secret.
type Session struct {
	ID        string // 32 lower-case hexadecimal digits, no secret
	Principal identity.Principal
	Name      string // what it is called, if the principal's claims do not say it
	Address   string // of who opened it
	Created   time.Time
	Expires   time.Time
	Revoked   time.Time // zero unless it is
}

// State is whether a session can be used.
type State string

// The states, in the order in which they win.
const (
	Revoked State = "REVOKED"
	Expired State = "EXPIRED"
	Active  State = "ACTIVE"
)

// State of the session at a time.
func (s Session) State(now time.Time) State {
	switch {
	case !s.Revoked.IsZero():
		return Revoked
	case !now.Before(s.Expires):
		return Expired
	}
	return Active
}

// record is a session as it is stored.
type record struct {
	Hash     []byte          `json:"hash"` // SHA-256 of the secret
	Method   identity.Method `json:"method"`
	ID       string          `json:"id"`               // of the principal
	Evidence []byte          `json:"evidence"`         // SHA-256 of what it was opened with
	Basis    []byte          `json:"basis,omitempty"`  // SHA-256 of the configuration by which that was believed
	Claims   json.RawMessage `json:"claims,omitempty"` // none of certificates of this CA, which are read again
	Name     string          `json:"name,omitempty"`
	Address  string          `json:"address,omitempty"`
	Created  time.Time       `json:"created"`
	Expires  time.Time       `json:"expires"`
	Revoked  time.Time       `json:"revoked,omitzero"`
}

// newRecord takes up who opens the session. Claims must come back as they are.
func newRecord(p identity.Principal) (record, error) {
	r := record{Method: p.Method, ID: p.ID, Evidence: p.Evidence[:]}
	if p.Basis != ([32]byte{}) {
		r.Basis = p.Basis[:]
	}
	if p.Method == identity.MTLS {
		return r, nil
	}
	var err error
	if r.Claims, err = json.Marshal(p.Claims); err == nil {
		_, err = oidc.ReadClaims(r.Claims)
	}
	if err != nil {
		return record{}, fmt.Errorf("session: claims: %w", err)
	}
	return r, nil
}

func parseRecord(stored storage.Record) (record, error) {
	var r record
	if err := json.Unmarshal(stored.Body, &r); err != nil {
		return record{}, fmt.Errorf("session %s: %w", stored.ID, err)
	}
	if len(r.Hash) != sha256.Size || len(r.Evidence) != sha256.Size || len(r.Basis) != 0 && len(r.Basis) != sha256.Size {
		return record{}, fmt.Errorf("session %s: a hash has not %d octets", stored.ID, sha256.Size)
	}
	return r, nil
}

func (r record) session(id string) (Session, error) {
	s := Session{
		ID: id, Name: r.Name, Address: r.Address, Created: r.Created, Expires: r.Expires, Revoked: r.Revoked,
		Principal: identity.Principal{
			Method: r.Method, ID: r.ID, Evidence: [32]byte(r.Evidence), Session: id, Roles: []identity.Role{identity.RoleRequester},
		},
	}
	copy(s.Principal.Basis[:], r.Basis)
	if len(r.Claims) > 0 {
		claims, err := oidc.ReadClaims(r.Claims)
		if err != nil {
			return Session{}, fmt.Errorf("session %s: claims: %w", id, err)
		}
		s.Principal.Claims = claims
	}
	return s, nil
}

func (r record) put(id string, version uint64) (storage.PutRecord, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return storage.PutRecord{}, fmt.Errorf("session %s: %w", id, err)
	}
	return storage.PutRecord{
		Collection: collection, ID: id, IfVersion: version, Body: body, Expires: r.Expires.Add(keep),
		Indexes: []storage.RecordIndex{{Name: indexPrincipal, Value: keyOf(string(r.Method) + ":" + r.ID)}},
	}, nil
}

// keyOf is how a principal, by its text, stands in an index.
func keyOf(principal string) string {
	sum := sha256.Sum256([]byte(principal))
	return hex.EncodeToString(sum[:])
}
