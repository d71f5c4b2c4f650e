package policy

import (
	"fmt"
	"time"

	"github.com/certwright/certwright/identity"
)

// MaxSize is the greatest size of a document in octets: a version of the policy
// stands in one entry of the ledger, which holds 65,535.
const MaxSize = 48 << 10

// Document is a policy as it is written in YAML. All keys are known to the
// parser; any other is an error.
type Document struct {
	// Version of the language: 1.
	Version int `yaml:"version"`
	// Issuers are the keys that sign.
	Issuers []IssuerSpec `yaml:"issuers"`
	// Profiles are the sorts of certificates.
	Profiles []Profile `yaml:"profiles"`
	// Grants say who may have them.
	Grants []Grant `yaml:"grants"`
	// Conditions narrow what grants allow.
	Conditions []Condition `yaml:"conditions"`
}

// IssuerSpec names a key that signs and its CA certificate.
type IssuerSpec struct {
	// Name, by which profiles speak of the issuer.
	Name string `yaml:"name"`
	// Key is the URI of the key: "file:keys/issuing.key", relative to the data folder.
	Key string `yaml:"key"`
	// Certificate is the path of the CA certificate, relative to the data folder.
	Certificate string `yaml:"certificate"`
}

// Profile is what a certificate may look like.
type Profile struct {
	// Name, by which requests and grants speak of the profile.
	Name string `yaml:"name"`
	// Kind of certificate: x509, which is also the default.
	Kind identity.Kind `yaml:"kind"`
	// Issuer is the name of the issuer that signs.
	Issuer string `yaml:"issuer"`
	// Keys are the algorithms a subject's key may have: ecdsa-p256, ecdsa-p384,
	// ed25519, rsa-2048, rsa-3072, rsa-4096.
	Keys []string `yaml:"keys"`
	// Validity bounds the time.
	Validity Validity `yaml:"validity"`
	// KeyUsage are the bits of RFC 5280 §4.2.1.3, of those a leaf may have. Empty:
	// digital_signature.
	KeyUsage []string `yaml:"key_usage"`
	// ExtKeyUsage are the purposes of RFC 5280 §4.2.1.12.
	ExtKeyUsage []string `yaml:"ext_key_usage"`
	// Wildcards lets DNS names begin with "*.", where a grant covers them.
	Wildcards bool `yaml:"wildcards"`
	// MaxNames is how many names there may be: 1 to 100, which is also the default.
	MaxNames int `yaml:"max_names"`
	// RequireLabels are labels that a request must carry, with a value.
	RequireLabels []string `yaml:"require_labels"`
	// Lints are the sets of lints that a draft must pass: rfc5280, certwright,
	// baseline (the CA/Browser Forum's, which refuse internal names). Empty:
	// rfc5280 and certwright.
	Lints []string `yaml:"lints"`
}

// Validity bounds a certificate's time. Both ends of a certificate's time are
// inclusive (RFC 5280 §4.1.2.5): notAfter − notBefore + 1 s is what is bounded.
type Validity struct {
	// Default is how long a certificate lasts if the request does not say.
	Default Duration `yaml:"default"`
	// Max is how long it may last.
	Max Duration `yaml:"max"`
	// Backdate is how far before now it begins, for clocks that are behind: at
	// most 1 h; 1 m if it is not given.
	Backdate Duration `yaml:"backdate"`
}

// Grant lets principals have certificates.
type Grant struct {
	// Name, which the ledger gives with each certificate.
	Name string `yaml:"name"`
	// Principals: a grant is for callers that match one of these.
	Principals []PrincipalSpec `yaml:"principals"`
	// Profiles that may be asked for.
	Profiles []string `yaml:"profiles"`
	// Allow are patterns of names; a name that none covers is not allowed.
	Allow identity.Names `yaml:"allow"`
	// Deny are patterns of names that are denied to these callers under these
	// profiles, also if another grant allows them.
	Deny identity.Names `yaml:"deny"`
	// Owner of what is issued under the grant. A request need not name it, and
	// may name no other.
	Owner string `yaml:"owner"`
	// Owners, instead of Owner: the request must name one of them; "*" is any.
	Owners []string `yaml:"owners"`
}

// PrincipalSpec matches callers: one key for how they have proven themselves,
// and claims beside oidc and mtls.
type PrincipalSpec struct {
	// LocalSocket is a caller on the admin socket: admin.
	LocalSocket string `yaml:"local_socket"`
	// Token is a token's ID.
	Token string `yaml:"token"`
	// ACME is "any": every ACME account.
	ACME string `yaml:"acme"`
	// EAB is the name of an external account binding: its ACME accounts.
	EAB string `yaml:"eab"`
	// Account is the ID of one ACME account.
	Account string `yaml:"account"`
	// MTLS is the identity in a client certificate, or "any".
	MTLS string `yaml:"mtls"`
	// OIDC is the URL of an identity provider (the claim iss).
	OIDC string `yaml:"oidc"`
	// Role is a role that the caller holds: admin, requester.
	Role string `yaml:"role"`
	// Claims that the caller must have. A list claim must contain the value.
	Claims map[string]string `yaml:"claims"`
}

// Condition is a rule in CEL over request, principal and profile.
type Condition struct {
	// Name, which a refusal gives.
	Name string `yaml:"name"`
	// Profiles it applies to; empty: all.
	Profiles []string `yaml:"profiles"`
	// When it applies, a boolean expression; empty: always.
	When string `yaml:"when"`
	// Require is what must be true, a boolean expression.
	Require string `yaml:"require"`
	// Message is what the caller is told.
	Message string `yaml:"message"`
}

// Duration is a time span in Go's form with days: "90d", "720h", "1h30m".
type Duration time.Duration

// String is the duration in hours, minutes and seconds, without zero parts.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	rest := time.Duration(d)
	s := ""
	if rest < 0 {
		s, rest = "-", -rest
	}
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := rest / unit.size; n > 0 {
			s += fmt.Sprintf("%d%s", n, unit.name)
			rest -= n * unit.size
		}
	}
	if rest > 0 {
		s += rest.String()
	}
	return s
}
