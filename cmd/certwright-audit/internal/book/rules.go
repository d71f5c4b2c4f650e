package book

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Issued is a certificate as an intent records it.
type Issued struct {
	Profile, Grant, Actor string
	Time                  time.Time         // of the entry
	Certificate           *x509.Certificate // without a signature
}

// Rules are the bounds that one policy document sets, as far as they can be told
// from the entry alone.
type Rules interface {
	// Check says, a sentence each, what of the certificate is out of bounds.
	Check(i Issued) []string
}

// ReadRules reads a policy document.
type ReadRules func(document []byte) (Rules, error)

// parseTBS reads a TBSCertificate (RFC 5280 §4.1) as a certificate with an empty
// signature.
func parseTBS(tbs []byte) (*x509.Certificate, error) {
	s := cryptobyte.String(tbs)
	var inner, version, algorithm cryptobyte.String
	if !s.ReadASN1(&inner, asn1.SEQUENCE) || !s.Empty() ||
		!inner.ReadOptionalASN1(&version, nil, asn1.Tag(0).Constructed().ContextSpecific()) ||
		!inner.SkipASN1(asn1.INTEGER) || !inner.ReadASN1Element(&algorithm, asn1.SEQUENCE) {
		return nil, errors.New("the intent holds no TBSCertificate")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+32))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(nil)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the intent's TBSCertificate: %w", err)
	}
	return cert, nil
}
