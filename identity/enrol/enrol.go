// Package enrol has the nouns of ACME as admins see them: accounts, EAB keys, and
// orders with what their validation has contacted. The ACME server tells them, the
// API shows them. No I/O; it imports nothing but identity and the standard library.
package enrol

import (
	"net/netip"
	"time"

	"github.com/certwright/certwright/identity"
)

// Account is the account of an ACME client (RFC 8555 §7.1.2).
type Account struct {
	ID         string
	Status     string // valid, deactivated or revoked
	Contacts   []string
	Owner      string // that its EAB key has bound it to; or empty
	EAB        string // ID of that key; or empty
	EABName    string // by which grants know the account; or empty
	Thumbprint string // of its key (RFC 7638), SHA-256, base64url
	Terms      bool   // agreed to
	Created    time.Time
}

// EABSpec says what the accounts of an EAB key shall be (RFC 8555 §7.3.4).
type EABSpec struct {
	Name    string          // by which grants know its accounts: {eab: NAME}
	Owner   string          // of their certificates; or empty
	Bound   *identity.Bound // a grant of the key's own; nil: only the policy's grants count
	Uses    uint32          // how many accounts; 0: any number
	TTL     time.Duration   // 0: until it is revoked
	Creator string          // who makes it
}

// EABKey is an EAB key without its secret.
type EABKey struct {
	ID       string
	Name     string
	Owner    string
	Bound    *identity.Bound
	Uses     uint32 // 0: any number
	Used     uint32
	Created  time.Time
	Expires  time.Time // zero: never
	Disabled bool      // revoked
	Creator  string
}

// EABState is whether an EAB key can make accounts.
type EABState string

// The states, in the order in which they win.
const (
	EABRevoked EABState = "REVOKED"
	EABExpired EABState = "EXPIRED"
	EABUsedUp  EABState = "USED_UP"
	EABActive  EABState = "ACTIVE"
)

// State of the key at a time.
func (k EABKey) State(now time.Time) EABState {
	switch {
	case k.Disabled:
		return EABRevoked
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return EABExpired
	case k.Uses > 0 && k.Used >= k.Uses:
		return EABUsedUp
	}
	return EABActive
}

// Order is what a client has asked for (RFC 8555 §7.1.3).
type Order struct {
	ID          string
	Account     string
	Status      string // RFC 8555 §7.1.6
	Identifiers []identity.Identifier
	Profile     string
	Replaces    string // certID of RFC 9773 §4.1; or empty
	Created     time.Time
	Expires     time.Time
	RequestKey  *[32]byte // of its issuance; nil: it was not finalized
	Failure     *Failure
	// Authorizations are empty in lists.
	Authorizations []Authorization
}

// Authorization of a name (RFC 8555 §7.1.4).
type Authorization struct {
	ID         string
	Identifier identity.Identifier // without "*."
	Wildcard   bool
	Status     string
	Expires    time.Time
	Grant      string // by which it is valid without a challenge; or empty
	Challenges []Challenge
}

// Challenge of an authorization (RFC 8555 §8), and what its validation contacted.
type Challenge struct {
	Type      string
	Status    string
	Validated time.Time
	Attempts  int
	Hops      []Hop  // of the last attempt
	Record    string // the DNS name that proved it, after CNAMEs
	Failure   *Failure
}

// Hop is one host that was contacted.
type Hop struct {
	Host      string
	Port      int
	Addresses []netip.Addr // tried, in order: the last one answered, if any did
}

// Failure is a problem document (RFC 8555 §6.7).
type Failure struct {
	Type       string // without its prefix
	Detail     string
	Identifier *identity.Identifier // of a subproblem
	Parts      []Failure            // its subproblems
}
