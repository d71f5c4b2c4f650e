package entry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// MaxPolicy is the largest policy document in octets: with its envelope it must
// fit an entry.
const MaxPolicy = 48 << 10

// Origin is the body of a Genesis: the first entry of a ledger.
//
//	opaque origin<1..2^8-1>; opaque certificates<0..2^16-1>;
//	opaque previous<0..2^16-1>;
type Origin struct {
	Origin       string     // the checkpoints' first line
	Certificates [][32]byte // SHA-256 of each CA certificate's DER
	Previous     []byte     // the last checkpoint (signed note) of the epoch before; empty at first
}

// Draft is the entry in which actor records it.
func (o Origin) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	if o.Origin == "" {
		b.SetError(errors.New("empty origin"))
	}
	addString(b, o.Origin)
	addHashes(b, o.Certificates)
	addBytes(b, o.Previous)
	return draft(Genesis, actor, b, nil)
}

// ParseGenesis reads a Genesis.
func ParseGenesis(d Draft) (Origin, error) {
	var o Origin
	s, err := bare(d, Genesis)
	if err != nil {
		return o, err
	}
	if !readString(&s, &o.Origin) || o.Origin == "" || !readHashes(&s, &o.Certificates) ||
		!readBytes(&s, &o.Previous) || !s.Empty() {
		return Origin{}, malformed(Genesis)
	}
	return o, nil
}

// Policy is the body of a PolicyChange: from here on this document rules.
//
//	opaque sha256[32]; opaque document<0..49152>;
type Policy struct {
	Document []byte // at most MaxPolicy octets, verbatim
}

// Hash is the document's SHA-256, the name of the policy version everywhere.
func (p Policy) Hash() [32]byte { return sha256.Sum256(p.Document) }

// Draft is the entry in which actor records it.
func (p Policy) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 34+len(p.Document)))
	if len(p.Document) > MaxPolicy {
		b.SetError(fmt.Errorf("document of %d octets: %d are allowed", len(p.Document), MaxPolicy))
	}
	hash := p.Hash()
	b.AddBytes(hash[:])
	addBytes(b, p.Document)
	return draft(PolicyChange, actor, b, nil)
}

// ParsePolicyChange reads a PolicyChange and checks the document against its
// hash.
func ParsePolicyChange(d Draft) (Policy, error) {
	var p Policy
	var hash [32]byte
	s, err := bare(d, PolicyChange)
	if err != nil {
		return p, err
	}
	if !s.CopyBytes(hash[:]) || !readBytes(&s, &p.Document) || !s.Empty() || len(p.Document) > MaxPolicy {
		return Policy{}, malformed(PolicyChange)
	}
	if p.Hash() != hash {
		return Policy{}, fmt.Errorf("%s: the document's hash is not %x", PolicyChange, hash)
	}
	return p, nil
}

// Action is the body of an AdminAction: somebody with rights changed something.
// None of its texts may name a person, an address or a secret: such values
// stand as commitments.
//
//	opaque action<1..64>; opaque target<0..2^8-1>; opaque detail<0..2^16-1>;
//	opaque commitments<0..2^16-1>;
type Action struct {
	Action      string     // a code: "token.created", "token.revoked", "configuration.changed"
	Target      string     // what it was done to: an ID, a name
	Detail      string     // UTF-8, what has changed: names of profiles, numbers, hashes
	Commitments [][32]byte // see Commit
}

// Draft is the entry in which actor records it.
func (a Action) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	addCode(b, a.Action)
	addString(b, a.Target)
	if !utf8.ValidString(a.Detail) {
		b.SetError(errors.New("detail is not UTF-8"))
	}
	addBytes(b, []byte(a.Detail))
	addHashes(b, a.Commitments)
	return draft(AdminAction, actor, b, nil)
}

// ParseAdminAction reads an AdminAction.
func ParseAdminAction(d Draft) (Action, error) {
	var a Action
	var detail []byte
	s, err := bare(d, AdminAction)
	if err != nil {
		return a, err
	}
	if !readCode(&s, &a.Action) || !readString(&s, &a.Target) || !readBytes(&s, &detail) ||
		!utf8.Valid(detail) || !readHashes(&s, &a.Commitments) || !s.Empty() {
		return Action{}, malformed(AdminAction)
	}
	a.Detail = string(detail)
	return a, nil
}

// Issuer is the body of an IssuerEvent: something happened to an issuer or its
// key.
//
//	opaque event<1..64>; opaque issuer[32]; opaque certificate[32];
//	opaque transcript[32];
type Issuer struct {
	Event       string   // a code: "created", "cross-signed", "activated", "tainted", "retired", "destroyed"
	Issuer      [32]byte // SHA-256 of the key's SubjectPublicKeyInfo
	Certificate [32]byte // SHA-256 of the certificate concerned; zero if there is none
	Transcript  [32]byte // SHA-256 of the ceremony's transcript; zero if there was none
}

// Draft is the entry in which actor records it.
func (i Issuer) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	addCode(b, i.Event)
	b.AddBytes(i.Issuer[:])
	b.AddBytes(i.Certificate[:])
	b.AddBytes(i.Transcript[:])
	return draft(IssuerEvent, actor, b, nil)
}

// ParseIssuerEvent reads an IssuerEvent.
func ParseIssuerEvent(d Draft) (Issuer, error) {
	var i Issuer
	s, err := bare(d, IssuerEvent)
	if err != nil {
		return i, err
	}
	if !readCode(&s, &i.Event) || !s.CopyBytes(i.Issuer[:]) || !s.CopyBytes(i.Certificate[:]) ||
		!s.CopyBytes(i.Transcript[:]) || !s.Empty() {
		return Issuer{}, malformed(IssuerEvent)
	}
	return i, nil
}

// Account is the body of an AccountEvent: something happened to an ACME account
// or an EAB key.
//
//	opaque event<1..64>; opaque account<0..2^8-1>; opaque key[32];
//	opaque eab<0..2^8-1>; opaque contacts<0..2^16-1>;
type Account struct {
	Event    string     // a code: "created", "key-changed", "deactivated", "eab-created", "eab-revoked"
	Account  string     // the account's ID; empty for an EAB key that is not used yet
	Key      [32]byte   // JWK thumbprint (RFC 7638) of the key now in force; zero if none
	EAB      string     // the EAB key's ID; empty if there is none
	Contacts [][32]byte // a commitment for each contact URL
}

// Draft is the entry in which actor records it.
func (a Account) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	addCode(b, a.Event)
	addString(b, a.Account)
	b.AddBytes(a.Key[:])
	addString(b, a.EAB)
	addHashes(b, a.Contacts)
	return draft(AccountEvent, actor, b, nil)
}

// ParseAccountEvent reads an AccountEvent.
func ParseAccountEvent(d Draft) (Account, error) {
	var a Account
	s, err := bare(d, AccountEvent)
	if err != nil {
		return a, err
	}
	if !readCode(&s, &a.Event) || !readString(&s, &a.Account) || !s.CopyBytes(a.Key[:]) ||
		!readString(&s, &a.EAB) || !readHashes(&s, &a.Contacts) || !s.Empty() {
		return Account{}, malformed(AccountEvent)
	}
	return a, nil
}

// Retained is the body of a Retention: what is no longer kept. The hashes stay:
// a proof needs no more.
//
//	uint64 minimum; Tombstone tombstones<0..2^16-1>;
type Retained struct {
	Minimum    uint64      // entries below it may be gone; index 0 never is
	Tombstones []Tombstone // entries that are gone beyond these, index rising
}

// Tombstone stands for an entry that is no longer kept.
//
//	uint64 index; opaque leaf[32];
type Tombstone struct {
	Index uint64
	Leaf  [32]byte // its leaf hash
}

// Draft is the entry in which actor records it.
func (r Retained) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint64(r.Minimum)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for i, t := range r.Tombstones {
			if i > 0 && t.Index <= r.Tombstones[i-1].Index {
				b.SetError(errors.New("tombstones do not rise"))
			}
			b.AddUint64(t.Index)
			b.AddBytes(t.Leaf[:])
		}
	})
	return draft(Retention, actor, b, nil)
}

// ParseRetention reads a Retention.
func ParseRetention(d Draft) (Retained, error) {
	var r Retained
	var list []byte
	s, err := bare(d, Retention)
	if err != nil {
		return r, err
	}
	if !s.ReadUint64(&r.Minimum) || !readBytes(&s, &list) || !s.Empty() {
		return Retained{}, malformed(Retention)
	}
	for l := cryptobyte.String(list); !l.Empty(); {
		var t Tombstone
		if !l.ReadUint64(&t.Index) || !l.CopyBytes(t.Leaf[:]) ||
			len(r.Tombstones) > 0 && t.Index <= r.Tombstones[len(r.Tombstones)-1].Index {
			return Retained{}, malformed(Retention)
		}
		r.Tombstones = append(r.Tombstones, t)
	}
	return r, nil
}
