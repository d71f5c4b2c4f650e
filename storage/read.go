package storage

import (
	"context"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
)

// Head is the ledger as it stands.
type Head struct {
	Size     uint64
	Root     [32]byte  // RFC 6962 §2.1 tree hash; that of the empty tree if Size is 0
	LastTime time.Time // of the last entry
}

// LedgerReader reads the ledger. Its reads are of one committed state each.
type LedgerReader interface {
	Head(ctx context.Context) (Head, error)
	// Entries are the raw entries from index start on, at most limit of them
	// and at most 8 MiB; none at the end.
	Entries(ctx context.Context, start uint64, limit int) ([][]byte, error)
	// Tile is the tile of hashes of C2SP tlog-tiles at level (0 to 63) and
	// number n, with width hashes (1 to 256); ErrNotFound if the tree is not
	// that wide.
	Tile(ctx context.Context, level int, n uint64, width int) ([]byte, error)
	// Erasable is the value and salt of a commitment; ErrNotFound once erased.
	Erasable(ctx context.Context, commitment [32]byte) (value []byte, salt [32]byte, err error)
}

// State of a certificate. Revocation is apart from it: see Certificate.
type State uint8

// The states: Reserved → Issued or Abandoned.
const (
	Reserved  State = 1
	Issued    State = 2
	Abandoned State = 3
)

// String is the state's name in outputs.
func (s State) String() string {
	switch s {
	case Reserved:
		return "reserved"
	case Issued:
		return "issued"
	case Abandoned:
		return "abandoned"
	}
	return "unknown"
}

// Certificate is what the store knows of one certificate.
type Certificate struct {
	Issuer      identity.KeyID
	Serial      identity.Serial
	Index       uint64       // of its intent
	Time        time.Time    // of its intent
	Requester   string       // of its intent: the entry's actor
	Intent      entry.Intent // TBS, profile, policy, grant, owner …
	State       State
	DER         []byte   // the certificate; nil unless Issued
	Fingerprint [32]byte // SHA-256 of DER; zero unless Issued
	Names       []identity.Identifier
	SPKI        identity.KeyID
	NotBefore   time.Time
	NotAfter    time.Time
	CRLShard    uint16
	Incarnation Incarnation // while Reserved
	Deadline    time.Time   // while Reserved
	Revocation  *RevocationFact
}

// RevocationFact says that and why a certificate is revoked.
type RevocationFact struct {
	Index  uint64 // of the revocation's entry
	Reason identity.RevocationReason
	At     time.Time
}

// Order is how a Query walks.
type Order int

// The orders. Each but ByIndex and ByExpiry is of one value's certificates, by
// index.
const (
	ByIndex      Order = iota // all, by ledger index
	ByName                    // of one identifier: Value is Identifier.String()
	ByOwner                   // of one owner
	BySPKI                    // of one public key: Value is the KeyID's String()
	ByExpiry                  // NotAfter in [From, To), by NotAfter
	ByUnresolved              // Reserved only, by index
)

// Query asks for certificates, page by page.
type Query struct {
	Order      Order
	Value      string
	From, To   time.Time
	Descending bool
	After      []byte // Page.Next of the page before; nil at first
	Limit      int    // 1 to 1000
}

// Page is one page of a Query, all of one committed state.
type Page struct {
	Certificates []Certificate
	Next         []byte // nil: that was the last page
}

// CertificateReader reads certificates. ErrNotFound if there is none.
type CertificateReader interface {
	BySerial(ctx context.Context, issuer identity.KeyID, serial identity.Serial) (Certificate, error)
	// ByFingerprint finds an issued certificate by the SHA-256 of its DER.
	ByFingerprint(ctx context.Context, sha256 [32]byte) (Certificate, error)
	// ByRequest finds the reserved or issued certificate of a request key.
	ByRequest(ctx context.Context, key [32]byte) (Certificate, error)
	Certificates(ctx context.Context, q Query) (Page, error)
}

// Revoked is one line of a CRL.
type Revoked struct {
	Serial identity.Serial
	Reason identity.RevocationReason
	At     time.Time
}

// CRL is a stored CRL.
type CRL struct {
	Number uint64
	DER    []byte
}

// RevocationReader reads what OCSP and CRLs need.
type RevocationReader interface {
	// Revoked calls each for the revoked certificates of one shard whose
	// NotAfter is not before notAfter, in one committed state, until it returns
	// an error, which Revoked returns.
	Revoked(ctx context.Context, issuer identity.KeyID, shard uint16, notAfter time.Time, each func(Revoked) error) error
	// CRL is the newest CRL of a shard.
	CRL(ctx context.Context, issuer identity.KeyID, shard string) (CRL, error)
}

// Record is a small document with an optimistic version.
type Record struct {
	ID      string
	Version uint64
	Body    []byte
	Expires time.Time
	Entry   uint64 // ledger index, if it was written WithEntry
}

// RecordPage is one page of records.
type RecordPage struct {
	Records []Record
	Next    []byte // nil: that was the last page
}

// RecordReader reads records.
type RecordReader interface {
	// Record is one by its ID; ErrNotFound.
	Record(ctx context.Context, collection, id string) (Record, error)
	// Records are those with a value under an index, by ID; with index ""
	// those of the whole collection, by ID.
	Records(ctx context.Context, collection, index, value string, after []byte, limit int) (RecordPage, error)
	// ExpiredRecords are those that expired before a time, soonest first.
	ExpiredRecords(ctx context.Context, collection string, before time.Time, limit int) ([]Record, error)
	// TokenUses is how many requests have used a join token.
	TokenUses(ctx context.Context, id string) (uint32, error)
}

// Finding is one thing that is not as it must be.
type Finding struct {
	Kind    string // entry, tile, certificate, index, record, checkpoint …
	Index   uint64 // the ledger index concerned; NoIndex if there is none
	Subject string // which: a serial, an index key, a tile's path
	Detail  string // one sentence
}

// NoIndex as Finding.Index: no entry is concerned.
const NoIndex = ^uint64(0)

// Scrubber checks what only the backend can see.
type Scrubber interface {
	// Scrub reads everything that follows from the entries (certificates, every
	// index, revocations) and every mutable row's checksum, and reports what
	// does not agree with the entries, in one committed state. It holds what it
	// has checked for at most a short time: writers are not blocked. progress
	// may be nil.
	Scrub(ctx context.Context, progress func(done, total uint64), report func(Finding)) error
}

// Space is what a backend takes on its disk.
type Space struct {
	Format   uint32 // of the database
	Size     uint64 // octets of the file
	Free     uint64 // octets in it that are used again
	DiskFree uint64 // octets that the file system has left
	Reserve  uint64 // octets that are kept for revocations
	Buckets  []BucketSpace
}

// BucketSpace is what one part of the database takes.
type BucketSpace struct {
	Name string
	Rows uint64
	Size uint64 // octets of its pages
	Used uint64 // octets of keys and values in them
}
