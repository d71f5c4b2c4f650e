package storage

import (
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
)

// Command is one of the types of this file. A unit without a command that
// carries an entry never takes the ledger's head.
type Command interface{ command() }

// ReserveIssuance appends an intent and makes the certificate's row, state
// Reserved. Preconditions: (issuer, serial) is new, else ErrDuplicateSerial;
// no reserved or issued certificate has the intent's request key, else
// ErrDuplicateRequest. All that a row shows is read from the entry; the fields
// here are what the entry does not say.
type ReserveIssuance struct {
	Entry       entry.Draft // kind IssuanceIntent
	Issuer      identity.KeyID
	Serial      identity.Serial
	Names       []identity.Identifier // as in the TBS, canonical
	SPKI        identity.KeyID
	NotBefore   time.Time
	NotAfter    time.Time
	CRLShard    uint16
	Incarnation Incarnation
	Deadline    time.Time // after it, anyone may abandon the intent
}

// Incarnation names one run of one server: 8 octets of the server, 8 of the
// run.
type Incarnation [16]byte

// Server is the part that stays the same across runs.
func (i Incarnation) Server() [8]byte { return [8]byte(i[:8]) }

// CompleteIssuance sets a reserved certificate to Issued. Preconditions: it is
// Reserved and not revoked, else ErrConflict; the certificate's TBS is the
// intent's, else ErrConflict.
type CompleteIssuance struct {
	Issuer      identity.KeyID
	Serial      identity.Serial
	Certificate []byte // DER
}

// Abandon sets a reserved certificate to Abandoned and frees its request key.
// Precondition: it is Reserved, else ErrConflict (ErrNotFound if there is none).
type Abandon struct {
	Entry  entry.Draft // kind AbandonedIntent
	Issuer identity.KeyID
	Serial identity.Serial
}

// Revoke marks a certificate of any state as revoked. Precondition: it is there
// (ErrNotFound) and not revoked yet (ErrConflict).
type Revoke struct {
	Entry  entry.Draft // kind Revocation
	Issuer identity.KeyID
	Serial identity.Serial
	Reason identity.RevocationReason
	At     time.Time
}

// AppendEntry appends an entry of any other kind.
type AppendEntry struct{ Entry entry.Draft }

// RestoreEntry appends an entry that was in this ledger before and was lost, octet
// for octet, and makes the rows that follow from it. What the entry does not say
// stays unknown: an intent's certificate is Reserved without incarnation and
// deadline, never Unresolved, and stands under no request key; a list has its
// number and no DER. Preconditions: those of the entry's own command, and its time
// is not before the last entry's. A unit has either such commands or others that
// carry an entry.
type RestoreEntry struct {
	Raw []byte
	// CRLShard is that of an issuance intent.
	CRLShard uint16
}

// PutCRL stores a CRL. Precondition: the stored number for (issuer, shard) is
// less than Number, else ErrConflict.
type PutCRL struct {
	Entry  entry.Draft // kind CRLPublished
	Issuer identity.KeyID
	Shard  string
	Number uint64
	DER    []byte
}

// UseToken counts one use of a join token by one request. Precondition: fewer
// than Max other requests have used it, else ErrTokenSpent; the same request
// again is no further use.
type UseToken struct {
	ID  string
	For [32]byte // identifies the request
	Max uint32
}

// ReleaseToken gives the use of one request back; without such a use it does
// nothing.
type ReleaseToken struct {
	ID  string
	For [32]byte
}

// AnyVersion as IfVersion writes whatever version stands there.
const AnyVersion = ^uint64(0)

// PutRecord writes a record. Precondition: the stored version is IfVersion (0:
// there is none) unless AnyVersion, and no other record of the collection has
// one of its unique index values; else ErrConflict. The new version is the old
// one + 1.
type PutRecord struct {
	Collection string // at most 32 octets, without NUL
	ID         string // at most 255 octets, without NUL
	IfVersion  uint64
	Body       []byte
	Indexes    []RecordIndex
	Expires    time.Time // zero: never; an expired record may be swept
	// WithEntry binds the record to the entry that a command before it in the unit
	// has appended last: its index is kept as Record.Entry.
	WithEntry bool
}

// RecordIndex is one value under which a record can be found.
type RecordIndex struct {
	Name   string // at most 32 octets, without NUL
	Value  string // at most 255 octets, without NUL
	Unique bool
}

// DeleteRecord removes a record. Precondition: as PutRecord's, and it is there
// (ErrNotFound).
type DeleteRecord struct {
	Collection string
	ID         string
	IfVersion  uint64
}

// RequireRecord is a precondition alone: the record stands at this version (0:
// there is none), else ErrConflict.
type RequireRecord struct {
	Collection string
	ID         string
	Version    uint64
}

// PutErasable keeps a value to which an entry is committed by
// HMAC-SHA256(Salt, Value), in a place from which it can be erased.
type PutErasable struct {
	Commitment [32]byte
	Salt       [32]byte
	Value      []byte // at most 4096 octets
}

func (ReserveIssuance) command()  {}
func (CompleteIssuance) command() {}
func (Abandon) command()          {}
func (Revoke) command()           {}
func (AppendEntry) command()      {}
func (RestoreEntry) command()     {}
func (PutCRL) command()           {}
func (UseToken) command()         {}
func (ReleaseToken) command()     {}
func (PutRecord) command()        {}
func (DeleteRecord) command()     {}
func (RequireRecord) command()    {}
func (PutErasable) command()      {}
