package entry

import (
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
// 1 request key[32], 2 request digest[32], 3 label commitments (32 octets each),
// 4 replaces[32]. 1 and 2 stand together or not at all, and neither the key nor
// replaces is ever zero. The requester is the entry's actor.
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
	Replaces      [32]byte   // SHA-256 of the DER of the certificate that this one replaces; zero if there is none
}

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
	addBytes(b, i.TBS)
	ext := cryptobyte.NewBuilder(nil)
	asked{i.RequestKey, i.RequestDigest, i.Labels, i.Replaces}.marshal(ext)
	return draft(IssuanceIntent, requester, b, ext)
}

// ParseIntent reads an IssuanceIntent's body and ext.
func ParseIntent(d Draft) (Intent, error) {
	var i Intent
	s := cryptobyte.String(d.Body)
	if d.Kind != IssuanceIntent || !s.CopyBytes(i.Issuer[:]) || !readString(&s, &i.Profile) ||
		!s.CopyBytes(i.Policy[:]) || !readString(&s, &i.Grant) || !s.CopyBytes(i.Evidence[:]) ||
		!readString(&s, &i.Owner) || !s.CopyBytes(i.CSR[:]) || !readBytes(&s, &i.TBS) || !s.Empty() {
		return Intent{}, malformed(IssuanceIntent)
	}
	a, err := parseAsked(d.Ext)
	if err != nil {
		return Intent{}, fmt.Errorf("%s: %w", IssuanceIntent, err)
	}
	i.RequestKey, i.RequestDigest, i.Labels, i.Replaces = a.key, a.digest, a.labels, a.replaces
	return i, nil
}
