// Package challenge is what the validators of ACME challenges (RFC 8555 §8) have
// in common: the Target that is to be proven, the Validator that each of the rooms
// http01, dns01 and tlsalpn01 has, the Error that a client sees, and the check of
// CAA records (RFC 8659, RFC 8657).
//
// A Validator judges once. Workers, retries and the states of RFC 8555 §7.1.6 are
// the server's.
package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

// The challenge types (RFC 8555 §8, RFC 8737, draft-ietf-acme-dns-account-label,
// draft-ietf-acme-dns-persist).
const (
	HTTP01       = "http-01"
	DNS01        = "dns-01"
	TLSALPN01    = "tls-alpn-01"
	DNSAccount01 = "dns-account-01"
	DNSPersist01 = "dns-persist-01"
)

// Target is what a client is to prove, and by what.
type Target struct {
	// Identifier in canonical form; for a wildcard the name without "*."
	// (RFC 8555 §7.1.4).
	Identifier identity.Identifier
	Wildcard   bool
	// Token and KeyAuthorization (RFC 8555 §8.1) of the challenge;
	// dns-persist-01 has neither.
	Token, KeyAuthorization string
	// AccountURL is the account's URL as clients know it.
	AccountURL string
}

// Digest is the SHA-256 of the key authorization.
func (t Target) Digest() [sha256.Size]byte { return sha256.Sum256([]byte(t.KeyAuthorization)) }

// DNSDigest is Digest as it stands in a TXT record (RFC 8555 §8.4).
func (t Target) DNSDigest() string {
	digest := t.Digest()
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// Evidence is what a validation contacted: for the record of the challenge.
type Evidence struct {
	// Hops are the hosts contacted, with the addresses tried: the last address of
	// the last hop is the one that answered. Empty for a DNS challenge.
	Hops []egress.Hop
	// Record is the DNS name whose TXT record proved the target, after CNAMEs;
	// empty for others.
	Record string
}

// Validator judges challenges of one type.
type Validator interface {
	// Type is the challenge's type, such as "http-01".
	Type() string
	// Offers tells whether a challenge of this type can prove the identifier.
	// Only dns types prove a wildcard (RFC 8555 §7.1.3); only http-01 and
	// tls-alpn-01 prove an IP address (RFC 8738 §4, §7).
	Offers(id identity.Identifier, wildcard bool) bool
	// Validate contacts the target once, within the time of the egress client and
	// ctx. The error is an *Error. Evidence is filled as far as it came, also with
	// an error. It may be called again, and concurrently.
	Validate(ctx context.Context, target Target) (Evidence, error)
}

// TokenRequired tells whether challenges of a type carry a token (RFC 8555 §8);
// dns-persist-01 names issuer domains instead.
func TokenRequired(kind string) bool { return kind != DNSPersist01 }

// Refuse returns the *Error for a target that the validator's challenges cannot
// prove; nil if they can.
func Refuse(v Validator, t Target) error {
	id, err := t.Identifier.Canonical()
	var what string
	switch {
	case err != nil || id != t.Identifier || id.Wildcard():
		what = "the identifier is not in canonical form"
	case !v.Offers(id, false):
		what = "an identifier of type " + string(id.Type) + " cannot be proven by " + v.Type()
	case !v.Offers(id, t.Wildcard):
		what = "a wildcard cannot be proven by " + v.Type()
	case TokenRequired(v.Type()) && (t.Token == "" || !strings.HasPrefix(t.KeyAuthorization, t.Token+".")):
		what = "the key authorization does not begin with the token"
	default:
		return nil
	}
	return &Error{Type: Malformed, Host: t.Identifier.Value, Detail: what, Hint: "choose another type of challenge", Err: err}
}
