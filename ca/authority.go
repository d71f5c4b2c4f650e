package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage"
)

// Store is what the authority needs of the storage.
type Store interface {
	storage.Committer
	storage.CertificateReader
	storage.RecordReader
}

// The states of an issuer. Only an active one issues; a tainted one still
// serves revocation; a prepared one waits, a retired one is history.
const (
	Prepared = "prepared"
	Active   = "active"
	Tainted  = "tainted"
	Retired  = "retired"
)

// IssuerConfig is one issuing CA.
type IssuerConfig struct {
	Name        string // as profiles name it
	Certificate *x509.Certificate
	// Chain is what a client needs between a leaf and the root: the issuer's
	// own certificate first, then those above it; the root is not in it. Empty:
	// the issuer's certificate alone, or nothing if that is self-signed.
	Chain  []*x509.Certificate
	Signer crypto.Signer // nil: the issuer cannot issue
	State  string        // empty: Active
}

// Config of an Authority.
type Config struct {
	Store  Store
	Policy func() *policy.Engine // the policy in force; Policies.Engine
	// InForce is the precondition under which the policy with this hash is in
	// force, checked in the unit of the reservation; Policies.InForce. nil: none.
	InForce func(policy [32]byte) (storage.Command, error)
	Issuers []IssuerConfig
	// Keys are the CA's other public keys, such as the root's and that of the
	// checkpoints: like the issuers' own, nobody gets a certificate for them.
	Keys []crypto.PublicKey
	// ServerKey is the key of the server's own certificate: system:server alone
	// gets one for it. nil: there is none.
	ServerKey crypto.PublicKey
	// HTTPBase is the http URL under which certificates name OCSP, CRLs and
	// the issuer's certificate, without a trailing slash.
	HTTPBase string
	Shards   int     // how many CRL shards an issuer has; 0: 16
	Server   [8]byte // names this server across its runs
	// Deadline is how long an intent may stay unresolved before anyone may
	// abandon it; 0: 30 s.
	Deadline time.Duration
	Refusals *Refusals // nil: refusals are not kept
	// Hold is asked before a request is decided; its error, a *problem.Problem,
	// refuses it: signing is held, for instance while the clock is wrong. nil:
	// never held.
	Hold   func() error
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
	// Abandoned gives the commands that belong to the abandoning of an intent
	// whose Issue can no longer say (its server died): what Attach.Abandon would
	// have been. nil: none.
	Abandoned func(storage.Certificate) []storage.Command
	// Revoked is told of every revocation, as soon as it is durable, or may be; it
	// must not block. nil: nobody is told.
	Revoked func(Change)
	// Fault is called with the name of a point that Issue has reached (see the
	// Fault constants); an error makes Issue stop there as if the server had
	// died: nothing is cleaned up. nil in production.
	Fault func(Point) error
}

// Authority issues and revokes. It is safe for concurrent use.
type Authority struct {
	store       Store
	policy      func() *policy.Engine
	inForce     func([32]byte) (storage.Command, error)
	issuers     []*issuer
	byName      map[string]*issuer
	byKey       map[identity.KeyID]*issuer
	own         *ownKeys
	base        string
	shards      uint64
	incarnation storage.Incarnation
	deadline    time.Duration
	refusals    *Refusals
	linter      *x509cert.Linter
	now         func() time.Time
	logger      *slog.Logger
	abandoned   func(storage.Certificate) []storage.Command
	fault       func(Point) error
	hold        func() error
	revoked     func(Change)
	counters    counters
}

// issuer is an IssuerConfig made ready.
type issuer struct {
	IssuerConfig
	signing *x509cert.Issuer // its key counts certificates
	listing *x509cert.Issuer // and this one CRLs
	ocsp    crypto.Signer    // and this one OCSP answers; nil without a key
	keyID   identity.KeyID
	chain   [][]byte
}

// New checks the issuers (key and certificate must belong together) and begins
// a new incarnation of the server.
func New(cfg Config) (*Authority, error) {
	if cfg.Store == nil || cfg.Policy == nil || len(cfg.Issuers) == 0 {
		return nil, errors.New("ca: Store, Policy and at least one issuer are needed")
	}
	linter, err := x509cert.NewLinter()
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	a := &Authority{
		store: inOrder(cfg.Store), policy: cfg.Policy, inForce: cfg.InForce, base: strings.TrimSuffix(cfg.HTTPBase, "/"), shards: 16,
		deadline: 30 * time.Second, refusals: cfg.Refusals, now: cfg.Now, logger: cfg.Logger, abandoned: cfg.Abandoned, fault: cfg.Fault, hold: cfg.Hold, revoked: cfg.Revoked,
		byName: map[string]*issuer{}, byKey: map[identity.KeyID]*issuer{}, linter: linter,
	}
	if cfg.Shards > 0 {
		a.shards = uint64(cfg.Shards)
	}
	if a.shards > 1<<16 {
		return nil, fmt.Errorf("ca: %d CRL shards: at most 65536", a.shards)
	}
	if cfg.Deadline > 0 {
		a.deadline = cfg.Deadline
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.revoked == nil {
		a.revoked = func(Change) {}
	}
	if a.hold == nil {
		a.hold = func() error { return nil }
	}
	if a.logger == nil {
		a.logger = slog.Default()
	}
	copy(a.incarnation[:8], cfg.Server[:])
	_, _ = rand.Read(a.incarnation[8:]) // never fails
	for _, ic := range cfg.Issuers {
		if err := a.addIssuer(ic); err != nil {
			return nil, fmt.Errorf("ca: issuer %s: %w", ic.Name, err)
		}
	}
	if a.own, err = newOwnKeys(cfg); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	return a, nil
}

func (a *Authority) addIssuer(ic IssuerConfig) error {
	if ic.Name == "" || ic.Certificate == nil {
		return errors.New("a name and a certificate are needed")
	}
	switch ic.State {
	case "":
		ic.State = Active
	case Prepared, Active, Tainted, Retired:
	default:
		return fmt.Errorf("state %.32q is not one of prepared, active, tainted, retired", ic.State)
	}
	c := &a.counters
	crls, ocsp := a.countedKey(ic, &c.crls), a.countedKey(ic, &c.ocsp)
	ic.Signer = a.countedKey(ic, &c.signatures) // from here on nothing has the key uncounted
	signing, err := x509cert.NewIssuer(ic.Certificate, ic.Signer)
	if err != nil {
		return err
	}
	listing, err := x509cert.NewIssuer(ic.Certificate, crls)
	if err != nil {
		return err
	}
	keyID, err := identity.KeyIDOf(ic.Certificate.PublicKey)
	if err != nil {
		return err
	}
	if a.byName[ic.Name] != nil || a.byKey[keyID] != nil {
		return errors.New("its name or its key is another issuer's")
	}
	is := &issuer{IssuerConfig: ic, signing: signing, listing: listing, ocsp: ocsp, keyID: keyID}
	if len(is.Chain) == 0 && ic.Certificate.CheckSignatureFrom(ic.Certificate) != nil {
		is.Chain = []*x509.Certificate{ic.Certificate}
	}
	for _, c := range is.Chain {
		is.chain = append(is.chain, c.Raw)
	}
	a.issuers = append(a.issuers, is)
	a.byName[ic.Name], a.byKey[keyID] = is, is
	return nil
}

// IssuerInfo describes an issuer.
type IssuerInfo struct {
	Name        string
	KeyID       identity.KeyID
	Certificate *x509.Certificate
	Chain       []*x509.Certificate
	State       string
	Algorithm   string   // keys.Algorithm of its key
	Profiles    []string // of the policy in force that it issues
}

// Issuers are the configured issuers, in the order of the configuration.
func (a *Authority) Issuers() []IssuerInfo {
	profiles := a.policy().Profiles()
	out := make([]IssuerInfo, 0, len(a.issuers))
	for _, is := range a.issuers {
		info := IssuerInfo{
			Name: is.Name, KeyID: is.keyID, Certificate: is.Certificate, Chain: is.Chain, State: is.State,
			Algorithm: keys.Algorithm(is.Certificate.PublicKey),
		}
		for _, p := range profiles {
			if p.Issuer == is.Name {
				info.Profiles = append(info.Profiles, p.Name)
			}
		}
		out = append(out, info)
	}
	return out
}

// Incarnation names this run of this server; intents carry it.
func (a *Authority) Incarnation() storage.Incarnation { return a.incarnation }

// ParseCSR is x509cert.ParseCSR: the one way in which a CSR becomes names and a
// key, for every door.
func ParseCSR(pemOrDER []byte) (x509cert.CSR, error) { return x509cert.ParseCSR(pemOrDER) }

// Preview is what Issue would answer.
type Preview struct {
	// Again is the certificate that the same request has got before, if
	// Again.Repeated is set; nothing is decided then.
	Again    Issued
	Decision policy.Decision
}

// Preview takes a request through Issue's own steps 1 to 4, and leaves no trace:
// nothing is reserved, nothing is signed, nothing is kept of a refusal. The error is
// Issue's.
func (a *Authority) Preview(ctx context.Context, req identity.Request) (Preview, error) {
	b, err := a.begin(ctx, req)
	if err != nil {
		return Preview{}, asProblem(err)
	}
	if b.again.Repeated {
		return Preview{Again: b.again}, nil
	}
	d, err := a.draft(req, b.decision, b.is, b.now)
	if err != nil {
		return Preview{}, asProblem(err)
	}
	if _, err := a.check(d); err != nil {
		return Preview{}, asProblem(err)
	}
	return Preview{Decision: b.decision}, nil
}
