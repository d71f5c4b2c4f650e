package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The bounds of a token's parts, in octets as they are sent.
const (
	maxToken  = 8 << 10
	maxHeader = 2 << 10
	maxKeyID  = 256
	maxIssuer = 512
)

// peeked is what a token says of itself before anything of it is proven.
type peeked struct {
	alg, kid string
	hasKid   bool
	access   bool // it calls itself an access token (RFC 9068)
	issuer   string
	claims   map[string]any
}

// looksLikeToken tells a JWS in compact serialization (RFC 7515 §7.1) from other
// bearer tokens: three parts, of which the first is a JSON object in base64url.
func looksLikeToken(text string) bool {
	return strings.HasPrefix(text, "ey") && strings.Count(text, ".") == 2
}

// peek reads header and claims of a token. The error says what is wrong, and
// nothing of what the token holds but names of keys.
func peek(text string) (peeked, error) {
	var p peeked
	if len(text) > maxToken {
		return p, fmt.Errorf("it has more than %d octets", maxToken)
	}
	if strings.Count(text, ".") != 2 {
		return p, errors.New("it has not three parts")
	}
	first, rest, _ := strings.Cut(text, ".")
	second, third, _ := strings.Cut(rest, ".")
	if len(first) > maxHeader {
		return p, fmt.Errorf("its header has more than %d octets", maxHeader)
	}
	header, err := part(first)
	if err != nil {
		return p, fmt.Errorf("its header: %w", err)
	}
	if p.claims, err = part(second); err != nil {
		return p, fmt.Errorf("its claims: %w", err)
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(third); err != nil || third == "" {
		return p, errors.New("it has no signature")
	}
	if err := p.readHeader(header); err != nil {
		return p, err
	}
	issuer, ok := p.claims["iss"].(string)
	if !ok || issuer == "" || len(issuer) > maxIssuer {
		return p, errors.New("it names no issuer (iss)")
	}
	p.issuer = issuer
	return p, nil
}

func (p *peeked) readHeader(header map[string]any) error {
	var ok bool
	if p.alg, ok = header["alg"].(string); !ok || p.alg == "" {
		return errors.New("its header names no algorithm (alg)")
	}
	for _, key := range []string{"crit", "b64", "enc", "zip"} {
		if _, has := header[key]; has {
			return fmt.Errorf("its header has %s, which is not known here", key)
		}
	}
	if kid, has := header["kid"]; has {
		if p.kid, ok = kid.(string); !ok || p.kid == "" || len(p.kid) > maxKeyID {
			return errors.New("its header names the key (kid) by what is not a short text")
		}
		p.hasKid = true
	}
	if typ, has := header["typ"]; has {
		name, ok := typ.(string)
		name = strings.TrimPrefix(strings.ToLower(name), "application/")
		if !ok || name != "jwt" && name != "at+jwt" {
			return errors.New("its type (typ) is not JWT: it was made for something else")
		}
		p.access = name == "at+jwt"
	}
	return nil
}

// part is one part of a token: a JSON object in base64url without padding.
func part(text string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	return object(data)
}
