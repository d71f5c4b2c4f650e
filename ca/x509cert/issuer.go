package x509cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Issuer is a CA certificate with its key, ready to sign certificates.
type Issuer struct {
	cert      *x509.Certificate
	signer    crypto.Signer
	hash      crypto.Hash // 0: the message itself is signed (Ed25519)
	algorithm []byte      // DER of the AlgorithmIdentifier of its signatures
	placebo   []byte      // a signature value of the right shape, for the twin that is linted
	pool      *x509.CertPool
}

// NewIssuer joins a CA certificate and its key. With a nil signer the Issuer can
// draft and check, but not sign.
func NewIssuer(cert *x509.Certificate, signer crypto.Signer) (*Issuer, error) {
	if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate is not a CA's (RFC 5280 §4.2.1.9, §4.2.1.3)")
	}
	if len(cert.SubjectKeyId) == 0 {
		return nil, errors.New("the certificate has no subject key identifier (RFC 5280 §4.2.1.2)")
	}
	is := &Issuer{cert: cert, signer: signer, pool: x509.NewCertPool()}
	is.pool.AddCert(cert)
	if err := is.chooseAlgorithm(); err != nil {
		return nil, err
	}
	if signer == nil {
		return is, nil
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if !bytes.Equal(spki, cert.RawSubjectPublicKeyInfo) {
		return nil, errors.New("the key is not that of the certificate")
	}
	return is, nil
}

// Certificate is the issuer's own certificate.
func (is *Issuer) Certificate() *x509.Certificate { return is.cert }

// chooseAlgorithm fixes the one signature algorithm of the issuer's key (RFC
// 5758 §3.2, RFC 4055 §5, RFC 8410 §3).
func (is *Issuer) chooseAlgorithm() error {
	oid, null := asn1.ObjectIdentifier(nil), false
	switch k := is.cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		is.placebo = []byte{0x30, 6, 2, 1, 1, 2, 1, 1}
		switch k.Curve {
		case elliptic.P256():
			oid, is.hash = oidECDSAWithSHA256, crypto.SHA256
		case elliptic.P384():
			oid, is.hash = oidECDSAWithSHA384, crypto.SHA384
		}
	case *rsa.PublicKey:
		oid, is.hash, null = oidSHA256WithRSA, crypto.SHA256, true
		is.placebo = make([]byte, k.Size())
	case ed25519.PublicKey:
		oid = oidEd25519
		is.placebo = make([]byte, ed25519.SignatureSize)
	}
	if oid == nil {
		return fmt.Errorf("a key of type %T cannot issue", is.cert.PublicKey)
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
	var err error
	is.algorithm, err = b.Bytes()
	return err
}

// sign signs a message with the issuer's key.
func (is *Issuer) sign(message []byte) ([]byte, error) {
	if is.signer == nil {
		return nil, errors.New("the issuer's key is not at hand")
	}
	if is.hash != 0 {
		h := is.hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	return is.signer.Sign(rand.Reader, message, is.hash)
}

// assemble puts a TBSCertificate and a signature value into a Certificate (RFC
// 5280 §4.1).
func (is *Issuer) assemble(tbs, signature []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(is.algorithm)+len(signature)+16))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(is.algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}
