package acme

import (
	"context"
	"crypto/cipher"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/acme/nonce"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage"
)

// Store is what the server needs of the storage.
type Store interface {
	storage.Committer
	storage.RecordReader
	storage.CertificateReader
}

// Mode says whether accounts need an external account binding (RFC 8555 §7.3.4).
type Mode string

// The modes.
const (
	EABOff      Mode = "off"      // a binding is refused
	EABOptional Mode = "optional" // a binding is honoured
	EABRequired Mode = "required" // no account without one
)

// Prefix is the path under which Handler serves.
const Prefix = "/acme"

// Limits bound how often something may be done: so many in an hour, all of them
// at once if need be. 0: the default; negative: no limit.
type Limits struct {
	// Accounts made from one address (IPv6: from one /64).
	Accounts int
	// Orders of one account.
	Orders int
	// Orders of one account that name one identifier.
	OrdersPerName int
	// Failures: failed validations of one account for one identifier; beyond them
	// no order names it.
	Failures int
}

// Config of a Server.
type Config struct {
	Authority *ca.Authority
	Policy    func() *policy.Engine // the policy in force
	Store     Store
	// Base is the https URL of the server without Prefix and without a trailing
	// slash: what all URLs begin with. The request's Host never counts.
	Base string
	// Validators of the challenge types that are offered, in the order in which
	// clients see them.
	Validators []challenge.Validator
	// CAA checks the CAA records of a name before it is issued for. nil: they are
	// not asked.
	CAA func(context.Context, challenge.CAAQuery) error
	// IssuerDomains are the names of this CA in CAA records (caaIdentities).
	IssuerDomains []string
	// Refusals keeps the orders that the policy refuses; nil: they are not kept.
	Refusals *ca.Refusals
	// Seal encrypts the secrets of EAB keys in the store, without a nonce of the
	// caller's (cipher.NewGCMWithRandomNonce). nil: they stand there in clear.
	Seal     cipher.AEAD
	EAB      Mode   // empty: EABOptional
	Terms    string // URL of the terms of service; empty: none
	Website  string // URL; empty: none
	MaxNames int    // identifiers of one order; 0: 100
	Limits   Limits
	// Places are how many requests are worked on at once; what begins something finds
	// one while less than a quarter are taken; 0: DefaultPlaces of the cores. Revocations
	// have their own.
	Places int
	// Workers validate challenges; 0: 32.
	Workers int
	// MaxWaiting are the validations that one account can have waiting; 0: 1024.
	MaxWaiting int
	// Retries are the waits between attempts of a validation; nil: 1 s and 3 s.
	Retries []time.Duration
	// OrderLifetime is how long an order may stay pending; 0: 7 days.
	OrderLifetime time.Duration
	// AuthorizationLifetime is how long an authorization can be reused; 0: 7 days.
	AuthorizationLifetime time.Duration
	Server                [8]byte // names this server across its runs
	Now                   func() time.Time
	Logger                *slog.Logger // nil: slog.Default
}

// Server is the ACME server. It is safe for concurrent use.
type Server struct {
	config     Config
	authority  *ca.Authority
	policy     func() *policy.Engine
	store      Store
	base       string // with Prefix
	validators map[string]challenge.Validator
	chains     map[identity.KeyID][]byte // PEM of what follows the leaf
	issuers    []ca.IssuerInfo
	nonces     *nonce.Source
	limits     limits
	pool       *pool
	places     *places
	now        func() time.Time
	logger     *slog.Logger

	mu       sync.Mutex
	accounts map[string]*account // by ID; as read last, never changed
}

// maxCached is how many accounts are kept in memory.
const maxCached = 4096

// New makes a Server; Run validates and sweeps.
func New(cfg Config) (*Server, error) {
	if cfg.Authority == nil || cfg.Policy == nil || cfg.Store == nil {
		return nil, errors.New("acme: Authority, Policy and Store are needed")
	}
	u, err := url.Parse(cfg.Base)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.HasSuffix(cfg.Base, "/") {
		return nil, fmt.Errorf("acme: base %.128q is not an https URL without a trailing slash", cfg.Base)
	}
	cfg.setDefaults()
	switch cfg.EAB {
	case EABOff, EABOptional, EABRequired:
	default:
		return nil, fmt.Errorf("acme: eab %.32q is not one of required, optional, off", cfg.EAB)
	}
	s := &Server{
		config: cfg, authority: cfg.Authority, policy: cfg.Policy, store: cfg.Store, base: cfg.Base + Prefix,
		validators: map[string]challenge.Validator{}, chains: map[identity.KeyID][]byte{}, issuers: cfg.Authority.Issuers(),
		nonces: nonce.New(nonce.Config{Server: cfg.Server, Now: cfg.Now}), limits: newLimits(cfg.Limits, cfg.Now),
		now: cfg.Now, logger: cfg.Logger, accounts: map[string]*account{},
	}
	for _, v := range cfg.Validators {
		if s.validators[v.Type()] != nil {
			return nil, fmt.Errorf("acme: two validators of type %s", v.Type())
		}
		s.validators[v.Type()] = v
	}
	for _, info := range s.issuers {
		var chain []byte
		for _, c := range info.Chain {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		s.chains[info.KeyID] = chain
	}
	s.pool, s.places = newPool(s), newPlaces(cfg.Places)
	return s, nil
}

func (c *Config) setDefaults() {
	if c.EAB == "" {
		c.EAB = EABOptional
	}
	if c.MaxNames == 0 {
		c.MaxNames = 100
	}
	if c.Places == 0 {
		c.Places = DefaultPlaces(runtime.GOMAXPROCS(0))
	}
	if c.Workers == 0 {
		c.Workers = 32
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = accountWaits
	}
	if c.Retries == nil {
		c.Retries = []time.Duration{time.Second, 3 * time.Second}
	}
	if c.OrderLifetime == 0 {
		c.OrderLifetime = 7 * 24 * time.Hour
	}
	if c.AuthorizationLifetime == 0 {
		c.AuthorizationLifetime = 7 * 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Directory is the URL that clients are configured with.
func (s *Server) Directory() string { return s.base + "/directory" }

// account reads an account; storage.ErrNotFound if there is none. It must not be
// changed: clone it.
func (s *Server) account(ctx context.Context, id string) (*account, error) {
	if !isID(id) {
		return nil, storage.ErrNotFound
	}
	r, err := s.store.Record(ctx, accountCollection, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	cached := s.accounts[id]
	s.mu.Unlock()
	if cached != nil && cached.version == r.Version {
		return cached, nil
	}
	a, err := decodeAccount(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accounts) >= maxCached {
		clear(s.accounts)
	}
	s.accounts[id] = a
	return a, nil
}

// commitFor commits commands in the name of an account, which must still be valid
// and have the key by which the request was verified.
func (s *Server) commitFor(ctx context.Context, a *account, unit storage.Unit) error {
	for {
		_, err := s.store.Commit(ctx, append(unit[:len(unit):len(unit)], a.require()))
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
		again, moved := s.moved(ctx, a)
		if moved != nil {
			return moved
		}
		if again.version == a.version {
			return err // it is something else that conflicts
		}
		a = again
	}
}

// moved reads an account again. The error is what the client is told if the
// account may no longer do what it was asked.
func (s *Server) moved(ctx context.Context, a *account) (*account, error) {
	again, err := s.account(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if again.Status != statusValid {
		return nil, refuse(Unauthorized, "the account is %s", again.Status)
	}
	if again.Thumbprint != a.Thumbprint {
		return nil, refuse(Unauthorized, "the account has another key by now")
	}
	return again, nil
}
