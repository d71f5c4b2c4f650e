// Package token is join tokens: secrets of 256 random bits that an admin makes,
// each bound to a grant of its own (profiles, names, owner) and good for a few
// certificates until it expires. The store keeps the SHA-256 of the secret, never
// the secret; a use is counted in the unit that reserves the certificate.
package token

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Prefix begins every token's text, so that secret scanners can find them.
const Prefix = "cwt_"

const collection = "token"

// keep is how long the record of a token outlives the token at least, for lists.
// While certificates that it gave are renewed it must stay: who renews asks whether it
// was revoked.
const keep = 90 * 24 * time.Hour

// Store is what tokens need of the storage.
type Store interface {
	storage.Committer
	storage.RecordReader
}

// Config of Tokens.
type Config struct {
	Store Store
	// Check tells whether the active policy knows the profiles and can read the
	// patterns of a grant that a token is to carry; its error is a
	// *problem.Problem. Required: policy.Engine.CheckBound of the engine in force.
	Check func(identity.Bound) error
	// Now is the clock; nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger // nil: none
}

// Tokens makes, proves and revokes join tokens. Its methods may be called by
// many goroutines at once.
type Tokens struct {
	config Config

	mu     sync.Mutex
	parsed map[string]parsed // by ID: what a token's requests are held against
}

// parsed is a token's record as it was read from its octets: these, and no version,
// which a store that was put back could give another record too. Nobody changes it.
type parsed struct {
	body   string
	record record
}

// maxParsed bounds how many records are held parsed.
const maxParsed = 1 << 10

// parse is parseRecord, which takes as long as a tenth of an issuance, once for the same octets.
func (t *Tokens) parse(r storage.Record) (record, error) {
	t.mu.Lock()
	held, ok := t.parsed[r.ID]
	t.mu.Unlock()
	if ok && held.body == string(r.Body) {
		return held.record, nil
	}
	body, err := parseRecord(r)
	if err != nil {
		return record{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parsed == nil || len(t.parsed) >= maxParsed {
		t.parsed = map[string]parsed{}
	}
	t.parsed[r.ID] = parsed{string(r.Body), body}
	return body, nil
}

// New makes Tokens over a store.
func New(c Config) *Tokens {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Tokens{config: c}
}

// Token is a join token without its secret.
type Token struct {
	ID       string // 32 lower-case hexadecimal digits, no secret
	Owner    string
	Profiles []string
	Names    identity.Names
	Uses     uint32 // how many certificates it is good for
	Used     uint32 // how many were reserved with it
	Created  time.Time
	Expires  time.Time
	Revoked  time.Time // zero unless it is
	Creator  string    // the principal that made it
}

// State is whether a token can be used.
type State string

// The states, in the order in which they win.
const (
	Revoked State = "REVOKED"
	Expired State = "EXPIRED"
	UsedUp  State = "USED_UP"
	Active  State = "ACTIVE"
)

// State of the token at a time.
func (t Token) State(now time.Time) State {
	switch {
	case !t.Revoked.IsZero():
		return Revoked
	case !now.Before(t.Expires):
		return Expired
	case t.Used >= t.Uses:
		return UsedUp
	}
	return Active
}

// Principal is who the token's holder is.
func (t Token) Principal() identity.Principal {
	return identity.Principal{
		Method: identity.Token,
		ID:     t.ID,
		Roles:  []identity.Role{identity.RoleRequester},
		Bound: &identity.Bound{
			Name: grantName(t.ID), Profiles: t.Profiles, Owner: t.Owner, Allow: t.Names,
		},
	}
}

// grantName is how the ledger names the grant that a token carries.
func grantName(id string) string { return string(identity.Token) + ":" + id }

// record is a token as it is stored.
type record struct {
	Hash     []byte         `json:"hash"` // SHA-256 of the secret
	Owner    string         `json:"owner"`
	Profiles []string       `json:"profiles"`
	Names    identity.Names `json:"names"`
	Uses     uint32         `json:"uses"`
	Created  time.Time      `json:"created"`
	Expires  time.Time      `json:"expires"`
	Revoked  time.Time      `json:"revoked,omitzero"`
	Creator  string         `json:"creator"`
	Request  string         `json:"request,omitempty"` // key of the request ID, hexadecimal
	Digest   []byte         `json:"digest,omitempty"`  // of the request under it
}

func parseRecord(r storage.Record) (record, error) {
	var body record
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return record{}, fmt.Errorf("token %s: %w", r.ID, err)
	}
	if len(body.Hash) != sha256.Size {
		return record{}, fmt.Errorf("token %s: its hash has %d octets", r.ID, len(body.Hash))
	}
	return body, nil
}

func (r record) token(id string, used uint32) Token {
	return Token{
		ID: id, Owner: r.Owner, Profiles: r.Profiles, Names: r.Names, Uses: r.Uses, Used: used,
		Created: r.Created, Expires: r.Expires, Revoked: r.Revoked, Creator: r.Creator,
	}
}

func (r record) put(id string, version uint64) (storage.PutRecord, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return storage.PutRecord{}, fmt.Errorf("token %s: %w", id, err)
	}
	put := storage.PutRecord{
		Collection: collection, ID: id, IfVersion: version, Body: body, Expires: r.Expires.Add(keep),
	}
	if r.Request != "" {
		put.Indexes = []storage.RecordIndex{{Name: indexRequest, Value: r.Request, Unique: true}}
	}
	return put, nil
}
