// Package entry is the codec of a ledger entry: a TLS-presentation envelope
// (RFC 8446 §3) around verbatim bytes. What was hashed is what is stored; it is
// never encoded again.
//
//	uint16 version; uint16 kind; uint64 unix_ms;
//	opaque actor<0..2^8-1>; opaque body<0..2^16-1>; opaque ext<0..2^16-1>;
//
// docs/ledger.md gives every body byte for byte.
package entry

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

const (
	// Version is the one version of the envelope.
	Version = 1
	// MaxSize is the largest entry in octets: a C2SP tlog-tiles entry bundle
	// gives each entry a 16-bit length.
	MaxSize = 65535
	// maxMilli is the last millisecond of the year 9999: beyond it neither RFC
	// 3339 nor a Timestamp can say what time it is.
	maxMilli = 253402300799999
)

// Kind says what an entry's body is. The list is append-only.
type Kind uint16

// The kinds of entry.
const (
	Genesis         Kind = 0
	IssuanceIntent  Kind = 1
	AbandonedIntent Kind = 2
	Revocation      Kind = 3
	IssuerEvent     Kind = 4
	PolicyChange    Kind = 5
	AdminAction     Kind = 6
	AccountEvent    Kind = 7
	CRLPublished    Kind = 8
	Retention       Kind = 9
	SSHIntent       Kind = 10
)

// String is the kind's name in outputs.
func (k Kind) String() string {
	names := [...]string{
		"genesis", "issuance-intent", "abandoned", "revocation", "issuer-event", "policy-change",
		"admin-action", "account-event", "crl-published", "retention", "ssh-intent",
	}
	if int(k) >= len(names) {
		return fmt.Sprintf("kind-%d", uint16(k))
	}
	return names[k]
}

// Draft is an entry before the storage gives it its time and its place.
type Draft struct {
	Kind  Kind
	Actor string // who did it, UTF-8, at most 255 octets
	Body  []byte
	Ext   []byte
}

// Entry is a stored entry.
type Entry struct {
	Draft
	Time time.Time // millisecond precision, UTC; never less than the entry's before it
}

// Marshal is the entry's one encoding, at time at.
func (d Draft) Marshal(at time.Time) ([]byte, error) {
	ms := at.UnixMilli()
	if ms < 0 || ms > maxMilli {
		return nil, errors.New("entry: time before 1970 or after 9999")
	}
	if !utf8.ValidString(d.Actor) {
		return nil, errors.New("entry: actor is not UTF-8")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 17+len(d.Actor)+len(d.Body)+len(d.Ext)))
	b.AddUint16(Version)
	b.AddUint16(uint16(d.Kind))
	b.AddUint64(uint64(ms))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(d.Actor)) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(d.Body) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(d.Ext) })
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	if len(out) > MaxSize {
		return nil, fmt.Errorf("entry of %d octets: %d are allowed", len(out), MaxSize)
	}
	return out, nil
}

// Parse reads one entry; Marshal of what it returns gives the same bytes.
func Parse(data []byte) (Entry, error) {
	if len(data) > MaxSize {
		return Entry{}, fmt.Errorf("entry of %d octets: %d are allowed", len(data), MaxSize)
	}
	s := cryptobyte.String(data)
	var version, kind uint16
	var ms uint64
	var actor, body, ext cryptobyte.String
	if !s.ReadUint16(&version) || !s.ReadUint16(&kind) || !s.ReadUint64(&ms) ||
		!s.ReadUint8LengthPrefixed(&actor) || !s.ReadUint16LengthPrefixed(&body) ||
		!s.ReadUint16LengthPrefixed(&ext) || !s.Empty() {
		return Entry{}, errors.New("entry: truncated or with trailing bytes")
	}
	if version != Version {
		return Entry{}, fmt.Errorf("entry: version %d is not known", version)
	}
	if ms > maxMilli {
		return Entry{}, errors.New("entry: time after 9999")
	}
	if !utf8.Valid(actor) {
		return Entry{}, errors.New("entry: actor is not UTF-8")
	}
	return Entry{
		Draft: Draft{Kind: Kind(kind), Actor: string(actor), Body: body, Ext: ext},
		Time:  time.UnixMilli(int64(ms)).UTC(),
	}, nil
}
