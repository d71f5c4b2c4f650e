package jws

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// MaxSize is the longest JWS that is read, in octets.
const MaxSize = 64 << 10

// Algorithms are the signature algorithms that account keys can use
// (RFC 7518 §3.1, RFC 8037 §3.1), in the order in which they are recommended.
func Algorithms() []string { return []string{"ES256", "ES384", "EdDSA", "RS256"} }

// hmacAlgorithm is that of external account bindings.
const hmacAlgorithm = "HS256"

// Use is what a JWS is used for; it decides what its header must have.
type Use int

// The uses.
const (
	Request Use = iota // an ACME request (RFC 8555 §6.2): url, nonce, and one of kid and jwk
	KeyRoll            // the inner JWS of a key change (§7.3.5): url, jwk, no nonce
	Binding            // an external account binding (§7.3.4): url, kid, no nonce, HS256
)

// Message is a JWS whose form is right. Nothing in it is proven before Verify.
type Message struct {
	Algorithm string
	KeyID     string           // header "kid"; empty if there is a Key
	Key       *jose.JSONWebKey // header "jwk": public and well-formed; nil if there is a KeyID
	Nonce     string           // base64url; empty if the use has none
	URL       string
	Payload   []byte // empty for POST-as-GET
	input     string // the JWS Signing Input (RFC 7515 §2)
	signature []byte
}

// AlgorithmError says that the algorithm is not accepted, or not with the key.
type AlgorithmError struct {
	Algorithm string
	Allowed   []string
}

// Error is one sentence.
func (e *AlgorithmError) Error() string {
	return fmt.Sprintf("the signature algorithm %.32q is not accepted here", e.Algorithm)
}

// ErrNonce says that the nonce is not base64url (RFC 8555 §6.5.2).
var ErrNonce = errors.New("the nonce is not base64url")

// ErrSignature says that the signature does not verify.
var ErrSignature = errors.New("the signature does not verify")

// header is the protected header. What it does not name is ignored, as RFC 7515
// §4 has it.
type header struct {
	algorithm, keyID, nonce, url string
	jwk                          []byte
	hasKeyID, hasNonce           bool
}

// Parse reads a JWS strictly. The error is an *AlgorithmError, ErrNonce, or says
// in one sentence what is not well-formed.
func Parse(data []byte, use Use) (*Message, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("the JWS has %d octets: %d are allowed", len(data), MaxSize)
	}
	protected, payload, signature, err := flattened(data)
	if err != nil {
		return nil, err
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(protected)
	if err != nil {
		return nil, errors.New("the protected header is not base64url")
	}
	m := &Message{input: protected + "." + payload}
	if m.Payload, err = base64.RawURLEncoding.Strict().DecodeString(payload); err != nil {
		return nil, errors.New("the payload is not base64url")
	}
	if m.signature, err = base64.RawURLEncoding.Strict().DecodeString(signature); err != nil || len(m.signature) == 0 {
		return nil, errors.New("the signature is not base64url, or is empty")
	}
	return m, m.readHeader(text, use)
}

// flattened takes the three members of the flattened serialization, and no
// others.
func flattened(data []byte) (protected, payload, signature string, err error) {
	all, err := members(data)
	if err != nil {
		return "", "", "", fmt.Errorf("the request is not a flattened JWS: %w", err)
	}
	texts := map[string]*string{"protected": &protected, "payload": &payload, "signature": &signature}
	for _, m := range all {
		to := texts[m.key]
		switch {
		case m.key == "header":
			return "", "", "", errors.New("the JWS has an unprotected header, which ACME does not allow")
		case m.key == "signatures":
			return "", "", "", errors.New("the JWS has a list of signatures: ACME takes the flattened form with one")
		case to == nil:
			return "", "", "", fmt.Errorf("the JWS has a member %.32q, which the flattened form has not", m.key)
		}
		if *to, err = unquote(m.value); err != nil {
			return "", "", "", fmt.Errorf("the JWS's %q is not a text", m.key)
		}
	}
	if len(all) != len(texts) {
		return "", "", "", errors.New("the JWS has not the three members protected, payload and signature")
	}
	return protected, payload, signature, nil
}

// readHeader reads and checks the protected header.
func (m *Message) readHeader(text []byte, use Use) error {
	all, err := members(text)
	if err != nil {
		return fmt.Errorf("the protected header cannot be read: %w", err)
	}
	var h header
	for _, member := range all {
		var to *string
		switch member.key {
		case "crit", "b64":
			return fmt.Errorf("the protected header has %q: no extension is understood", member.key)
		case "jwk":
			h.jwk = member.value
		case "alg":
			to = &h.algorithm
		case "kid":
			to, h.hasKeyID = &h.keyID, true
		case "nonce":
			to, h.hasNonce = &h.nonce, true
		case "url":
			to = &h.url
		}
		if to == nil {
			continue
		}
		if *to, err = unquote(member.value); err != nil {
			return fmt.Errorf("the protected header's %q is not a text", member.key)
		}
	}
	if err := h.check(use); err != nil {
		return err
	}
	m.Algorithm, m.KeyID, m.Nonce, m.URL = h.algorithm, h.keyID, h.nonce, h.url
	if h.jwk == nil {
		return nil
	}
	if m.Key, err = ParseKey(h.jwk); err != nil {
		return err
	}
	return m.CheckAlgorithm(m.Key.Key)
}

func (h header) check(use Use) error {
	allowed := Algorithms()
	if use == Binding {
		allowed = []string{hmacAlgorithm}
	}
	switch {
	case h.algorithm == "":
		return errors.New("the protected header has no \"alg\"")
	case !slices.Contains(allowed, h.algorithm):
		return &AlgorithmError{h.algorithm, allowed}
	case h.url == "":
		return errors.New("the protected header has no \"url\"")
	case h.hasKeyID && h.jwk != nil:
		return errors.New("the protected header has both \"kid\" and \"jwk\": one of them is allowed")
	case h.keyID == "" && h.jwk == nil:
		return errors.New("the protected header has neither \"kid\" nor \"jwk\"")
	}
	return h.checkUse(use)
}

// checkUse is what one use alone asks for.
func (h header) checkUse(use Use) error {
	switch {
	case use == KeyRoll && h.jwk == nil:
		return errors.New("the inner JWS must have the new key as \"jwk\"")
	case use == Binding && h.jwk != nil:
		return errors.New("the external account binding must have a \"kid\" and no \"jwk\"")
	case use == Binding && h.hasNonce: // for KeyRoll RFC 8555 §7.3.5 says to ignore it
		return errors.New("the external account binding must have no \"nonce\"")
	case use == Request && (h.nonce == "" || !isNonce(h.nonce)):
		return ErrNonce
	}
	return nil
}

func isNonce(nonce string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	return err == nil
}

// ParseKey reads a public JWK. A private or symmetric one is refused.
func ParseKey(data []byte) (*jose.JSONWebKey, error) {
	if err := CheckObject(data); err != nil {
		return nil, fmt.Errorf("the JWK cannot be read: %w", err)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(data); err != nil {
		return nil, errors.New("the JWK cannot be read")
	}
	if !key.Valid() || !key.IsPublic() {
		return nil, errors.New("the JWK is not a public key")
	}
	return &key, nil
}

// Thumbprint is the RFC 7638 thumbprint of a public key with SHA-256.
func Thumbprint(key *jose.JSONWebKey) ([32]byte, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return [32]byte{}, fmt.Errorf("thumbprint: %w", err)
	}
	return [32]byte(sum), nil
}
