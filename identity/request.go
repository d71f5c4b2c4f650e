package identity

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kind is the kind of certificate that is asked for.
type Kind string

// X509 is the one kind that is issued today (RFC 5280).
const X509 Kind = "x509"

// Request is what every door makes of what it was asked: ACME finalize and gRPC
// SignCertificate both end in one.
type Request struct {
	// ID makes the request idempotent within its principal; empty: each call
	// is a request of its own.
	ID string
	// Call is the door's name of this one call, as the caller was told it; it is in
	// no digest and no key. Empty: it has none.
	Call        string
	Kind        Kind
	Profile     string
	Principal   Principal
	Identifiers []Identifier // canonical, sorted, each once: see CanonicalSet
	PublicKey   crypto.PublicKey
	// NotBefore and NotAfter are wishes; zero: the profile decides. NotAfter is
	// inclusive (RFC 5280 §4.1.2.5).
	NotBefore, NotAfter time.Time
	// Validity is the wished duration from NotBefore; zero: NotAfter or the
	// profile decides. With NotAfter set it must be zero.
	Validity time.Duration
	Owner    string
	Labels   map[string]string
	// CSRHash is the SHA-256 of the DER of the CSR, for the ledger; zero if
	// there was none.
	CSRHash [32]byte
	// Replaces is the SHA-256 of the DER of the certificate that this one is to
	// replace, as the door has checked it; zero: none. It stands in the ledger.
	Replaces [32]byte
}

// Digest is the SHA-256 of what a repetition under the same request ID must
// have in common with the first: all but the CSR's own bytes, whose signature
// may differ. The principal and ID are not part of it: they are the key.
func (r Request) Digest() ([32]byte, error) {
	spki, err := PublicKeyDER(r.PublicKey)
	if err != nil {
		return [32]byte{}, err
	}
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	number := func(v int64) { field(binary.BigEndian.AppendUint64(nil, uint64(v))) }
	field([]byte("certwright request v1"))
	field([]byte(r.Kind))
	field([]byte(r.Profile))
	field(spki)
	field([]byte(r.Owner))
	number(unixMilli(r.NotBefore))
	number(unixMilli(r.NotAfter))
	number(int64(r.Validity))
	number(int64(len(r.Identifiers)))
	for _, id := range r.Identifiers {
		field([]byte(id.Type))
		field([]byte(id.Value))
	}
	if r.Replaces != ([32]byte{}) {
		field(nil) // no label's name is empty
		field(r.Replaces[:])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		field([]byte(k))
		field([]byte(r.Labels[k]))
	}
	return [32]byte(h.Sum(nil)), nil
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Key is the SHA-256 that stands for (principal, request ID) in the storage
// and the ledger; zero if the request has no ID.
func (r Request) Key() [32]byte {
	if r.ID == "" {
		return [32]byte{}
	}
	return sha256.Sum256([]byte(fmt.Sprintf("%d:%s:%s", len(r.Principal.String()), r.Principal, r.ID)))
}
