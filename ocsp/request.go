package ocsp

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

// Explicit context-specific tags.
const (
	explicit0 asn1.Tag = 0xa0
	explicit1 asn1.Tag = 0xa1
	explicit2 asn1.Tag = 0xa2
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
	from  string    // the remote address of who asks; parse leaves it
}

// parse reads an OCSPRequest (RFC 6960 §4.1.1); false: it is malformed. The
// request refers to der afterwards.
func (r *request) parse(der []byte) bool {
	r.ids, r.nonce = r.one[:0], nil
	s := cryptobyte.String(der)
	var whole, tbs, list cryptobyte.String
	if len(der) > maxRequest || !s.ReadASN1(&whole, asn1.SEQUENCE) || !s.Empty() || !whole.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!skipSignature(&whole) {
		return false
	}
	return readVersion(&tbs) && tbs.SkipOptionalASN1(explicit1) && // requestorName
		tbs.ReadASN1(&list, asn1.SEQUENCE) && r.readList(&list) && r.readExtensions(&tbs, explicit2)
}

// readList reads the requestList.
func (r *request) readList(list *cryptobyte.String) bool {
	for !list.Empty() {
		var single cryptobyte.String
		var id certID
		if len(r.ids) == maxCertIDs || !list.ReadASN1(&single, asn1.SEQUENCE) || !id.read(&single) ||
			!r.readExtensions(&single, explicit0) {
			return false
		}
		r.ids = append(r.ids, id)
	}
	return len(r.ids) > 0
}

// skipSignature passes over an optionalSignature, the last thing in s, which must
// be well-formed.
func skipSignature(s *cryptobyte.String) bool {
	if s.Empty() {
		return true
	}
	var outer, signature, certs cryptobyte.String
	var present bool
	return s.ReadASN1(&outer, explicit0) && outer.ReadASN1(&signature, asn1.SEQUENCE) && outer.Empty() && s.Empty() &&
		signature.SkipASN1(asn1.SEQUENCE) && signature.SkipASN1(asn1.BIT_STRING) &&
		signature.ReadOptionalASN1(&certs, &present, explicit0) && signature.Empty() &&
		(!present || certs.SkipASN1(asn1.SEQUENCE) && certs.Empty())
}

// readVersion: version 1 is the only one; its number is 0 and may be left out.
func readVersion(s *cryptobyte.String) bool {
	var version cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&version, &present, explicit0) {
		return false
	}
	return !present || bytes.Equal(version, []byte{byte(asn1.INTEGER), 1, 0})
}

func (id *certID) read(s *cryptobyte.String) bool {
	var element, body, algorithm, name, key, serial cryptobyte.String
	if !s.ReadASN1Element(&element, asn1.SEQUENCE) {
		return false
	}
	id.raw = element
	if !element.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!body.ReadASN1(&name, asn1.OCTET_STRING) || !body.ReadASN1(&key, asn1.OCTET_STRING) ||
		!body.ReadASN1(&serial, asn1.INTEGER) || !body.Empty() || !minimal(serial) {
		return false
	}
	id.nameHash, id.keyHash, id.serial = name, key, serial
	return id.readAlgorithm(&algorithm)
}

// readAlgorithm reads the contents of the AlgorithmIdentifier. The parameters of
// a hash that is not known are its own.
func (id *certID) readAlgorithm(s *cryptobyte.String) bool {
	var oid, parameters cryptobyte.String
	if !readOID(s, &oid) {
		return false
	}
	bare := s.Empty()
	var tag asn1.Tag
	if !bare && (!s.ReadAnyASN1Element(&parameters, &tag) || !s.Empty()) {
		return false
	}
	switch {
	case bytes.Equal(oid, oidSHA1):
		id.variant = sha1Null
	case bytes.Equal(oid, oidSHA256):
		id.variant = sha256Null
	default:
		id.variant = otherHash
		return true
	}
	if bare {
		id.variant++
		return true
	}
	return bytes.Equal(parameters, null)
}

// readOID reads the DER of an OBJECT IDENTIFIER, which is not empty.
func readOID(s, oid *cryptobyte.String) bool {
	return s.ReadASN1Element(oid, asn1.OBJECT_IDENTIFIER) && len(*oid) > 2
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

// readExtensions reads the optional Extensions under a tag, the last thing in s
// (RFC 6960 §4.4).
func (r *request) readExtensions(s *cryptobyte.String, tag asn1.Tag) bool {
	if s.Empty() {
		return true
	}
	var outer, list cryptobyte.String
	if !s.ReadASN1(&outer, tag) || !s.Empty() || !outer.ReadASN1(&list, asn1.SEQUENCE) || !outer.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var oid, value cryptobyte.String
		critical := false
		if !readExtension(&list, &oid, &critical, &value) || !r.take(tag, oid, critical, value) {
			return false
		}
	}
	return true
}

// readExtension reads an Extension (RFC 5280 §4.1).
func readExtension(s, oid *cryptobyte.String, critical *bool, value *cryptobyte.String) bool {
	var extension cryptobyte.String
	if !s.ReadASN1(&extension, asn1.SEQUENCE) || !readOID(&extension, oid) {
		return false
	}
	if extension.PeekASN1Tag(asn1.BOOLEAN) && !extension.ReadASN1Boolean(critical) {
		return false
	}
	return extension.ReadASN1(value, asn1.OCTET_STRING) && extension.Empty()
}

// take notes what an extension says; false: it is malformed, or critical and not
// understood. The ones that are understood stand beside the whole request.
func (r *request) take(tag asn1.Tag, oid []byte, critical bool, value cryptobyte.String) bool {
	switch {
	case tag == explicit2 && bytes.Equal(oid, oidNonce):
		return r.nonce == nil && r.readNonce(value)
	case tag == explicit2 && bytes.Equal(oid, oidAccept):
		return !critical || acceptsBasic(value)
	}
	return !critical
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
