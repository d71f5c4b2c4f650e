package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
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
}

// Decision is a permission: the profile and the bounds that hold.
type Decision struct {
	Profile Profile
	Issuer  string // name
	Grant   string // name of the grant that covers the request
	Owner   string
	// NotBefore and NotAfter are whole seconds in UTC, both inclusive.
	NotBefore, NotAfter time.Time
	// Policy is the SHA-256 of the document that was asked.
	Policy [32]byte
}

// Engine is a compiled policy. It never changes and is safe for concurrent use.
type Engine struct {
	data     []byte
	hash     [32]byte
	document *Document
}

// New parses and compiles a document. The error is a *problem.Problem of kind
// Malformed that lists every fault, each with its file and line.
func New(cfg Config) (*Engine, error) {
	doc, err := Parse(cfg.File, cfg.Data)
	if err != nil {
		return nil, err
	}
	return &Engine{data: slices.Clone(cfg.Data), hash: sha256.Sum256(cfg.Data), document: doc}, nil
}

// Hash is the SHA-256 of the document: the policy's version in the ledger.
func (e *Engine) Hash() [32]byte { return e.hash }

// Data is the document as it was given to New.
func (e *Engine) Data() []byte { return slices.Clone(e.data) }

// Document is the parsed document; not to be changed.
func (e *Engine) Document() *Document { return e.document }

// Profiles are the profiles in the document's order.
func (e *Engine) Profiles() []Profile { return slices.Clone(e.document.Profiles) }

// Profile is the profile of that name.
func (e *Engine) Profile(name string) (Profile, bool) {
	for _, p := range e.document.Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Decide says whether the request is allowed at time now, and within which
// bounds. The error is a *problem.Problem of kind Denied that lists every
// broken rule.
func (e *Engine) Decide(req identity.Request, now time.Time) (Decision, error) {
	return Decision{}, problem.New(problem.Denied, "the policy does not allow this")
}
