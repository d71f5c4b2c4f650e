package ocsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Store is what the responder reads of the ledger.
type Store interface {
	// BySerial is a certificate of any state; storage.ErrNotFound if there is none.
	BySerial(ctx context.Context, issuer identity.KeyID, serial identity.Serial) (storage.Certificate, error)
}

// minLifetime is the shortest life of an answer.
const minLifetime = time.Minute

// Config of a Responder.
type Config struct {
	Store   Store
	Issuers []IssuerConfig
	// Issue is the one door of issuance: it returns the certificate's DER. It
	// must let system:server have the issuers' profiles. nil: the issuers' own
	// keys sign.
	Issue func(ctx context.Context, req identity.Request) ([]byte, error)
	// Names stand in responder certificates.
	Names []identity.Identifier
	// Lifetime is nextUpdate − thisUpdate of an answer; 0: 24 h. Answers are
	// signed anew at half of it, and never outlive the certificate of their key.
	Lifetime time.Duration
	// CacheBytes bounds the memory of kept answers; 0: 64 MiB.
	CacheBytes int
	// Signers is how many answers are signed at once; 0: one for each CPU.
	Signers int
	// Queue is how many callers may wait for a signer; further ones are told to
	// try later, those first whose address has most of them waiting. 0: 256.
	Queue int
	// Path is the URL's path; empty: "/ocsp".
	Path   string
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
}

// Responder answers. It is an http.Handler and safe for concurrent use.
type Responder struct {
	store    Store
	issuers  []*issuer
	byHash   map[issuerHash]*issuer
	byKey    map[identity.KeyID]*issuer
	issue    func(ctx context.Context, req identity.Request) ([]byte, error)
	names    []identity.Identifier
	lifetime time.Duration
	cache    *cache
	slots    *slots
	path     string
	now      func() time.Time
	logger   *slog.Logger
	failures failures
	expires  clock
	buffers  sync.Pool // of *buffers
	counters counters
}

// failures are the replies of errors.
type failures struct{ malformed, internal, later, unauthorized *reply }

// New makes a Responder. Until Renew or Run has obtained the responder
// certificates, issuers without a stand-in are answered with tryLater.
func New(cfg Config) (*Responder, error) {
	if cfg.Store == nil || len(cfg.Issuers) == 0 || len(cfg.Issuers) > 1<<16 {
		return nil, errors.New("ocsp: a Store and 1 to 65536 issuers are needed")
	}
	r := &Responder{
		store: cfg.Store, issue: cfg.Issue, names: cfg.Names, lifetime: cfg.Lifetime, path: cfg.Path, now: cfg.Now, logger: cfg.Logger,
		byHash: map[issuerHash]*issuer{}, byKey: map[identity.KeyID]*issuer{},
		failures: failures{newFailure(malformedRequest), newFailure(internalError), newFailure(tryLater), newFailure(unauthorized)},
	}
	defaults(&cfg, r)
	if r.lifetime < minLifetime {
		return nil, fmt.Errorf("ocsp: lifetime %s: at least %s", r.lifetime, minLifetime)
	}
	r.cache, r.slots = newCache(cfg.CacheBytes), newSlots(cfg.Signers, cfg.Queue)
	for i, c := range cfg.Issuers {
		if cfg.Issue == nil {
			c.Profile = ""
		}
		is, err := newIssuer(i, c)
		if err != nil {
			return nil, err
		}
		if r.byKey[is.keyID] != nil {
			return nil, fmt.Errorf("ocsp: issuer %s: its key is also that of issuer %s", is.name, r.byKey[is.keyID].name)
		}
		r.issuers, r.byKey[is.keyID] = append(r.issuers, is), is
		r.byHash[is.names[0]], r.byHash[is.names[1]] = is, is
	}
	return r, nil
}

// defaults fills in what Config leaves out.
func defaults(cfg *Config, r *Responder) {
	if r.lifetime == 0 {
		r.lifetime = 24 * time.Hour
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = 64 << 20
	}
	if cfg.Signers <= 0 {
		cfg.Signers = runtime.GOMAXPROCS(0)
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 256
	}
	if r.path == "" {
		r.path = "/ocsp"
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
}

// Changed says that a certificate's state has changed: to be called after each
// commit of a revocation, and after one whose outcome is not known. What is kept
// and under way of it is forgotten at once.
func (r *Responder) Changed(issuer identity.KeyID, serial identity.Serial) {
	is := r.byKey[issuer]
	if is == nil {
		return
	}
	for v := range variants {
		k := key{is.number, v, serial}
		r.cache.shard(k).forget(k)
	}
	// A responder certificate says of itself that it need not be checked, so that a
	// revoked one must not sign again, nor its answers be served.
	if s := is.delegated.Load(); s != nil && s.serial.Cmp(serial.Big()) == 0 && is.delegated.CompareAndSwap(s, nil) {
		r.Reset()
		r.logger.Warn("OCSP responder certificate was revoked", slog.String("issuer", is.name))
	}
}

// Reset forgets every answer, for when changes may have been missed.
func (r *Responder) Reset() {
	for i := range r.cache.shards {
		r.cache.shards[i].forgetAll()
	}
}

// Staple is the answer for one certificate, for its own TLS server: the DER of
// an OCSPResponse, and when to ask again. It comes from the cache if it can.
func (r *Responder) Staple(ctx context.Context, issuer identity.KeyID, serial identity.Serial) ([]byte, time.Time, error) {
	is := r.byKey[issuer]
	if is == nil {
		return nil, time.Time{}, errors.New("ocsp: no such issuer")
	}
	rep := r.known(ctx, is, key{is.number, sha1Null, serial}, "")
	if !rep.lasting() {
		return nil, time.Time{}, fmt.Errorf("ocsp: no answer for serial %s", serial)
	}
	return rep.body, rep.freshUntil, nil
}
