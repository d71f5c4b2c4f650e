package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// The bounds of a key set.
const (
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
)

// publicKey is one usable key of a set.
type publicKey struct {
	kid        string
	algorithms []string // that it can verify
	key        any      // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey
}

// parseKeys reads a JWK set (RFC 7517 §5). Keys that cannot verify, that are not
// known or weak are left out, as §5 has it; a set without any usable key is an
// error.
func parseKeys(data []byte) ([]publicKey, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("the key set has more than %d octets", MaxBytes)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set is not JSON")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var out []publicKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(raw, &key); err != nil {
			continue
		}
		if usable, ok := usableKey(key); ok {
			out = append(out, usable)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the key set has no key that tokens could be verified with")
	}
	return out, nil
}

// usableKey is the key with the algorithms that it verifies: those of its type, or
// the one that it names.
func usableKey(key jose.JSONWebKey) (publicKey, bool) {
	out := publicKey{kid: key.KeyID, key: key.Key, algorithms: algorithmsOf(key.Key)}
	if key.Use != "" && key.Use != "sig" || len(key.KeyID) > maxKeyID {
		return out, false
	}
	if key.Algorithm != "" {
		named := key.Algorithm
		if strings.EqualFold(named, "Ed25519") { // RFC 9864
			named = "EdDSA"
		}
		if !slices.Contains(out.algorithms, named) {
			return out, false
		}
		out.algorithms = []string{named}
	}
	return out, len(out.algorithms) > 0
}

// algorithmsOf are those that a public key of this type verifies; none for a key
// that is weak, private or symmetric.
func algorithmsOf(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSABits && bits <= maxRSABits && k.E >= 3 && k.E%2 == 1 {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// fitting are the keys that a token may have been signed with: of its kid and
// algorithm; of a token without a kid, the only one of its algorithm.
func fitting(keys []publicKey, said peeked) []any {
	var out []any
	for _, key := range keys {
		if slices.Contains(key.algorithms, said.alg) && (!said.hasKid || key.kid == said.kid) {
			out = append(out, key.key)
		}
	}
	if !said.hasKid && len(out) > 1 {
		return nil
	}
	return out
}
