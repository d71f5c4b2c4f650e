package bolt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/identity"
)

// facts are what the store's keys need of a TBSCertificate (RFC 5280 §4.1.2).
// Reading them takes a few microseconds, a twentieth of x509.ParseCertificate.
type facts struct {
	serial              identity.Serial
	notBefore, notAfter time.Time
	spki                identity.KeyID
	names               []identity.Identifier // of the subjectAltName, in its order
}

// subjectAltName is the DER of its object identifier, 2.5.29.17.
const subjectAltName = "\x55\x1d\x11"

var errTBS = errors.New("not a well-formed TBSCertificate")

// parseTBS reads the facts out of the DER of a TBSCertificate.
func parseTBS(tbs []byte) (facts, error) {
	var f facts
	var s, spki cryptobyte.String
	serial := new(big.Int)
	outer := cryptobyte.String(tbs)
	version := cbasn1.Tag(0).ContextSpecific().Constructed()
	if !outer.ReadASN1(&s, cbasn1.SEQUENCE) || !outer.Empty() || !s.SkipOptionalASN1(version) || !s.ReadASN1Integer(serial) ||
		!s.SkipASN1(cbasn1.SEQUENCE) || !s.SkipASN1(cbasn1.SEQUENCE) || !readValidity(&s, &f) ||
		!s.SkipASN1(cbasn1.SEQUENCE) || !s.ReadASN1Element(&spki, cbasn1.SEQUENCE) {
		return facts{}, errTBS
	}
	var err error
	if f.serial, err = identity.SerialFromBig(serial); err != nil {
		return facts{}, err
	}
	f.spki = sha256.Sum256(spki)
	return f, readNames(s, &f)
}

func readValidity(s *cryptobyte.String, f *facts) bool {
	var validity cryptobyte.String
	return s.ReadASN1(&validity, cbasn1.SEQUENCE) && readTime(&validity, &f.notBefore) && readTime(&validity, &f.notAfter) &&
		validity.Empty()
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(cbasn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// readNames finds the subjectAltName among what follows the public key.
func readNames(s cryptobyte.String, f *facts) error {
	var wrapped, list cryptobyte.String
	var present bool
	if !s.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific()) || !s.SkipOptionalASN1(cbasn1.Tag(2).ContextSpecific()) ||
		!s.ReadOptionalASN1(&wrapped, &present, cbasn1.Tag(3).ContextSpecific().Constructed()) || !s.Empty() {
		return errTBS
	}
	if !present {
		return nil
	}
	if !wrapped.ReadASN1(&list, cbasn1.SEQUENCE) || !wrapped.Empty() {
		return errTBS
	}
	for !list.Empty() {
		if err := readExtension(&list, f); err != nil {
			return err
		}
	}
	return nil
}

// readExtension reads one extension, and the names if it is the subjectAltName.
func readExtension(list *cryptobyte.String, f *facts) error {
	var extension, id, value cryptobyte.String
	if !list.ReadASN1(&extension, cbasn1.SEQUENCE) || !extension.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) ||
		!extension.SkipOptionalASN1(cbasn1.BOOLEAN) || !extension.ReadASN1(&value, cbasn1.OCTET_STRING) || !extension.Empty() {
		return errTBS
	}
	if string(id) != subjectAltName {
		return nil
	}
	return readGeneralNames(value, f)
}

// readGeneralNames reads the choices of RFC 5280 §4.2.1.6 that an Identifier
// can be; the others have no index.
func readGeneralNames(value cryptobyte.String, f *facts) error {
	var names cryptobyte.String
	if !value.ReadASN1(&names, cbasn1.SEQUENCE) || !value.Empty() {
		return errTBS
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return errTBS
		}
		if bytes.IndexByte(name, 0) >= 0 && tag != cbasn1.Tag(7).ContextSpecific() {
			return errors.New("a name of the certificate has a NUL")
		}
		switch tag {
		case cbasn1.Tag(1).ContextSpecific():
			f.names = append(f.names, identity.Identifier{Type: identity.Email, Value: string(name)})
		case cbasn1.Tag(2).ContextSpecific():
			f.names = append(f.names, identity.Identifier{Type: identity.DNS, Value: string(name)})
		case cbasn1.Tag(6).ContextSpecific():
			f.names = append(f.names, identity.Identifier{Type: identity.URI, Value: string(name)})
		case cbasn1.Tag(7).ContextSpecific():
			addr, ok := netip.AddrFromSlice(name)
			if !ok {
				return errTBS
			}
			f.names = append(f.names, identity.Identifier{Type: identity.IP, Value: addr.Unmap().String()})
		}
	}
	return nil
}

// sameNames tells whether two lists name the same set.
func sameNames(a, b []identity.Identifier) bool {
	return slices.Equal(nameTexts(a), nameTexts(b))
}

// nameTexts are the names as their index knows them, sorted, each once.
func nameTexts(names []identity.Identifier) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n.String()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// splitCertificate cuts a certificate's DER into its TBS and what follows it:
// the signature's algorithm and value.
func splitCertificate(der []byte) (tbs, tail []byte, err error) {
	var inner, first cryptobyte.String
	s := cryptobyte.String(der)
	if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() || !inner.ReadASN1Element(&first, cbasn1.SEQUENCE) {
		return nil, nil, errors.New("not a well-formed certificate")
	}
	tail = inner
	if !inner.SkipASN1(cbasn1.SEQUENCE) || !inner.SkipASN1(cbasn1.BIT_STRING) || !inner.Empty() {
		return nil, nil, errors.New("not a well-formed certificate")
	}
	return first, tail, nil
}

// joinCertificate is the certificate that splitCertificate cut: DER has one
// encoding of the outer length.
func joinCertificate(tbs, tail []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(tail)+4))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(tail)
	})
	return b.Bytes()
}
