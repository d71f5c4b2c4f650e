package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// CheckAlgorithm returns an *AlgorithmError unless the algorithm is the one for
// the key: one key type or curve, one algorithm.
func (m *Message) CheckAlgorithm(key any) error {
	fitting := ""
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			fitting = "ES256"
		case elliptic.P384():
			fitting = "ES384"
		default: // keys.CheckPublic refuses the key, with a better reason
			return nil
		}
	case ed25519.PublicKey:
		fitting = "EdDSA"
	case *rsa.PublicKey:
		fitting = "RS256"
	case []byte:
		fitting = hmacAlgorithm
	}
	if m.Algorithm != fitting {
		return &AlgorithmError{m.Algorithm, []string{fitting}}
	}
	return nil
}

// Verify verifies the signature by a public key, or for Binding by the octets of
// the HMAC key. The error is an *AlgorithmError or ErrSignature.
func (m *Message) Verify(key any) error {
	if err := m.CheckAlgorithm(key); err != nil {
		return err
	}
	if !m.fits(key) {
		return ErrSignature
	}
	return nil
}

// fits tells whether the signature is the key's. The key has the type of the
// algorithm, as CheckAlgorithm has seen.
func (m *Message) fits(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			sum := sha256.Sum256([]byte(m.input))
			return m.fitsECDSA(k, sum[:], 32)
		case elliptic.P384():
			sum := sha512.Sum384([]byte(m.input))
			return m.fitsECDSA(k, sum[:], 48)
		}
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, []byte(m.input), m.signature)
	case *rsa.PublicKey:
		sum := sha256.Sum256([]byte(m.input))
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], m.signature) == nil
	case []byte: // RFC 7518 §3.2
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(m.input))
		return hmac.Equal(mac.Sum(nil), m.signature)
	}
	return false
}

// fitsECDSA reads the signature as R || S, each of size octets (RFC 7518 §3.4).
func (m *Message) fitsECDSA(key *ecdsa.PublicKey, sum []byte, size int) bool {
	if len(m.signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(m.signature[:size]), new(big.Int).SetBytes(m.signature[size:])
	return ecdsa.Verify(key, sum, r, s)
}
