package ledger

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

var errNotDER = errors.New("not the DER of a certificate")

// tbsFields reads a TBSCertificate up to its signature algorithm (RFC 5280
// §4.1).
func tbsFields(der []byte) (serial *big.Int, algorithm []byte, err error) {
	s := cryptobyte.String(der)
	var tbs, version, alg cryptobyte.String
	serial = new(big.Int)
	if !s.ReadASN1(&tbs, asn1.SEQUENCE) || !s.Empty() ||
		!tbs.ReadOptionalASN1(&version, nil, asn1.Tag(0).Constructed().ContextSpecific()) ||
		!tbs.ReadASN1Integer(serial) || !tbs.ReadASN1Element(&alg, asn1.SEQUENCE) {
		return nil, nil, errors.New("the intent holds no TBSCertificate")
	}
	return serial, alg, nil
}

// serialOf is the serial of a TBSCertificate, which must be one of ours.
func serialOf(tbs []byte) (identity.Serial, error) {
	n, _, err := tbsFields(tbs)
	if err != nil {
		return identity.Serial{}, err
	}
	return identity.SerialFromBig(n)
}

// parseTBS reads a TBSCertificate as a certificate with an empty signature.
func parseTBS(tbs []byte) (*x509.Certificate, error) {
	_, algorithm, err := tbsFields(tbs)
	if err != nil {
		return nil, err
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

// CertificateOf reads an intent's TBSCertificate as a certificate with an empty
// signature.
func CertificateOf(tbs []byte) (*x509.Certificate, error) { return parseTBS(tbs) }
