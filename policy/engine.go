package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy/strict"
	"github.com/certwright/certwright/problem"
)

// Config is what an engine is made of.
type Config struct {
	// File is the document's name in messages.
	File string
	// Data is the document.
	Data []byte
	// Issuers are the issuers that there are. Each profile must name one of them.
	Issuers []Issuer
	// WithoutIssuers judges a document where the issuers are not known, as a test
	// of a file does: the rules of the issuer (its end, its name constraints) are
	// then left out. Never for an engine that issues.
	WithoutIssuers bool
	// System is what the server may have for itself.
	System System
}

// Issuer is what the policy must know of an issuer.
type Issuer struct {
	Name  string
	KeyID identity.KeyID
	// NotAfter is the end of the issuer's certificate: no leaf outlives it.
	NotAfter time.Time
	// Certificate is the CA certificate: its name constraints hold for leaves.
	Certificate *x509.Certificate
}

// System is the built-in grant "system": the principal system:server may have
// certificates of the profile for exactly these names, owned by "certwright".
// Labels and conditions are not asked of it: the server must be able to renew
// its own certificate under every policy.
type System struct {
	Names   []identity.Identifier
	Profile string
	// Responders is how long an OCSP responder certificate lasts. If it is not
	// zero, system:server, and nobody else under any grant, may also have the
	// built-in profile ResponderProfile of each issuer, for the same names.
	Responders time.Duration
}

// ResponderProfile is the name of the built-in profile of an issuer's OCSP
// responder certificates (RFC 6960 §4.2.2.2). No document's profile can have it.
func ResponderProfile(issuer string) string { return "ocsp-responder:" + issuer }

// responderProfile is that profile: P-256, for signing OCSP responses only.
func responderProfile(issuer string, life time.Duration) Profile {
	return Profile{
		Name: ResponderProfile(issuer), Kind: identity.X509, Issuer: issuer, Keys: []string{"ecdsa-p256"},
		Validity: Validity{Default: Duration(life), Max: Duration(life), Backdate: Duration(time.Minute)},
		KeyUsage: []string{"digital_signature"}, ExtKeyUsage: []string{"ocsp_signing"}, MaxNames: 100,
		Lints: []string{"rfc5280", "certwright"},
	}
}

// Decision is a permission: the profile and the bounds that hold.
type Decision struct {
	// Profile is that of the document, its KeyUsage without what a key of this
	// algorithm cannot be used for.
	Profile Profile
	Issuer  string // name
	Grant   string // name of the grant that covers the request
	Owner   string
	// NotBefore and NotAfter are whole seconds in UTC, both inclusive.
	NotBefore, NotAfter time.Time
	// Policy is the SHA-256 of the document that was asked.
	Policy [32]byte
	// SingleUse: the caller's identity token must not have been used before.
	SingleUse bool
	// NoChallenges: the grant takes an ACME account's word for the names.
	NoChallenges bool
}

// The built-in grant: its principal and owner.
const (
	systemID    = "server"
	systemOwner = "certwright"
)

// Engine is a compiled policy. It never changes and is safe for concurrent use.
type Engine struct {
	data       []byte
	hash       [32]byte
	document   *Document
	profiles   map[string]Profile
	issuers    map[string]*issuer
	detached   bool // the issuers are not known
	grants     []*grant
	deny       *patterns          // for every caller but the server
	system     *grant             // nil: the server has nothing for itself
	builtIn    map[string]Profile // the system grant's alone
	conditions []*condition
	warnings   []string
}

// New parses and compiles a document. The error is a *problem.Problem of kind
// Malformed that lists every fault, each with its file and line.
func New(cfg Config) (*Engine, error) {
	c := newCompiler(cfg.File, cfg.Data)
	e := &Engine{data: slices.Clone(cfg.Data), hash: sha256.Sum256(cfg.Data), document: &c.doc,
		profiles: map[string]Profile{}, builtIn: map[string]Profile{}, issuers: map[string]*issuer{}, detached: cfg.WithoutIssuers,
		grants: c.grants, deny: c.deny, conditions: c.conditions}
	for _, p := range c.doc.Profiles {
		e.profiles[p.Name] = p
	}
	for _, in := range cfg.Issuers {
		i, err := newIssuer(in)
		if err != nil {
			return nil, problem.New(problem.FailedPrecondition, "issuer %s: %v", in.Name, err)
		}
		e.issuers[in.Name] = i
	}
	if !e.detached {
		c.checkIssuers(e.issuers)
	}
	if cfg.System.Profile != "" {
		if _, ok := e.profiles[cfg.System.Profile]; !ok {
			c.read.Fault("profiles", strict.Fault{Value: cfg.System.Profile,
				Detail: fmt.Sprintf("the profile %q is missing: the server's own certificate needs it", cfg.System.Profile)})
		}
		e.system = &grant{name: "system", profiles: []string{cfg.System.Profile}, owner: systemOwner,
			exact: append([]identity.Identifier{}, cfg.System.Names...)}
	}
	if e.system != nil && cfg.System.Responders > 0 {
		for _, in := range cfg.Issuers {
			p := responderProfile(in.Name, cfg.System.Responders)
			e.builtIn[p.Name] = p
			e.system.profiles = append(e.system.profiles, p.Name)
		}
	}
	if err := c.read.Err(); err != nil {
		return nil, err
	}
	e.warnings = c.warnings()
	return e, nil
}

// Hash is the SHA-256 of the document: the policy's version in the ledger.
func (e *Engine) Hash() [32]byte { return e.hash }

// Data is the document as it was given to New.
func (e *Engine) Data() []byte { return slices.Clone(e.data) }

// Document is the parsed document; not to be changed.
func (e *Engine) Document() *Document { return e.document }

// Warnings are what in the document has no effect in this version, a line each:
// "file:line: key path: what". None of them is a fault.
func (e *Engine) Warnings() []string { return slices.Clone(e.warnings) }

// Profiles are the profiles in the document's order.
func (e *Engine) Profiles() []Profile { return slices.Clone(e.document.Profiles) }

// Profile is the profile of that name.
func (e *Engine) Profile(name string) (Profile, bool) {
	p, ok := e.profiles[name]
	return p, ok
}

// CheckBound says whether a grant that a credential is to carry can be used:
// known profiles, an owner, patterns that can be read. The error is a
// *problem.Problem of kind Malformed.
func (e *Engine) CheckBound(b identity.Bound) error {
	p := &problem.Problem{Kind: problem.Malformed, Detail: "the grant cannot be used"}
	fail := func(rule, value, help, detail string) {
		p.Violations = append(p.Violations, problem.Violation{Reason: "INVALID_VALUE", Rule: rule, Value: value, Help: help, Detail: detail})
	}
	if len(b.Profiles) == 0 {
		fail("profiles", "", "", "it names no profile")
	}
	for _, name := range b.Profiles {
		if _, ok := e.profiles[name]; !ok {
			help := ""
			if near := strict.Nearest(name, slices.Sorted(maps.Keys(e.profiles))); near != "" {
				help = fmt.Sprintf("did you mean %q?", near)
			}
			fail("profiles", name, help, fmt.Sprintf("there is no profile %.64q", name))
		}
	}
	if !ownerForm.MatchString(b.Owner) {
		fail("owner", b.Owner, "name a team or service", ownerFault(b.Owner))
	}
	if b.Allow.Empty() {
		fail("allow", "", "", "it allows no name")
	}
	for side, names := range map[string]identity.Names{"allow": b.Allow, "deny": b.Deny} {
		for _, pattern := range eachPattern(names) {
			if err := checkPattern(pattern); err != nil {
				fail(side+"."+string(pattern.Type), pattern.Value, "", err.Error())
			}
		}
	}
	if len(p.Violations) > 0 {
		return p
	}
	return nil
}
