package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
)

// CRLSigner signs an issuer's CRLs (RFC 5280 §5), and nothing else.
type CRLSigner struct {
	authority *Authority
	issuer    *issuer
}

// CRLSigners are those of the issuers whose key is at hand and which may sign
// CRLs, whatever their state: a retired issuer's certificates can be revoked.
func (a *Authority) CRLSigners() []*CRLSigner {
	var all []*CRLSigner
	for _, is := range a.issuers {
		if is.Signer != nil && is.Certificate.KeyUsage&x509.KeyUsageCRLSign != 0 {
			all = append(all, &CRLSigner{authority: a, issuer: is})
		}
	}
	return all
}

// Name is the issuer's.
func (s *CRLSigner) Name() string { return s.issuer.Name }

// KeyID is the issuer's.
func (s *CRLSigner) KeyID() identity.KeyID { return s.issuer.keyID }

// Base is what the URLs in new certificates begin with; empty if they name none.
// A shard's URL is a base and the shard's Path.
func (s *CRLSigner) Base() string { return s.authority.base }

// Shards is how many shards new certificates are spread over.
func (s *CRLSigner) Shards() int { return int(s.authority.shards) }

// Path is the path in the URL of a shard's CRL, as its certificates name it.
func (s *CRLSigner) Path(shard uint16) string { return crlPath(s.issuer.Name, shard) }

// Sign makes a CRL: linted by RFC 5280's lints and verified before it is
// returned, as DER.
func (s *CRLSigner) Sign(list x509cert.CRL) ([]byte, error) {
	return s.authority.linter.SignCRL(s.issuer.listing, list)
}

// OCSPSigner is an issuer's key for OCSP answers (RFC 6960 §4.2.2.2, case 1), each
// use counted.
type OCSPSigner struct{ issuer *issuer }

// OCSPSigner is that of the issuer of this name.
func (a *Authority) OCSPSigner(name string) (*OCSPSigner, error) {
	is := a.byName[name]
	if is == nil || is.Signer == nil {
		return nil, errors.New("the issuer's key is not at hand")
	}
	if is.Certificate.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, errors.New("the issuer's certificate does not allow it to sign OCSP answers (RFC 5280 §4.2.1.3, digitalSignature)")
	}
	return &OCSPSigner{issuer: is}, nil
}

// Public implements crypto.Signer.
func (s *OCSPSigner) Public() crypto.PublicKey { return s.issuer.Signer.Public() }

// Sign implements crypto.Signer.
func (s *OCSPSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.issuer.ocsp.Sign(rand, digest, opts)
}
