package ocsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 6960 §4.2.1: KeyHash is SHA-1, a name and no protection
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// signer signs answers for one issuer: a delegated responder's key with its
// certificate, or the issuer's own key.
type signer struct {
	key         crypto.Signer
	hash        crypto.Hash // 0: the message itself is signed (Ed25519)
	algorithm   []byte      // DER of the AlgorithmIdentifier
	keyHash     []byte      // SHA-1 of the key's BIT STRING
	certificate []byte      // DER; nil: the issuer's own key
	serial      *big.Int    // of the certificate
	notAfter    time.Time   // of the certificate, or the issuer's
	renewAt     time.Time   // of a delegated certificate
}

// newSigner is the signer of a key whose certificate is cert.
func newSigner(key crypto.Signer, cert *x509.Certificate) (*signer, error) {
	bits, err := keyBits(cert)
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not that of the certificate")
	}
	sum := sha1.Sum(bits) //nolint:gosec // see the import
	s := &signer{key: key, keyHash: sum[:], serial: cert.SerialNumber, notAfter: cert.NotAfter, hash: crypto.SHA256}
	oid, parameters := oidECDSA2, []byte(nil)
	switch k := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
		case elliptic.P384():
			oid, s.hash = oidECDSA3, crypto.SHA384
		default:
			return nil, fmt.Errorf("curve %s cannot sign answers", k.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		oid, parameters = oidRSA, null
	case ed25519.PublicKey:
		oid, s.hash = oidEd, 0
	default:
		return nil, fmt.Errorf("a key of type %T cannot sign answers", cert.PublicKey)
	}
	s.algorithm = tlv(asn1.SEQUENCE, oid, parameters)
	return s, nil
}

// sign is the whole OCSPResponse for r.
func (s *signer) sign(r *response) ([]byte, error) {
	r.keyHash = s.keyHash
	tbs := r.tbs()
	digest := tbs
	if s.hash != 0 {
		h := s.hash.New()
		h.Write(tbs)
		digest = h.Sum(nil)
	}
	signature, err := s.key.Sign(rand.Reader, digest, s.hash)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return assemble(tbs, s.algorithm, signature, s.certificate), nil
}

// keyBits are the octets of a certificate's subjectPublicKey, without tag,
// length and number of unused bits: what RFC 6960 hashes.
func keyBits(cert *x509.Certificate) ([]byte, error) {
	s := cryptobyte.String(cert.RawSubjectPublicKeyInfo)
	var spki cryptobyte.String
	var bits []byte
	if !s.ReadASN1(&spki, asn1.SEQUENCE) || !spki.SkipASN1(asn1.SEQUENCE) || !spki.ReadASN1BitStringAsBytes(&bits) {
		return nil, errors.New("the certificate's public key cannot be read")
	}
	return bits, nil
}
