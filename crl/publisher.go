package crl

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// Complete is the name of the list of all shards.
const Complete = "complete"

// Store is what publishing needs of the storage.
type Store interface {
	storage.Committer
	storage.RevocationReader
	storage.RecordReader
}

// Config of a Publisher.
type Config struct {
	Store   Store
	Signers []*ca.CRLSigner // of the issuers whose lists are published
	// Lifetime is nextUpdate − thisUpdate; 0: 24 h.
	Lifetime time.Duration
	// RebuildDelay is how long after a revocation its list is built; 0: 5 s.
	RebuildDelay time.Duration
	// CompleteLimit is the most entries of a complete list; with more there is none.
	// 0: 100,000; negative: there never is one.
	CompleteLimit int
	// CacheBytes is how much memory lists may take that wait for being fetched. The
	// others are read from the store while somebody fetches them, one copy for all
	// who do, at most four copies at once. 0: 64 MiB.
	CacheBytes int64
	// Hold is asked before a list is built; its error refuses that, and the list is
	// tried again: while the clock cannot be trusted. nil: never.
	Hold   func() error
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
}

// Publisher publishes. It is an http.Handler and safe for concurrent use.
type Publisher struct {
	cfg    Config
	lists  []*list
	byPath map[string]*list
	byKey  map[shardKey]*list
	bases  map[identity.KeyID][]string // that certificates name, newest first
	shards map[identity.KeyID]int      // how many there have been at most
	wake   chan struct{}
	shared *shared

	cached   atomic.Int64
	built    atomic.Uint64
	failures atomic.Uint64
}

// shardKey names a list.
type shardKey struct {
	issuer identity.KeyID
	shard  string
}

// list is one CRL of the many.
type list struct {
	signer *ca.CRLSigner
	shard  string
	number uint16 // of the shard; of no meaning for the complete list
	path   string // of its URL

	current atomic.Pointer[published] // nil: none is published

	building sync.Mutex // held while it is built

	mu        sync.Mutex // over what is below
	last      uint64     // the greatest number there has been, that of a list which is hidden too
	dirty     time.Time  // since when something is revoked that it does not say; zero: nothing
	catching  bool       // it is being built because it was dirty
	retry     time.Time  // not built again before, after a failure
	failed    int
	lastError string
	tooLong   time.Time // when it was found to be beyond CompleteLimit; zero: it is not
}

// published is a list that can be fetched; never changed.
type published struct {
	number                 uint64
	thisUpdate, nextUpdate time.Time
	entries, size          int
	sum                    [32]byte // SHA-256 of the DER
	der                    []byte   // nil: in the store alone
}

// Info describes a list.
type Info struct {
	Issuer                 string
	Shard                  string // "0" …, or Complete
	Path                   string // of its URL
	Number                 uint64 // 0: none is published
	ThisUpdate, NextUpdate time.Time
	Entries, Size          int
	SHA256                 [32]byte
	Pending                bool   // something is revoked that it does not say yet
	TooLong                bool   // complete, and beyond the limit: there is none
	Error                  string // of the last try to build it; empty: it went well
}

// Stats counts what a Publisher has done since Open.
type Stats struct {
	Built, Failures uint64
	CachedBytes     int64
}

// Stats is a copy of the counts as they stand.
func (p *Publisher) Stats() Stats {
	return Stats{Built: p.built.Load(), Failures: p.failures.Load(), CachedBytes: p.cached.Load()}
}

// Lists describes all lists: issuer by issuer, the complete one first, then the
// shards.
func (p *Publisher) Lists() []Info {
	out := make([]Info, 0, len(p.lists))
	for _, l := range p.lists {
		out = append(out, l.info())
	}
	return out
}

func (l *list) info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := Info{
		Issuer: l.signer.Name(), Shard: l.shard, Path: l.path,
		Pending: !l.dirty.IsZero() || l.catching, TooLong: !l.tooLong.IsZero(), Error: l.lastError,
	}
	if c := l.current.Load(); c != nil {
		i.Number, i.ThisUpdate, i.NextUpdate, i.Entries, i.Size, i.SHA256 = c.number, c.thisUpdate, c.nextUpdate, c.entries, c.size, c.sum
	}
	return i
}

// Has tells whether a list of this path is published, or will be.
func (p *Publisher) Has(path string) bool { return p.byPath[path] != nil }

// Changed says that a certificate was revoked. It never waits.
func (p *Publisher) Changed(c ca.Change) {
	for _, shard := range []string{fmt.Sprint(c.Shard), Complete} {
		if l := p.byKey[shardKey{c.Issuer, shard}]; l != nil {
			l.soil(p.cfg.Now())
		}
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (l *list) soil(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirty.IsZero() {
		l.dirty = now
	}
}

func (c *Config) setDefaults() error {
	if c.Store == nil {
		return errors.New("crl: no Store")
	}
	if c.Lifetime <= 0 {
		c.Lifetime = 24 * time.Hour
	}
	if c.RebuildDelay <= 0 {
		c.RebuildDelay = 5 * time.Second
	}
	if c.CompleteLimit == 0 {
		c.CompleteLimit = 100_000
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 64 << 20
	}
	if c.Hold == nil {
		c.Hold = func() error { return nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}
