package policy

import "github.com/certwright/certwright/identity"

// MaxSize is the greatest size of a document in octets: a version of the policy
// stands in one entry of the ledger, which holds 65,535.
const MaxSize = 48 << 10

// Document is a policy as it is written in YAML. All keys are known to the
// parser; any other is an error.
type Document struct {
	// Version of the language: 1.
	Version int `json:"version"`
	// Issuers are the keys that sign.
	Issuers []IssuerSpec `json:"issuers"`
	// Profiles are the sorts of certificates.
	Profiles []Profile `json:"profiles"`
	// Deny are patterns of names, without claims, that nobody gets but the server
	// itself, whatever a grant or a token allows.
	Deny identity.Names `json:"deny"`
	// Grants say who may have them.
	Grants []Grant `json:"grants"`
	// Roles say who may do what with the API. Whoever is on the admin socket is
	// ca-admin and needs no line.
	Roles []RoleBinding `json:"roles"`
	// Conditions narrow what grants allow.
	Conditions []Condition `json:"conditions"`
}

// IssuerSpec names a key that signs and its CA certificate.
type IssuerSpec struct {
	// Name, by which profiles speak of the issuer.
	Name string `json:"name"`
	// Key is the URI of the key: "file:keys/issuing.key", relative to the data folder.
	Key string `json:"key"`
	// Certificate is the path of the CA certificate, relative to the data folder.
	Certificate string `json:"certificate"`
}

// Profile is what a certificate may look like.
type Profile struct {
	// Name, by which requests and grants speak of the profile.
	Name string `json:"name"`
	// Kind of certificate: x509, which is also the default.
	Kind identity.Kind `json:"kind"`
	// Issuer is the name of the issuer that signs.
	Issuer string `json:"issuer"`
	// Keys are the algorithms a subject's key may have: ecdsa-p256, ecdsa-p384,
	// ed25519, rsa-2048, rsa-3072, rsa-4096.
	Keys []string `json:"keys"`
	// Validity bounds the time.
	Validity Validity `json:"validity"`
	// KeyUsage are the bits of RFC 5280 §4.2.1.3, of those a leaf may have. Empty:
	// digital_signature. A certificate has those of them that its key can be used
	// for: see Decision.
	KeyUsage []string `json:"key_usage"`
	// ExtKeyUsage are the purposes of RFC 5280 §4.2.1.12.
	ExtKeyUsage []string `json:"ext_key_usage"`
	// Wildcards lets DNS names begin with "*.", where a grant covers them.
	Wildcards bool `json:"wildcards"`
	// MaxNames is how many names there may be: 1 to 100, which is also the default.
	MaxNames int `json:"max_names"`
	// RequireLabels are labels that a request must carry, with a value.
	RequireLabels []string `json:"require_labels"`
	// Lints are the sets of lints that a draft must pass: rfc5280, certwright,
	// baseline (the CA/Browser Forum's, which refuse internal names). Empty:
	// rfc5280 and certwright.
	Lints []string `json:"lints"`
}

// Validity bounds a certificate's time. Both ends of a certificate's time are
// inclusive (RFC 5280 §4.1.2.5): notAfter − notBefore + 1 s is what is bounded.
type Validity struct {
	// Default is how long a certificate lasts if the request does not say.
	Default Duration `json:"default"`
	// Max is how long it may last.
	Max Duration `json:"max"`
	// Backdate is how far before now it begins, for clocks that are behind: at
	// most 1 h; 1 m if it is not given.
	Backdate Duration `json:"backdate"`
}

// Grant lets principals have certificates.
type Grant struct {
	// Name, which the ledger gives with each certificate.
	Name string `json:"name"`
	// Principals: a grant is for callers that match one of these.
	Principals []PrincipalSpec `json:"principals"`
	// Profiles that may be asked for.
	Profiles []string `json:"profiles"`
	// Allow are patterns of names; a name that none covers is not allowed.
	Allow identity.Names `json:"allow"`
	// Deny are patterns of names that are denied to these callers under these
	// profiles, also if another grant allows them.
	Deny identity.Names `json:"deny"`
	// Challenges is "none" if ACME accounts need not prove control of the names by
	// a challenge: the account's key, or what it was bound to, is proof enough.
	// Empty: they must. All principals must then be eab or account.
	Challenges string `json:"challenges"`
	// SingleUse lets each identity token have one certificate, whatever it is shown
	// again for. All principals must then be oidc, and the tokens need a claim jti.
	SingleUse bool `json:"single_use"`
	// Owner of what is issued under the grant. A request need not name it, and
	// may name no other; but "unassigned" gives way to the owner that an ACME
	// account is bound to.
	Owner string `json:"owner"`
	// Owners, instead of Owner: the request must name one of them; "*" is any.
	Owners []string `json:"owners"`
}

// PrincipalSpec matches callers: one key for how they have proven themselves,
// and claims beside oidc, mtls and device.
type PrincipalSpec struct {
	// LocalSocket is a caller on the admin socket: admin.
	LocalSocket string `json:"local_socket"`
	// Token is a token's ID.
	Token string `json:"token"`
	// ACME is "any": every ACME account.
	ACME string `json:"acme"`
	// EAB is the name of an external account binding: its ACME accounts.
	EAB string `json:"eab"`
	// Account is the ID of one ACME account.
	Account string `json:"account"`
	// MTLS is a name in a client certificate of this CA, such as
	// "spiffe://internal/ns/web" or "web.internal", or "any".
	MTLS string `json:"mtls"`
	// Device is the name of another CA in the server's configuration: its
	// certificates.
	Device string `json:"device"`
	// OIDC is the URL of an identity provider (the claim iss).
	OIDC string `json:"oidc"`
	// Role is a role that the caller holds: requester, viewer, auditor, operator,
	// policy-admin, ca-admin. Who calls in a session is meant by an admin's role
	// alone, by no other key.
	Role string `json:"role"`
	// Claims that the caller must have. A list claim must contain the value.
	Claims map[string]Text `json:"claims"`
}

// RoleBinding gives a role to callers.
type RoleBinding struct {
	// Role: viewer, auditor, operator, policy-admin, ca-admin.
	Role identity.Role `json:"role"`
	// Principals that have it, by oidc, device or mtls, each with claims; those of
	// mtls must name the grant of the certificate.
	Principals []PrincipalSpec `json:"principals"`
	// Owners whose things the role may see and change; empty: everybody's. Methods
	// that tell of all owners are refused to who is limited.
	Owners []string `json:"owners"`
}

// Text is a text, or a number or boolean as it is written.
type Text string

// UnmarshalText takes the text.
func (t *Text) UnmarshalText(text []byte) error {
	*t = Text(text)
	return nil
}

// Condition is a rule in CEL over request, principal and profile.
type Condition struct {
	// Name, which a refusal gives.
	Name string `json:"name"`
	// Profiles it applies to; empty: all.
	Profiles []string `json:"profiles"`
	// When it applies, a boolean expression; empty: always.
	When string `json:"when"`
	// Require is what must be true, a boolean expression.
	Require string `json:"require"`
	// Message is what the caller is told.
	Message string `json:"message"`
}
