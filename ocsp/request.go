package ocsp

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

const (
	maxRequest = 4096 // octets of DER
	maxCertIDs = 32   // CertIDs in one request
	maxNonce   = 128  // RFC 9654 §2.1
	explicit   = asn1.Tag(0x80 | 0x20)
)

// variant is how a CertID names its issuer: by which hash, and whether the
// AlgorithmIdentifier has the parameter NULL or none. The answer's CertID
// repeats it.
type variant uint8

const (
	sha1Null variant = iota
	sha1Bare
	sha256Null
	sha256Bare
	variants // how many there are
	otherHash
)

// certID is a CertID (RFC 6960 §4.1.1). Its slices are parts of the request.
type certID struct {
	raw               []byte // the whole DER
	variant           variant
	nameHash, keyHash []byte
	serial            []byte // contents of the INTEGER, minimal
}

// request is an OCSPRequest.
type request struct {
	ids   []certID
	one   [1]certID // room for the usual request, without an allocation
	nonce []byte    // nil: none
}

// parse reads an OCSPRequest (RFC 6960 §4.1.1); false: it is malformed. The
// request refers to der afterwards.
func (r *request) parse(der []byte) bool {
	r.ids, r.nonce = r.one[:0], nil
	if len(der) > maxRequest {
		return false
	}
	s := cryptobyte.String(der)
	var whole, tbs, list cryptobyte.String
	if !s.ReadASN1(&whole, asn1.SEQUENCE) || !s.Empty() || !whole.ReadASN1(&tbs, asn1.SEQUENCE) {
		return false
	}
	if !whole.Empty() && (!skipSignature(&whole) || !whole.Empty()) {
		return false
	}
	if !readVersion(&tbs) || !tbs.SkipOptionalASN1(explicit|1) || // requestorName
		!tbs.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
		return false
	}
	for !list.Empty() {
		var single cryptobyte.String
		var id certID
		if len(r.ids) == maxCertIDs || !list.ReadASN1(&single, asn1.SEQUENCE) || !id.read(&single) ||
			!r.extensions(&single, 0) {
			return false
		}
		r.ids = append(r.ids, id)
	}
	return r.extensions(&tbs, 2)
}

// skipSignature passes over an optionalSignature, which must be well-formed.
func skipSignature(s *cryptobyte.String) bool {
	var outer, signature, certs cryptobyte.String
	var present bool
	return s.ReadASN1(&outer, explicit|0) && outer.ReadASN1(&signature, asn1.SEQUENCE) && outer.Empty() &&
		signature.SkipASN1(asn1.SEQUENCE) && signature.SkipASN1(asn1.BIT_STRING) &&
		signature.ReadOptionalASN1(&certs, &present, explicit|0) && signature.Empty() &&
		(!present || certs.SkipASN1(asn1.SEQUENCE) && certs.Empty())
}

// readVersion: version 1 is the only one; its number is 0 and may be left out.
func readVersion(s *cryptobyte.String) bool {
	var version cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&version, &present, explicit|0) {
		return false
	}
	return !present || bytes.Equal(version, []byte{byte(asn1.INTEGER), 1, 0})
}

func (id *certID) read(s *cryptobyte.String) bool {
	var element, body, algorithm, oid, name, key, serial cryptobyte.String
	if !s.ReadASN1Element(&element, asn1.SEQUENCE) {
		return false
	}
	id.raw = element
	if !element.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) || len(oid) == 2 ||
		!body.ReadASN1(&name, asn1.OCTET_STRING) || !body.ReadASN1(&key, asn1.OCTET_STRING) ||
		!body.ReadASN1(&serial, asn1.INTEGER) || !body.Empty() || !minimal(serial) {
		return false
	}
	id.nameHash, id.keyHash, id.serial = name, key, serial
	id.variant = otherHash
	bare := algorithm.Empty()
	switch {
	case bytes.Equal(oid, oidSHA1):
		id.variant = sha1Null
	case bytes.Equal(oid, oidSHA256):
		id.variant = sha256Null
	default: // its parameters are its own
		var tag asn1.Tag
		return bare || algorithm.ReadAnyASN1Element(&oid, &tag) && algorithm.Empty()
	}
	if bare {
		id.variant++
		return true
	}
	return bytes.Equal(algorithm, null)
}

// minimal tells whether the contents are those of a DER INTEGER (X.690 §8.3.2).
func minimal(n []byte) bool {
	switch {
	case len(n) == 0:
		return false
	case len(n) == 1:
		return true
	case n[0] == 0:
		return n[1]&0x80 != 0
	case n[0] == 0xff:
		return n[1]&0x80 == 0
	}
	return true
}

// ours is the serial as one of those that are issued here; false: it has not
// the shape of one.
func (id *certID) ours() (identity.Serial, bool) {
	var serial identity.Serial
	n := id.serial
	if n[0]&0x80 != 0 || len(n) > len(serial) || len(n) == 1 && n[0] == 0 {
		return serial, false
	}
	copy(serial[len(serial)-len(n):], n)
	return serial, true
}

// extensions reads the optional Extensions under an explicit tag, which is the
// last thing in s (RFC 6960 §4.4).
func (r *request) extensions(s *cryptobyte.String, tag asn1.Tag) bool {
	if s.Empty() {
		return true
	}
	var outer, list cryptobyte.String
	if !s.ReadASN1(&outer, explicit|tag) || !s.Empty() || !outer.ReadASN1(&list, asn1.SEQUENCE) ||
		!outer.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var extension, oid, value cryptobyte.String
		critical := false
		if !list.ReadASN1(&extension, asn1.SEQUENCE) || !extension.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) || len(oid) == 2 ||
			extension.PeekASN1Tag(asn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) ||
			!extension.ReadASN1(&value, asn1.OCTET_STRING) || !extension.Empty() {
			return false
		}
		switch {
		case tag == 2 && bytes.Equal(oid, oidNonce):
			if r.nonce != nil || !r.readNonce(value) {
				return false
			}
		case tag == 2 && bytes.Equal(oid, oidAccept):
			if critical && !acceptsBasic(value) {
				return false
			}
		case critical:
			return false
		}
	}
	return true
}

// readNonce: RFC 9654 §2.1.
func (r *request) readNonce(value cryptobyte.String) bool {
	var nonce cryptobyte.String
	if !value.ReadASN1(&nonce, asn1.OCTET_STRING) || !value.Empty() || len(nonce) == 0 || len(nonce) > maxNonce {
		return false
	}
	r.nonce = nonce
	return true
}

// acceptsBasic tells whether AcceptableResponses (RFC 6960 §4.4.3) names the one
// type of response that there is.
func acceptsBasic(value cryptobyte.String) bool {
	var list, oid cryptobyte.String
	if !value.ReadASN1(&list, asn1.SEQUENCE) || !value.Empty() {
		return false
	}
	found := false
	for !list.Empty() {
		if !list.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
			return false
		}
		found = found || bytes.Equal(oid, oidBasic)
	}
	return found
}
