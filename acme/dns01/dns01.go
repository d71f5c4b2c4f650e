// Package dns01 validates the challenges that are answered by TXT records: dns-01
// (RFC 8555 §8.4), dns-account-01 (draft-ietf-acme-dns-account-label) and
// dns-persist-01 (draft-ietf-acme-dns-persist). CNAMEs are followed. All three can
// prove a wildcard, none an IP address.
package dns01

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

// Validator of dns-01 or dns-account-01.
type Validator struct {
	egress *egress.Client
	kind   string
	name   func(challenge.Target) string
}

// New is the Validator of dns-01.
func New(client *egress.Client) *Validator {
	return &Validator{egress: client, kind: challenge.DNS01, name: func(t challenge.Target) string {
		return "_acme-challenge." + t.Identifier.Value
	}}
}

// NewAccount is the Validator of dns-account-01.
func NewAccount(client *egress.Client) *Validator {
	return &Validator{egress: client, kind: challenge.DNSAccount01, name: func(t challenge.Target) string {
		return AccountLabel(t.AccountURL) + "._acme-challenge." + t.Identifier.Value
	}}
}

// AccountLabel is the label of an account in dns-account-01: an underscore and the
// first 10 octets of the SHA-256 of the account's URL, in lower-case base32.
func AccountLabel(accountURL string) string {
	digest := sha256.Sum256([]byte(accountURL))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(digest[:10]))
}

// Type is "dns-01" or "dns-account-01".
func (v *Validator) Type() string { return v.kind }

// Offers tells that DNS names can be proven, wildcards too.
func (*Validator) Offers(id identity.Identifier, _ bool) bool { return id.Type == identity.DNS }

// Validate looks for the digest among the TXT records, once.
func (v *Validator) Validate(ctx context.Context, target challenge.Target) (challenge.Evidence, error) {
	if err := challenge.Refuse(v, target); err != nil {
		return challenge.Evidence{}, err
	}
	name := v.name(target)
	values, at, err := v.egress.LookupTXT(ctx, name)
	evidence := challenge.Evidence{Record: at}
	if err != nil {
		return evidence, challenge.FromEgress(v.kind, err)
	}
	want, found := []byte(target.DNSDigest()), 0
	for _, value := range values {
		found |= subtle.ConstantTimeCompare([]byte(value), want)
	}
	if found == 1 {
		return evidence, nil
	}
	return evidence, &challenge.Error{
		Type: challenge.Unauthorized, Host: name, Temporary: true,
		Detail: fmt.Sprintf("%s: %s: none of %d TXT records is the digest of the key authorization (%d characters)",
			v.kind, described(name, at), len(values), len(want)),
		Hint: "set a TXT record for this token and this account, and wait until the name servers know it",
	}
}

// described is the name, and the name that its CNAMEs lead to.
func described(name, at string) string {
	if strings.EqualFold(name, at) {
		return name
	}
	return name + " (CNAME to " + at + ")"
}
