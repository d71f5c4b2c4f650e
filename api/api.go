package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/health"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/tally"
	"github.com/certwright/certwright/crl"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/inventory/bulk"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/publish"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/storage"
)

// Authenticator proves one sort of credentials; see auth.Authenticator for its
// three outcomes.
type Authenticator = auth.Authenticator

// Credentials are what a call shows; see auth.Credentials.
type Credentials = auth.Credentials

// Store is what the API reads itself. It writes through the rooms below only.
type Store interface {
	ledger.VerifyStore
	storage.LedgerReader
	storage.CertificateReader
	storage.RecordReader
}

// Config of a Server. All but what is marked is required.
type Config struct {
	Authority *ca.Authority
	Policies  *ca.Policies
	Refusals  *ca.Refusals
	Ledger    *ledger.Log
	Witnesses *witness.Witnesses // nil: none are asked
	Store     Store
	Tokens    *token.Tokens
	Sessions  *session.Sessions
	Renewals  *renewal.Renewals
	Inventory *inventory.Inventory
	CRLs      *crl.Publisher
	Bulk      *bulk.Operations
	// Maintenance is the server as its keeper sees it. Optional: without it the
	// methods about it are refused.
	Maintenance Maintenance
	ACME        *ACME // optional: without it the methods about ACME are refused
	// Completeness compares what the keys signed with the ledger. Optional.
	Completeness func(context.Context) (tally.Count, error)

	// Authenticators are asked in this order; the first that does not answer
	// auth.ErrNotMine decides. Put join tokens before the admin socket: who shows
	// a token on the socket means the token.
	Authenticators []Authenticator

	// Providers are shown to who wants to log in. Optional.
	Providers []Provider

	// Issuers are the URLs of the identity providers that are believed, DeviceCAs the names
	// of the CAs of devices: nobody else's principals are simulated.
	Issuers, DeviceCAs []string

	// Roots are the root certificates, shown as the end of each issuer's chain.
	// Optional.
	Roots []*x509.Certificate
	// GRPCBase is where others reach the server over gRPC, https://HOST:PORT, for those
	// who are given a join token. Optional.
	GRPCBase string
	// LedgerLock is the path of the ledger's last-seen file, for VerifyLedger;
	// empty: not compared.
	LedgerLock string

	Limits Limits           // optional
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Limits of what callers may do at once. Zero values are the defaults.
type Limits struct {
	// Message is the most octets of one request, in gRPC and REST; 0: 1 MiB.
	Message int
	// Calls is how many calls whose request has arrived may be under way at once,
	// on all transports but the admin socket together; 0: 1024. What is beyond is
	// refused as overloaded. The socket and the health service have places of
	// their own.
	Calls int
	// Streams is the same for streams (VerifyLedger, reflection); 0: 64.
	Streams int
	// Receive is how long a gRPC request may take to arrive once its headers are
	// there; 0: 10 s. A public method's may take a quarter of it.
	Receive time.Duration
	// Timeout ends a call that is no stream; 0: 60 s.
	Timeout time.Duration
	// MalformedCSRs is how many CSRs that cannot be read are kept among the
	// refusals per minute; 0: 60.
	MalformedCSRs int
	// Refusals is how many requests for a certificate one requester may have
	// refused per minute before it is held back; 0: 600. The admin socket may have
	// any number. What is issued does not count.
	Refusals int
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&l.Message, 1<<20)
	set(&l.Calls, 1024)
	set(&l.Streams, 64)
	set(&l.MalformedCSRs, 60)
	set(&l.Refusals, 600)
	if l.Receive <= 0 {
		l.Receive = 10 * time.Second
	}
	if l.Timeout <= 0 {
		l.Timeout = 60 * time.Second
	}
	return l
}

// Server is the API. It serves through GRPC and Handler, which may both be called
// several times: one for each listener with credentials of its own.
type Server struct {
	config   Config
	methods  methods   // who may call what
	services *registry // the wrapped handlers
	routes   []route   // of REST
	health   *health.Server
	places   places // for the calls under way
	counters counters
	openapi  []byte
	files    *publish.Publisher // of the published ledger
}

// Stats are counters since New.
type Stats struct {
	Calls  uint64 // that reached the chain
	Failed uint64 // that ended in an internal error, panics included
	Panics uint64 // must stay 0
}

type counters struct{ calls, failed, panics atomic.Uint64 }

// complete tells whether all is there that is required.
func (c *Config) complete() bool {
	return c.Authority != nil && c.Policies != nil && c.Refusals != nil && c.Ledger != nil && c.Store != nil &&
		c.Tokens != nil && c.Sessions != nil && c.Inventory != nil && c.CRLs != nil && c.Bulk != nil && c.Renewals != nil && len(c.Authenticators) > 0
}

// New checks that every method says who may call it, and makes a Server.
func New(c Config) (*Server, error) {
	if !c.complete() {
		return nil, errors.New("api: the configuration is not complete")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	s := &Server{
		config:  c,
		health:  health.NewServer(),
		places:  newPlaces(c.Limits),
		openapi: openapiDocument,
		files:   publish.New(publish.Config{Store: c.Store, Checkpoint: c.Ledger.Checkpoint}),
	}
	var err error
	if s.methods, err = annotatedMethods(descriptors()); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if s.routes, err = annotatedRoutes(descriptors()); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s.services = &registry{server: s, methods: map[string]handler{}}
	s.register()
	return s, s.services.err
}

// Stats is a copy of the counters.
func (s *Server) Stats() Stats {
	return Stats{Calls: s.counters.calls.Load(), Failed: s.counters.failed.Load(), Panics: s.counters.panics.Load()}
}

// Health is the gRPC health service's state: the server sets what it serves.
// It begins as serving; Shutdown makes every service NOT_SERVING.
func (s *Server) Health() *health.Server { return s.health }
