package ocsp

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

// OCSPResponseStatus (RFC 6960 §4.2.1).
const (
	malformedRequest = 1
	internalError    = 2
	tryLater         = 3
	unauthorized     = 6
)

// failure is an OCSPResponse without responseBytes.
func failure(status byte) []byte { return []byte{0x30, 3, 0x0a, 1, status} }

// status is a CertStatus (RFC 6960 §4.2.1); its number is the tag.
type status uint8

const (
	good    status = 0
	revoked status = 1
	unknown status = 2
)

// single is what a SingleResponse says (RFC 6960 §4.2.1).
type single struct {
	id        []byte // DER of the CertID, as it was asked
	status    status
	revokedAt time.Time
	reason    identity.RevocationReason
}

// response is what is signed: a ResponseData.
type response struct {
	keyHash    []byte // ResponderID byKey: SHA-1 of the responder's key
	thisUpdate time.Time
	nextUpdate time.Time // not for unknown
	cutoff     time.Time // archive cutoff (RFC 6960 §4.4.4), for what is known
	singles    []single
	nonce      []byte // nil: none
}

// tbs is the DER of the ResponseData. It is produced when its status is read:
// producedAt is thisUpdate.
func (r *response) tbs() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256+160*len(r.singles)))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit|2, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.keyHash) })
		b.AddASN1GeneralizedTime(r.thisUpdate)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, s := range r.singles {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { r.addSingle(b, s) })
			}
		})
		if r.nonce == nil {
			return
		}
		b.AddASN1(explicit|1, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, oidNonce, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.nonce) })
			})
		})
	})
	return b.Bytes()
}

func (r *response) addSingle(b *cryptobyte.Builder, s single) {
	b.AddBytes(s.id)
	switch s.status {
	case good:
		b.AddASN1(asn1.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {})
	case revoked:
		b.AddASN1(explicit|1, func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(s.revokedAt)
			if s.reason != identity.Unspecified { // RFC 5280 §5.3.1: absent rather than unspecified
				b.AddASN1(explicit|0, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.reason)) })
			}
		})
	default:
		b.AddASN1(asn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
	}
	b.AddASN1GeneralizedTime(r.thisUpdate)
	if s.status == unknown {
		return
	}
	b.AddASN1(explicit|0, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(r.nextUpdate) })
	b.AddASN1(explicit|1, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidCutoff, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(r.cutoff) })
		})
	})
}

func addExtension(b *cryptobyte.Builder, oid []byte, value cryptobyte.BuilderContinuation) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(oid)
		b.AddASN1(asn1.OCTET_STRING, value)
	})
}

// assemble is the DER of the OCSPResponse with a BasicOCSPResponse (RFC 6960
// §4.2.1). algorithm is an AlgorithmIdentifier's DER, certificate the
// responder's own, if the issuer did not sign itself.
func assemble(tbs, algorithm, signature, certificate []byte) ([]byte, error) {
	size := len(tbs) + len(algorithm) + len(signature) + len(certificate)
	b := cryptobyte.NewBuilder(make([]byte, 0, size+64))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(explicit|0, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(oidBasic)
				b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(tbs)
						b.AddBytes(algorithm)
						b.AddASN1BitString(signature)
						if len(certificate) == 0 {
							return
						}
						b.AddASN1(explicit|0, func(b *cryptobyte.Builder) {
							b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(certificate) })
						})
					})
				})
			})
		})
	})
	return b.Bytes()
}
