package entry

import (
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Reasons for giving up an intent. The list is append-only, and open: readers
// show a code that they do not know as it stands.
const (
	ReasonSigningFailed  = "signing-failed"  // the key gave an error, or a signature that does not hold
	ReasonServerEnded    = "server-ended"    // the server that reserved it ended before it was complete
	ReasonDeadlinePassed = "deadline-passed" // it was not complete in time
	ReasonRevoked        = "revoked"         // its serial was revoked before it was complete
	ReasonCanceled       = "canceled"        // the caller went away
)

// Abandoned is the body of an AbandonedIntent: the intent will not become a
// certificate.
//
//	uint64 index; opaque reason<1..64>;
type Abandoned struct {
	Index  uint64 // of the intent
	Reason string // a code of a-z, 0-9, "-", ".": one of the Reason constants
}

// Draft is the entry in which actor records it.
func (a Abandoned) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint64(a.Index)
	addCode(b, a.Reason)
	return draft(AbandonedIntent, actor, b, nil)
}

// ParseAbandoned reads an AbandonedIntent.
func ParseAbandoned(d Draft) (Abandoned, error) {
	var a Abandoned
	s, err := bare(d, AbandonedIntent)
	if err != nil {
		return a, err
	}
	if !s.ReadUint64(&a.Index) || !readCode(&s, &a.Reason) || !s.Empty() {
		return Abandoned{}, malformed(AbandonedIntent)
	}
	return a, nil
}

// Revoked is the body of a Revocation. Who revoked is the entry's actor.
//
//	opaque issuer[32]; opaque serial[16]; uint8 reason; uint64 date;
type Revoked struct {
	Issuer [32]byte  // SHA-256 of the issuer's SubjectPublicKeyInfo
	Serial [16]byte  // big-endian, with leading zeros
	Reason uint8     // CRLReason, RFC 5280 §5.3.1
	At     time.Time // revocationDate, millisecond precision
}

// Draft is the entry in which actor records it.
func (r Revoked) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes(r.Issuer[:])
	b.AddBytes(r.Serial[:])
	if !isReason(r.Reason) {
		b.SetError(errors.New("reason is not a CRLReason"))
	}
	b.AddUint8(r.Reason)
	addTime(b, r.At)
	return draft(Revocation, actor, b, nil)
}

// ParseRevocation reads a Revocation.
func ParseRevocation(d Draft) (Revoked, error) {
	var r Revoked
	s, err := bare(d, Revocation)
	if err != nil {
		return r, err
	}
	if !s.CopyBytes(r.Issuer[:]) || !s.CopyBytes(r.Serial[:]) || !s.ReadUint8(&r.Reason) ||
		!isReason(r.Reason) || !readTime(&s, &r.At) || !s.Empty() {
		return Revoked{}, malformed(Revocation)
	}
	return r, nil
}

// isReason: 7 is not used (RFC 5280 §5.3.1).
func isReason(reason uint8) bool { return reason <= 10 && reason != 7 }

// CRL is the body of a CRLPublished.
//
//	opaque issuer[32]; opaque shard<0..2^8-1>; uint64 number; opaque sha256[32];
type CRL struct {
	Issuer [32]byte // SHA-256 of the issuer's SubjectPublicKeyInfo
	Shard  string
	Number uint64   // CRLNumber, RFC 5280 §5.2.3
	SHA256 [32]byte // of the CRL's DER
}

// Draft is the entry in which actor records it.
func (c CRL) Draft(actor string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes(c.Issuer[:])
	addString(b, c.Shard)
	b.AddUint64(c.Number)
	b.AddBytes(c.SHA256[:])
	return draft(CRLPublished, actor, b, nil)
}

// ParseCRLPublished reads a CRLPublished.
func ParseCRLPublished(d Draft) (CRL, error) {
	var c CRL
	s, err := bare(d, CRLPublished)
	if err != nil {
		return c, err
	}
	if !s.CopyBytes(c.Issuer[:]) || !readString(&s, &c.Shard) || !s.ReadUint64(&c.Number) ||
		!s.CopyBytes(c.SHA256[:]) || !s.Empty() {
		return CRL{}, malformed(CRLPublished)
	}
	return c, nil
}

// SSH is the body and ext of an SSHIntent. Body:
//
//	opaque issuer[32]; opaque profile<0..2^8-1>; opaque policy[32];
//	opaque grant<0..2^8-1>; opaque evidence[32]; opaque owner<0..2^8-1>;
//	opaque unsigned<0..2^16-1>;
//
// Fields and ext as in Intent.
type SSH struct {
	Issuer   [32]byte // SHA-256 of the issuer's SubjectPublicKeyInfo
	Profile  string
	Policy   [32]byte
	Grant    string
	Evidence [32]byte
	Owner    string
	Unsigned []byte // the certificate in wire format up to its signature field

	RequestKey    [32]byte
	RequestDigest [32]byte
	Labels        [][32]byte
	Replaces      [32]byte
}

// Draft is the entry that says requester asked for this.
func (i SSH) Draft(requester string) (Draft, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes(i.Issuer[:])
	addString(b, i.Profile)
	b.AddBytes(i.Policy[:])
	addString(b, i.Grant)
	b.AddBytes(i.Evidence[:])
	addString(b, i.Owner)
	addBytes(b, i.Unsigned)
	ext := cryptobyte.NewBuilder(nil)
	asked{i.RequestKey, i.RequestDigest, i.Labels, i.Replaces}.marshal(ext)
	return draft(SSHIntent, requester, b, ext)
}

// ParseSSHIntent reads an SSHIntent's body and ext.
func ParseSSHIntent(d Draft) (SSH, error) {
	var i SSH
	s := cryptobyte.String(d.Body)
	if d.Kind != SSHIntent || !s.CopyBytes(i.Issuer[:]) || !readString(&s, &i.Profile) ||
		!s.CopyBytes(i.Policy[:]) || !readString(&s, &i.Grant) || !s.CopyBytes(i.Evidence[:]) ||
		!readString(&s, &i.Owner) || !readBytes(&s, &i.Unsigned) || !s.Empty() {
		return SSH{}, malformed(SSHIntent)
	}
	a, err := parseAsked(d.Ext)
	if err != nil {
		return SSH{}, err
	}
	i.RequestKey, i.RequestDigest, i.Labels, i.Replaces = a.key, a.digest, a.labels, a.replaces
	return i, nil
}
