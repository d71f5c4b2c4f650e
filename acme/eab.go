package acme

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// eabKey is a record of eabCollection: a key by which an account is bound to an
// owner and a grant (RFC 8555 §7.3.4).
type eabKey struct {
	ID      string `json:"-"`
	version uint64

	Name    string          `json:"name"` // by which grants know its accounts: {eab: NAME}
	Owner   string          `json:"owner,omitempty"`
	Bound   *identity.Bound `json:"bound,omitempty"`
	Secret  []byte          `json:"secret,omitempty"` // HMAC key, sealed; gone once the key is revoked
	Sealed  bool            `json:"sealed,omitempty"` // else Secret stands in clear
	Uses    uint32          `json:"uses"`             // 0: as many as one likes
	Created time.Time       `json:"created"`
	Creator string          `json:"creator"`
	Expires time.Time       `json:"expires,omitzero"`
	Revoked bool            `json:"revoked,omitempty"`
}

func decodeEAB(r storage.Record) (*eabKey, error) {
	k := &eabKey{ID: r.ID, version: r.Version}
	if err := json.Unmarshal(r.Body, k); err != nil {
		return nil, fmt.Errorf("EAB key %s: %w", r.ID, err)
	}
	return k, nil
}

// put writes the key.
func (k *eabKey) put() (storage.PutRecord, error) {
	body, err := json.Marshal(k) //nolint:gosec // the record is where the secret lives
	return storage.PutRecord{
		Collection: eabCollection, ID: k.ID, IfVersion: k.version, Body: body,
		Indexes: []storage.RecordIndex{{Name: indexName, Value: k.Name}},
	}, err
}

// tokenID is the name under which the uses are counted.
func (k *eabKey) tokenID() string { return "eab:" + k.ID }

// bindIfAsked is bind, as the server's mode has it.
func (s *Server) bindIfAsked(ctx context.Context, q *request, a *account, binding []byte) (storage.Unit, error) {
	switch {
	case len(binding) > 0 && s.config.EAB == EABOff:
		return nil, refuse(Malformed, "external account bindings are not used here: leave it out")
	case len(binding) > 0:
		return s.bind(ctx, q, a, binding)
	case s.config.EAB == EABRequired:
		return nil, refuse(ExternalAccountRequired, "an account needs an external account binding: ask the administrator for a key")
	}
	return nil, nil
}

// bind verifies an external account binding, gives the account what the key
// stands for, and returns the commands that use the key.
func (s *Server) bind(ctx context.Context, q *request, a *account, binding []byte) (storage.Unit, error) {
	inner, err := jws.Parse(binding, jws.Binding)
	if err != nil {
		f := faultOf(err)
		f.Detail = "external account binding: " + f.Detail
		return nil, f
	}
	if inner.URL != q.url {
		return nil, refuse(Malformed, "external account binding: its URL is not that of the request")
	}
	bound, err := jws.ParseKey(inner.Payload)
	if err != nil {
		return nil, refuse(Malformed, "external account binding: its payload is not the account's key: %s", err)
	}
	other, err := s.draftAccount(bound)
	if err != nil {
		return nil, err
	}
	if other.Thumbprint != a.Thumbprint {
		return nil, refuse(Malformed, "external account binding: its payload is not the account's key")
	}
	k, err := s.usableEAB(ctx, inner)
	if err != nil {
		return nil, err
	}
	a.EAB, a.EABName, a.Owner, a.Bound = k.ID, k.Name, k.Owner, k.Bound
	most := k.Uses
	if most == 0 {
		most = math.MaxUint32
	}
	return storage.Unit{
		storage.RequireRecord{Collection: eabCollection, ID: k.ID, Version: k.version},
		// By the account's ID: its key can be changed, and then be registered again.
		storage.UseToken{ID: k.tokenID(), For: sha256.Sum256([]byte(a.ID)), Max: most},
	}, nil
}

// usableEAB finds the key and verifies the HMAC. Whoever does not have the key
// learns nothing about it.
func (s *Server) usableEAB(ctx context.Context, inner *jws.Message) (*eabKey, error) {
	unknown := refuse(Unauthorized, "external account binding: the key is not known, or the signature does not verify")
	k, err := read(ctx, s, eabCollection, inner.KeyID, decodeEAB)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, storeFault(err)
	}
	if k.Revoked {
		return nil, unknown
	}
	secret, err := s.unseal(k)
	if err != nil {
		s.complain(ctx, "an EAB key cannot be decrypted: has the passphrase been changed?", err)
		return nil, unknown
	}
	if len(secret) == 0 || inner.Verify(secret) != nil {
		return nil, unknown
	}
	if !k.Expires.IsZero() && !s.now().Before(k.Expires) {
		return nil, refuse(Unauthorized, "external account binding: the key has expired")
	}
	return k, nil
}

// seal keeps a secret in the key's record. It is bound to the key's ID.
func (s *Server) seal(k *eabKey, secret []byte) {
	k.Secret, k.Sealed = secret, s.config.Seal != nil
	if k.Sealed {
		k.Secret = s.config.Seal.Seal(nil, nil, secret, []byte(k.tokenID())) //nolint:gosec // the nonce is the AEAD's own, a random one
	}
}

// unseal is the key's secret.
func (s *Server) unseal(k *eabKey) ([]byte, error) {
	switch {
	case !k.Sealed:
		return k.Secret, nil
	case s.config.Seal == nil:
		return nil, errors.New("it is encrypted, and the server has no passphrase")
	}
	return s.config.Seal.Open(nil, nil, k.Secret, []byte(k.tokenID()))
}
