package ca

import (
	"crypto"
	"io"
)

// counted is an issuer's key for one purpose: each signature counts, at the key,
// whoever asked for it.
type counted struct {
	key   crypto.Signer
	count func()
}

// Public implements crypto.Signer.
func (c counted) Public() crypto.PublicKey { return c.key.Public() }

// Sign implements crypto.Signer.
func (c counted) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := c.key.Sign(rand, digest, opts)
	if err == nil {
		c.count()
	}
	return signature, err
}

// countedKey is the key of an issuer for a purpose; nil stays nil.
func (a *Authority) countedKey(ic IssuerConfig, purpose *map[string]uint64) crypto.Signer {
	if ic.Signer == nil {
		return nil
	}
	return counted{ic.Signer, func() { a.counters.add(purpose, ic.Name) }}
}

// CertificateSignatures is how many signatures the issuers' keys have made since
// New for anything but CRLs and OCSP answers.
func (a *Authority) CertificateSignatures() uint64 {
	a.counters.mu.Lock()
	defer a.counters.mu.Unlock()
	var n uint64
	for _, each := range a.counters.signatures {
		n += each
	}
	return n
}
