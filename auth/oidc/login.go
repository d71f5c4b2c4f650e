package oidc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Login makes a provider one at which people log in (OpenID Connect Core 1.0): who
// shows its ID token for the client may open a session.
type Login struct {
	// ClientID of the public client that the provider knows; empty: nobody logs in.
	ClientID string
	// Scopes that are asked for; openid always is.
	Scopes []string
}

// The bounds of a Login.
const (
	maxClientID = 256
	maxScopes   = 20
	maxScope    = 128
	// maxLoginAge is how long after its issuing an ID token opens a session.
	maxLoginAge = 10 * time.Minute
)

func (l Login) check() error {
	if l.ClientID == "" {
		if len(l.Scopes) > 0 {
			return errors.New("its login has scopes and no client_id")
		}
		return nil
	}
	if !printable(l.ClientID, maxClientID) {
		return fmt.Errorf("its login's client_id is not a printable text of at most %d octets", maxClientID)
	}
	if len(l.Scopes) > maxScopes {
		return fmt.Errorf("its login has more than %d scopes", maxScopes)
	}
	for _, scope := range l.Scopes {
		if !printable(scope, maxScope) || strings.ContainsAny(scope, `"\`) {
			return fmt.Errorf("its login's scope %.64q is none (RFC 6749 §3.3)", scope)
		}
	}
	return nil
}

func printable(text string, most int) bool {
	return text != "" && len(text) <= most && strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// rolesOf is what the token is for: for asking for certificates by one of the
// provider's audiences, for logging in by its client. One for logging in is nothing
// else, whoever it names beside the client, unless the client is an audience too. A
// token for neither has no role.
func (i *Issuer) rolesOf(s standard, said peeked) []identity.Role {
	var roles []identity.Role
	if slices.ContainsFunc(s.audiences, func(a string) bool { return slices.Contains(i.Audiences, a) }) {
		roles = append(roles, identity.RoleRequester)
	}
	switch client := i.Login.ClientID; {
	case client == "" || !s.forClient(client, said):
		return roles
	case !slices.Contains(i.Audiences, client):
		return []identity.Role{identity.RoleLogin}
	}
	return append(roles, identity.RoleLogin)
}

// rolesNow is what is left of the token's roles: an old one opens no session, whatever
// else it is for.
func (s standard) rolesNow(i *Issuer, now time.Time, roles []identity.Role) []identity.Role {
	if now.Sub(s.issuedAt) <= maxLoginAge+i.Leeway || !slices.Contains(roles, identity.RoleLogin) {
		return roles
	}
	return slices.DeleteFunc(slices.Clone(roles), func(r identity.Role) bool { return r == identity.RoleLogin })
}

// forClient tells whether it is an ID token for this client and no other (OpenID
// Connect Core 1.0 §3.1.3.7). Access tokens, which others can hold, are none: those
// of RFC 9068 say so in the header, Keycloak's in a claim.
func (s standard) forClient(client string, said peeked) bool {
	party, given := said.claims["azp"]
	kind, typed := said.claims["typ"]
	switch {
	case said.access, typed && kind != "ID", s.issuedAt.IsZero():
		return false
	case given:
		return party == client && slices.Contains(s.audiences, client)
	}
	return len(s.audiences) == 1 && s.audiences[0] == client
}

// basis is by what the issuer's tokens for login are believed: the client, and where
// the keys come from and what they may be used for.
func (i Issuer) basis() [32]byte {
	algorithms := slices.Sorted(slices.Values(i.Algorithms))
	parts := []string{"identity provider", i.URL, i.Login.ClientID, i.JWKSURL, i.JWKSFile, strings.Join(algorithms, " ")}
	var roots []string
	for _, root := range i.TLSRoots {
		roots = append(roots, string(root.Raw))
	}
	return auth.Basis(append(parts, slices.Sorted(slices.Values(roots))...)...)
}

// Still tells whether the provider of a session's principal is still one at which
// people log in, configured as it was when the session was opened.
func (a *Authenticator) Still(p identity.Principal) error {
	issuer, _ := p.Claims["iss"].(string)
	provider := a.issuers[issuer]
	detail := "the identity provider of the session has changed in the configuration: its client, its algorithms, or where its keys come from"
	switch {
	case provider == nil || provider.Login.ClientID == "":
		detail = "the identity provider of the session is one no longer"
	case provider.basis == p.Basis:
		return nil
	}
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: "SESSION_PROVIDER", Rule: "session", Detail: detail, Help: "log in again: certwright login",
	}
}

// LoginOnce gives the command by which an ID token opens one session: it stands or
// falls with that. A token is known by what is signed of it: who can sign nothing
// can still write some signatures in two ways.
func LoginOnce(p identity.Principal, token string) (storage.PutRecord, error) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return storage.PutRecord{}, errors.New("a proven token without a signature")
	}
	until, err := untilOf(p.Claims["exp"])
	if err != nil {
		return storage.PutRecord{}, err
	}
	sum := sha256.Sum256([]byte("login\x00" + token[:at]))
	return storage.PutRecord{Collection: UsedCollection, ID: hex.EncodeToString(sum[:]), Body: []byte{1}, Expires: until}, nil
}

// ReadClaims reads claims that were stored as JSON: as Authenticate gives them.
func ReadClaims(data []byte) (map[string]any, error) {
	claims, err := object(data)
	if err != nil {
		return nil, err
	}
	return flatten(claims)
}
