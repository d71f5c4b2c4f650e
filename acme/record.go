package acme

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// The collections of records, and their indexes.
const (
	accountCollection  = "acme-account"
	orderCollection    = "acme-order"
	authzCollection    = "acme-authz"
	eabCollection      = "acme-eab"
	replacedCollection = "acme-replaced" // certificate → the order that replaces it

	indexKey     = "key"     // of accounts, unique: the key's thumbprint
	indexAccount = "account" // of orders: the account's ID
	indexIntent  = "intent"  // of orders: the request key of the issuance
	indexValid   = "valid"   // of authorizations that can be reused: see reuseKey
	indexWork    = "work"    // of authorizations with a challenge in processing
	workValue    = "processing"
	indexName    = "name" // of EAB keys: the name that grants use
)

// The states (RFC 8555 §7.1.6).
const (
	statusPending     = "pending"
	statusProcessing  = "processing"
	statusReady       = "ready"
	statusValid       = "valid"
	statusInvalid     = "invalid"
	statusDeactivated = "deactivated"
	statusExpired     = "expired"
	statusRevoked     = "revoked"
)

// How long records live after they have come to their end.
const (
	pendingGrace   = 24 * time.Hour
	invalidGrace   = 7 * 24 * time.Hour
	validRetention = 90 * 24 * time.Hour
)

// account is a record of accountCollection (RFC 8555 §7.1.2).
type account struct {
	ID      string `json:"-"`
	version uint64
	key     *jose.JSONWebKey

	Status     string          `json:"status"` // valid, deactivated or revoked
	Key        json.RawMessage `json:"key"`    // JWK
	Thumbprint string          `json:"thumbprint"`
	Contacts   []string        `json:"contacts,omitempty"`
	Terms      bool            `json:"terms,omitempty"`
	Created    time.Time       `json:"created"`
	EAB        string          `json:"eab,omitempty"`      // the EAB key's ID
	EABName    string          `json:"eab_name,omitempty"` // the name that grants use
	Owner      string          `json:"owner,omitempty"`
	Bound      *identity.Bound `json:"bound,omitempty"`
}

// principal is the account as the policy and the ledger know it.
func (a *account) principal() identity.Principal {
	claims := map[string]any{}
	if a.EABName != "" {
		claims["eab"] = a.EABName
	}
	if a.Owner != "" {
		claims["owner"] = a.Owner
	}
	return identity.Principal{Method: identity.ACME, ID: a.ID, Claims: claims, Bound: a.Bound}
}

// put writes the account; version 0 makes it.
func (a *account) put() (storage.PutRecord, error) {
	body, err := json.Marshal(a)
	return storage.PutRecord{
		Collection: accountCollection, ID: a.ID, IfVersion: a.version, Body: body,
		Indexes: []storage.RecordIndex{{Name: indexKey, Value: a.Thumbprint, Unique: true}},
	}, err
}

// require is the precondition that the account is as it was read.
func (a *account) require() storage.RequireRecord {
	return storage.RequireRecord{Collection: accountCollection, ID: a.ID, Version: a.version}
}

func decodeAccount(r storage.Record) (*account, error) {
	a := &account{ID: r.ID, version: r.Version}
	if err := json.Unmarshal(r.Body, a); err != nil {
		return nil, fmt.Errorf("account %s: %w", r.ID, err)
	}
	var err error
	if a.key, err = jws.ParseKey(a.Key); err != nil {
		return nil, fmt.Errorf("account %s: %w", r.ID, err)
	}
	return a, nil
}

// order is a record of orderCollection (RFC 8555 §7.1.3). Stored are pending,
// processing, valid and invalid; ready follows from the authorizations.
type order struct {
	ID      string `json:"-"`
	version uint64

	Account        string       `json:"account"`
	Status         string       `json:"status"`
	Identifiers    []Identifier `json:"identifiers"`    // canonical, sorted, each once
	Authorizations []string     `json:"authorizations"` // IDs, one for each identifier
	NotBefore      time.Time    `json:"not_before,omitzero"`
	NotAfter       time.Time    `json:"not_after,omitzero"`
	Profile        string       `json:"profile"`
	Replaces       string       `json:"replaces,omitempty"` // certID (RFC 9773 §4.1)
	Replaced       []byte       `json:"replaced,omitempty"` // SHA-256 of that certificate
	Created        time.Time    `json:"created"`
	Expires        time.Time    `json:"expires"`
	Intent         string       `json:"intent,omitempty"` // the request key, once it was finalized
	Error          *Document    `json:"error,omitempty"`
}

// put writes the order as it stands.
func (o *order) put(now time.Time) (storage.PutRecord, error) {
	body, err := o.marshal()
	p := storage.PutRecord{
		Collection: orderCollection, ID: o.ID, IfVersion: o.version, Body: body,
		Indexes: []storage.RecordIndex{{Name: indexAccount, Value: o.Account}},
	}
	if o.Intent != "" {
		p.Indexes = append(p.Indexes, storage.RecordIndex{Name: indexIntent, Value: o.Intent})
	}
	switch o.Status {
	case statusPending:
		p.Expires = o.Expires.Add(pendingGrace)
	case statusInvalid:
		p.Expires = now.Add(invalidGrace)
	case statusValid:
		p.Expires = now.Add(validRetention)
	}
	return p, err
}

// names are the order's identifiers.
func (o *order) names() []identity.Identifier {
	ids := make([]identity.Identifier, len(o.Identifiers))
	for i, id := range o.Identifiers {
		ids[i] = id.identity()
	}
	return ids
}

func decodeOrder(r storage.Record) (*order, error) {
	o := &order{ID: r.ID, version: r.Version}
	if err := o.unmarshal(r.Body); err != nil {
		return nil, fmt.Errorf("order %s: %w", r.ID, err)
	}
	return o, nil
}

// authorization is a record of authzCollection (RFC 8555 §7.1.4) with its
// challenges.
type authorization struct {
	ID      string `json:"-"`
	version uint64

	Account    string     `json:"account"`
	Identifier Identifier `json:"identifier"` // without "*."
	Wildcard   bool       `json:"wildcard,omitempty"`
	Status     string     `json:"status"`
	Expires    time.Time  `json:"expires"`
	Token      string     `json:"token,omitempty"`
	Challenges []proof    `json:"challenges"`
	Grant      string     `json:"grant,omitempty"` // valid by this grant, without a challenge
}

// proof is one challenge (RFC 8555 §8).
type proof struct {
	Type      string       `json:"type"`
	Status    string       `json:"status"`
	Validated time.Time    `json:"validated,omitzero"`
	Error     *Document    `json:"error,omitempty"`
	Attempts  int          `json:"attempts,omitempty"`
	Hops      []egress.Hop `json:"hops,omitempty"`   // what was contacted
	Record    string       `json:"record,omitempty"` // the DNS name that proved it
}

// put writes the authorization as it stands.
func (z *authorization) put(now time.Time) (storage.PutRecord, error) {
	body, err := z.marshal()
	p := storage.PutRecord{Collection: authzCollection, ID: z.ID, IfVersion: z.version, Body: body}
	switch z.Status {
	case statusValid:
		p.Expires = z.Expires.Add(pendingGrace)
		if z.reusable() {
			p.Indexes = append(p.Indexes, storage.RecordIndex{Name: indexValid, Value: reuseKey(z.Account, z.Identifier, z.Wildcard)})
		}
	case statusPending:
		p.Expires = z.Expires.Add(pendingGrace)
		for _, c := range z.Challenges {
			if c.Status == statusProcessing {
				p.Indexes = append(p.Indexes, storage.RecordIndex{Name: indexWork, Value: workValue})
				break
			}
		}
	default:
		p.Expires = now.Add(invalidGrace)
	}
	return p, err
}

// reusable tells whether later orders may use the authorization: not if it is valid
// without a proof, and not if its proof stands in DNS to be looked at again.
func (z *authorization) reusable() bool {
	for _, c := range z.Challenges {
		if c.Type == challenge.DNSPersist01 && c.Status == statusValid {
			return false
		}
	}
	return z.Grant == ""
}

// status is the authorization's state at a time.
func (z *authorization) status(now time.Time) string {
	if (z.Status == statusPending || z.Status == statusValid) && !now.Before(z.Expires) {
		return statusExpired
	}
	return z.Status
}

func decodeAuthorization(r storage.Record) (*authorization, error) {
	z := &authorization{ID: r.ID, version: r.Version}
	if err := z.unmarshal(r.Body); err != nil {
		return nil, fmt.Errorf("authorization %s: %w", r.ID, err)
	}
	return z, nil
}

// reuseKey stands for (account, identifier, wildcardness).
func reuseKey(account string, id Identifier, wildcard bool) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%t", account, id.Type, id.Value, wildcard))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newID is 24 characters: 6 octets of time, so that a listing by ID is one by age
// and new records stand together, and 9 random ones.
func newID(now time.Time) string {
	var raw [15]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(raw[6:]) // never fails
	return idEncoding().EncodeToString(raw[:])
}

// idEncoding keeps the order of the octets.
func idEncoding() *base32.Encoding {
	return base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
}

// isID tells whether a text has the form of an ID.
func isID(text string) bool {
	if len(text) != 24 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

// read reads one record and decodes it; storage.ErrNotFound if there is none.
func read[T any](ctx context.Context, s *Server, collection, id string, decode func(storage.Record) (T, error)) (T, error) {
	var none T
	if !isID(id) {
		return none, storage.ErrNotFound
	}
	r, err := s.store.Record(ctx, collection, id)
	if err != nil {
		return none, err
	}
	return decode(r)
}

// storeFault is what a client is told of a failed read or commit.
func storeFault(err error) error {
	var f *fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case errors.Is(err, storage.ErrConflict):
		return refuse(Malformed, "it has been changed by another request meanwhile; try again").with(409).because(err)
	case errors.Is(err, storage.ErrOverloaded), errors.Is(err, storage.ErrReadOnly), errors.Is(err, storage.ErrUnknownOutcome),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		busy := refuse(ServerInternal, "the server cannot do this at this time; try again").with(503).because(err)
		busy.retry = retryLater
		return busy
	}
	return err
}
