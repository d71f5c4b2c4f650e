package entry

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// Body is what an entry of one kind records. Draft is the entry in which actor
// records it; parsing that draft gives the same body. An error: a field is too
// long or not of its form.
type Body interface {
	Draft(actor string) (Draft, error)
}

// ParseBody reads the body and ext of any kind. An error: the kind is not known,
// or the bytes are not the one encoding of any body of that kind.
func ParseBody(d Draft) (Body, error) {
	switch d.Kind {
	case Genesis:
		return body(ParseGenesis(d))
	case IssuanceIntent:
		return body(ParseIntent(d))
	case AbandonedIntent:
		return body(ParseAbandoned(d))
	case Revocation:
		return body(ParseRevocation(d))
	case IssuerEvent:
		return body(ParseIssuerEvent(d))
	case PolicyChange:
		return body(ParsePolicyChange(d))
	case AdminAction:
		return body(ParseAdminAction(d))
	case AccountEvent:
		return body(ParseAccountEvent(d))
	case CRLPublished:
		return body(ParseCRLPublished(d))
	case Retention:
		return body(ParseRetention(d))
	case SSHIntent:
		return body(ParseSSHIntent(d))
	}
	return nil, fmt.Errorf("entry: %s is not known", d.Kind)
}

// body turns a failed parse into a nil Body.
func body[B Body](b B, err error) (Body, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Commit is the commitment that stands in an entry in place of a value which
// must be erasable: HMAC-SHA256 with the salt as its key. Without the salt the
// value cannot be guessed from it.
func Commit(salt [32]byte, value []byte) [32]byte {
	h := hmac.New(sha256.New, salt[:])
	h.Write(value)
	return [32]byte(h.Sum(nil))
}

// draft finishes a body; ext may be nil.
func draft(kind Kind, actor string, b, ext *cryptobyte.Builder) (Draft, error) {
	if !utf8.ValidString(actor) || len(actor) > 255 {
		return Draft{}, fmt.Errorf("%s: actor is not UTF-8 of at most 255 octets", kind)
	}
	d := Draft{Kind: kind, Actor: actor}
	var err error
	if d.Body, err = b.Bytes(); err != nil {
		return Draft{}, fmt.Errorf("%s: %w", kind, err)
	}
	if ext == nil {
		return d, nil
	}
	if d.Ext, err = ext.Bytes(); err != nil {
		return Draft{}, fmt.Errorf("%s: %w", kind, err)
	}
	return d, nil
}

// bare is the body of a draft of one kind that has no extensions.
func bare(d Draft, kind Kind) (cryptobyte.String, error) {
	if d.Kind != kind || len(d.Ext) != 0 {
		return nil, malformed(kind)
	}
	return d.Body, nil
}

func malformed(kind Kind) error { return fmt.Errorf("not a well-formed %s", kind) }

// addString adds UTF-8 of at most 255 octets.
func addString(b *cryptobyte.Builder, s string) {
	if !utf8.ValidString(s) {
		b.SetError(errors.New("text is not UTF-8"))
	}
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func readString(s *cryptobyte.String, out *string) bool {
	var v cryptobyte.String
	ok := s.ReadUint8LengthPrefixed(&v) && utf8.Valid(v)
	*out = string(v)
	return ok
}

// addCode adds a code: a word that programs compare.
func addCode(b *cryptobyte.Builder, code string) {
	if !isCode(code) {
		b.SetError(fmt.Errorf("%.64q is not a code of 1 to 64 of a-z, 0-9, \"-\", \".\"", code))
	}
	addString(b, code)
}

func readCode(s *cryptobyte.String, out *string) bool {
	return readString(s, out) && isCode(*out)
}

func isCode(code string) bool {
	return len(code) > 0 && len(code) <= 64 && strings.Trim(code, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// addBytes adds at most 65,535 octets.
func addBytes(b *cryptobyte.Builder, v []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

// readBytes leaves out as it is if there are none.
func readBytes(s *cryptobyte.String, out *[]byte) bool {
	var v cryptobyte.String
	ok := s.ReadUint16LengthPrefixed(&v)
	if len(v) > 0 {
		*out = v
	}
	return ok
}

func addHashes(b *cryptobyte.Builder, list [][32]byte) { addBytes(b, join(list)) }

func readHashes(s *cryptobyte.String, out *[][32]byte) bool {
	var v []byte
	if !readBytes(s, &v) || len(v)%32 != 0 {
		return false
	}
	*out = split(v)
	return true
}

func join(list [][32]byte) []byte {
	all := make([]byte, 0, 32*len(list))
	for _, h := range list {
		all = append(all, h[:]...)
	}
	return all
}

// split is the reverse of join; a list of none is nil.
func split(all []byte) [][32]byte {
	var list [][32]byte
	for ; len(all) >= 32; all = all[32:] {
		list = append(list, [32]byte(all[:32]))
	}
	return list
}

// addTime adds Unix milliseconds.
func addTime(b *cryptobyte.Builder, t time.Time) {
	ms := t.UnixMilli()
	if ms < 0 || ms > maxMilli {
		b.SetError(errors.New("time before 1970 or after 9999"))
		return
	}
	b.AddUint64(uint64(ms))
}

func readTime(s *cryptobyte.String, out *time.Time) bool {
	var ms uint64
	if !s.ReadUint64(&ms) || ms > maxMilli {
		return false
	}
	*out = time.UnixMilli(int64(ms)).UTC()
	return true
}
