package oidc

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
)

// The bounds of what a token claims.
const (
	maxAudiences = 32
	maxSubject   = 1024
	maxPlainID   = 200 // octets of a principal's ID with the subject in clear
	maxDate      = 1 << 40
)

// standard are the registered claims (RFC 7519 §4.1), read strictly.
type standard struct {
	subject   string
	audiences []string
	expires   time.Time
	notBefore time.Time // zero: not given
	issuedAt  time.Time // zero: not given
}

func readStandard(claims map[string]any) (standard, error) {
	var s standard
	var ok bool
	if s.subject, ok = claims["sub"].(string); !ok || s.subject == "" || len(s.subject) > maxSubject {
		return s, errors.New("it names no subject (sub)")
	}
	switch aud := claims["aud"].(type) {
	case string:
		s.audiences = []string{aud}
	case []any:
		for _, item := range aud {
			text, ok := item.(string)
			if !ok {
				return s, errors.New("its audience (aud) is not a list of texts")
			}
			s.audiences = append(s.audiences, text)
		}
	}
	if len(s.audiences) == 0 || len(s.audiences) > maxAudiences {
		return s, errors.New("it names no audience (aud)")
	}
	for _, date := range []struct {
		key      string
		into     *time.Time
		required bool
	}{{"exp", &s.expires, true}, {"nbf", &s.notBefore, false}, {"iat", &s.issuedAt, false}} {
		value, has := claims[date.key]
		if !has && !date.required {
			continue
		}
		at, err := numericDate(value)
		if err != nil {
			return s, fmt.Errorf("its %s is no time", date.key)
		}
		*date.into = at
	}
	return s, nil
}

// numericDate reads seconds since 1970, perhaps with a fraction (RFC 7519 §2).
func numericDate(value any) (time.Time, error) {
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, errors.New("no number")
	}
	f, err := number.Float64()
	if err != nil || math.IsNaN(f) || f <= 0 || f > maxDate {
		return time.Time{}, errors.New("out of range")
	}
	seconds, fraction := math.Modf(f)
	return time.Unix(int64(seconds), int64(fraction*1e9)), nil
}

// check holds the registered claims against the provider's configuration. A token
// without a role is for somebody else.
func (s standard) check(i *Issuer, now time.Time, roles []identity.Role) error {
	if len(roles) == 0 {
		return &refusal{reason: "TOKEN_AUDIENCE", detail: "the token is for another audience (aud)", allowed: strings.Join(i.Audiences, ", "),
			help: "ask the identity provider for a token for this audience"}
	}
	fresh := "ask the identity provider for a new token, and check the clocks"
	switch {
	case !now.Before(s.expires.Add(i.Leeway)):
		return &refusal{reason: "TOKEN_EXPIRED", detail: "the token has expired (exp)", help: fresh}
	case now.Add(i.Leeway).Before(s.notBefore):
		return &refusal{reason: "TOKEN_NOT_YET_VALID", detail: "the token is not valid yet (nbf)", help: fresh}
	case now.Add(i.Leeway).Before(s.issuedAt):
		return &refusal{reason: "TOKEN_NOT_YET_VALID", detail: "the token was issued in the future (iat)", help: fresh}
	case s.expires.Sub(now) > i.MaxLifetime+i.Leeway:
		return &refusal{reason: "TOKEN_LIFETIME", detail: "the token lasts too long (exp)", allowed: "at most " + i.MaxLifetime.String() + " from now",
			help: "ask the identity provider for a token that lasts less"}
	}
	if len(s.rolesNow(i, now, roles)) == 0 {
		return &refusal{reason: "TOKEN_OLD", detail: "the token is too old for opening a session (iat)", allowed: "issued in the last " + maxLoginAge.String(),
			help: "log in again: certwright login"}
	}
	return nil
}

// flatten gives nested claims their path as name. What two claims would share is
// refused: nobody could tell which is meant.
func flatten(claims map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(claims))
	var walk func(prefix string, object map[string]any) error
	walk = func(prefix string, object map[string]any) error {
		for name, value := range object {
			key := prefix + name
			if inner, nested := value.(map[string]any); nested {
				if err := walk(key+"/", inner); err != nil {
					return err
				}
				continue
			}
			if _, taken := out[key]; taken {
				return fmt.Errorf("two of its claims are called %.64q", key)
			}
			out[key] = plain(value)
		}
		return nil
	}
	return out, walk("", claims)
}

// plain is a claim's value with numbers that can be counted with; a whole number
// that has no exact int64 stays the text that it is.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
		return v.String()
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = plain(item)
		}
		return list
	case map[string]any:
		inner := make(map[string]any, len(v))
		for key, item := range v {
			inner[key] = plain(item)
		}
		return inner
	}
	return value
}

// idOf is the principal's ID: issuer and subject. A subject that could be an
// email address or free text, or is long, stands there as its hash, because the
// ID is in the ledger for ever.
func idOf(issuer, subject string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-"
	if len(issuer)+1+len(subject) <= maxPlainID && strings.Trim(subject, safe) == "" && !strings.HasPrefix(subject, "sha256:") {
		return issuer + "#" + subject
	}
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return issuer + "#sha256:" + hex.EncodeToString(sum[:])
}
