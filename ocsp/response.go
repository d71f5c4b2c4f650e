package ocsp

import (
	"time"

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
func (r *response) tbs() []byte {
	now := generalizedTime(r.thisUpdate)
	singles := make([][]byte, len(r.singles))
	for i := range r.singles {
		singles[i] = r.single(&r.singles[i], now)
	}
	var extensions []byte
	if r.nonce != nil {
		extensions = tlv(explicit1, tlv(asn1.SEQUENCE, extensionOf(oidNonce, tlv(asn1.OCTET_STRING, r.nonce))))
	}
	responder := tlv(explicit2, tlv(asn1.OCTET_STRING, r.keyHash))
	return tlv(asn1.SEQUENCE, responder, now, tlv(asn1.SEQUENCE, singles...), extensions)
}

// single is the DER of a SingleResponse; now is thisUpdate's.
func (r *response) single(s *single, now []byte) []byte {
	if s.status == unknown {
		return tlv(asn1.SEQUENCE, s.id, []byte{0x80 | byte(unknown), 0}, now)
	}
	state := []byte{0x80 | byte(good), 0}
	if s.status == revoked {
		var reason []byte
		if s.reason != identity.Unspecified { // RFC 5280 §5.3.1: absent rather than unspecified
			reason = []byte{byte(explicit0), 3, byte(asn1.ENUM), 1, byte(s.reason)}
		}
		state = tlv(explicit1, generalizedTime(s.revokedAt), reason)
	}
	return tlv(asn1.SEQUENCE, s.id, state, now, tlv(explicit0, generalizedTime(r.nextUpdate)),
		tlv(explicit1, tlv(asn1.SEQUENCE, extensionOf(oidCutoff, generalizedTime(r.cutoff)))))
}

func extensionOf(oid, value []byte) []byte {
	return tlv(asn1.SEQUENCE, oid, tlv(asn1.OCTET_STRING, value))
}

// assemble is the DER of the OCSPResponse with a BasicOCSPResponse (RFC 6960
// §4.2.1). algorithm is an AlgorithmIdentifier's DER, certificate the
// responder's own, if the issuer did not sign itself.
func assemble(tbs, algorithm, signature, certificate []byte) []byte {
	var certificates []byte
	if certificate != nil {
		certificates = tlv(explicit0, tlv(asn1.SEQUENCE, certificate))
	}
	basic := tlv(asn1.SEQUENCE, tbs, algorithm, tlv(asn1.BIT_STRING, []byte{0}, signature), certificates)
	return tlv(asn1.SEQUENCE, []byte{byte(asn1.ENUM), 1, 0}, // successful
		tlv(explicit0, tlv(asn1.SEQUENCE, oidBasic, tlv(asn1.OCTET_STRING, basic))))
}

// tlv is the DER of a tag with contents of less than 16 MiB. Answers are made
// from the inside out by it: cryptobyte's Builder costs a third of a signature.
func tlv(tag asn1.Tag, contents ...[]byte) []byte {
	n := 0
	for _, c := range contents {
		n += len(c)
	}
	out := make([]byte, 0, n+5)
	switch out = append(out, byte(tag)); {
	case n < 1<<7:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	for _, c := range contents {
		out = append(out, c...)
	}
	return out
}

// generalizedTime is the DER of a time, in whole seconds (RFC 5280 §4.1.2.5.2).
func generalizedTime(t time.Time) []byte {
	out := append(make([]byte, 0, 17), byte(asn1.GeneralizedTime), 15)
	return t.UTC().AppendFormat(out, "20060102150405Z")
}
