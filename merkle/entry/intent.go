package entry

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Intent is the body and ext of an IssuanceIntent: everything that will be
// signed, and by whose leave. Body:
//
//	opaque issuer[32]; opaque profile<0..2^8-1>; opaque policy[32];
//	opaque grant<0..2^8-1>; opaque evidence[32]; opaque owner<0..2^8-1>;
//	opaque csr[32]; opaque tbs<0..2^16-1>;
//
// Ext: a list of {uint16 type; opaque value<0..2^16-1>} with rising types:
// 1 request key[32], 2 request digest[32], 3 label commitments (32 octets each).
// The requester is the entry's actor.
type Intent struct {
	Issuer   [32]byte // SHA-256 of the issuer's SubjectPublicKeyInfo
	Profile  string
	Policy   [32]byte // SHA-256 of the policy document in force
	Grant    string
	Evidence [32]byte // SHA-256 of what the requester proved itself with
	Owner    string
	CSR      [32]byte // SHA-256 of the CSR's DER; zero if there was none
	TBS      []byte   // DER of the TBSCertificate, verbatim

	RequestKey    [32]byte   // identity.Request.Key; zero if there was no request ID
	RequestDigest [32]byte   // identity.Request.Digest; zero if there was no request ID
	Labels        [][32]byte // HMAC-SHA256(salt, label), see docs/ledger.md
}

const (
	extRequestKey uint16 = 1 + iota
	extRequestDigest
	extLabels
)

// Draft is the entry that says requester asked for this.
func (i Intent) Draft(requester string) (Draft, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 150+len(i.TBS)))
	b.AddBytes(i.Issuer[:])
	addString(b, i.Profile)
	b.AddBytes(i.Policy[:])
	addString(b, i.Grant)
	b.AddBytes(i.Evidence[:])
	addString(b, i.Owner)
	b.AddBytes(i.CSR[:])
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(i.TBS) })
	body, err := b.Bytes()
	if err != nil {
		return Draft{}, fmt.Errorf("issuance intent: %w", err)
	}
	ext, err := i.ext()
	if err != nil {
		return Draft{}, fmt.Errorf("issuance intent: %w", err)
	}
	return Draft{Kind: IssuanceIntent, Actor: requester, Body: body, Ext: ext}, nil
}

func (i Intent) ext() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	if i.RequestKey != ([32]byte{}) {
		addExt(b, extRequestKey, i.RequestKey[:])
		addExt(b, extRequestDigest, i.RequestDigest[:])
	}
	if len(i.Labels) > 0 {
		var all []byte
		for _, l := range i.Labels {
			all = append(all, l[:]...)
		}
		addExt(b, extLabels, all)
	}
	return b.Bytes()
}

// ParseIntent reads an IssuanceIntent's body and ext.
func ParseIntent(d Draft) (Intent, error) {
	var i Intent
	s := cryptobyte.String(d.Body)
	var tbs cryptobyte.String
	if d.Kind != IssuanceIntent || !s.CopyBytes(i.Issuer[:]) || !readString(&s, &i.Profile) ||
		!s.CopyBytes(i.Policy[:]) || !readString(&s, &i.Grant) || !s.CopyBytes(i.Evidence[:]) ||
		!readString(&s, &i.Owner) || !s.CopyBytes(i.CSR[:]) || !s.ReadUint16LengthPrefixed(&tbs) || !s.Empty() {
		return Intent{}, errors.New("not a well-formed issuance intent")
	}
	i.TBS = tbs
	return i, i.parseExt(d.Ext)
}

func (i *Intent) parseExt(ext []byte) error {
	return eachExt(ext, func(kind uint16, value []byte) error {
		switch {
		case kind == extRequestKey && len(value) == 32:
			i.RequestKey = [32]byte(value)
		case kind == extRequestDigest && len(value) == 32:
			i.RequestDigest = [32]byte(value)
		case kind == extLabels && len(value) > 0 && len(value)%32 == 0:
			for ; len(value) > 0; value = value[32:] {
				i.Labels = append(i.Labels, [32]byte(value[:32]))
			}
		default:
			return fmt.Errorf("issuance intent: extension %d is not known or not well-formed", kind)
		}
		return nil
	})
}

func addString(b *cryptobyte.Builder, s string) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func readString(s *cryptobyte.String, out *string) bool {
	var v cryptobyte.String
	ok := s.ReadUint8LengthPrefixed(&v)
	*out = string(v)
	return ok
}

func addExt(b *cryptobyte.Builder, kind uint16, value []byte) {
	b.AddUint16(kind)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(value) })
}

// eachExt calls read for each extension; types must rise, so that one list has
// one encoding.
func eachExt(ext []byte, read func(kind uint16, value []byte) error) error {
	s := cryptobyte.String(ext)
	last := -1
	for !s.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !s.ReadUint16(&kind) || !s.ReadUint16LengthPrefixed(&value) || int(kind) <= last {
			return errors.New("extensions are not well-formed")
		}
		last = int(kind)
		if err := read(kind, value); err != nil {
			return err
		}
	}
	return nil
}
