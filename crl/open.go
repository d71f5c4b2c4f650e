package crl

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// collection holds a record for each issuer, by the text of its KeyID: what its
// certificates may name.
const collection = "crl"

// maxBases is how many bases of URLs are remembered.
const maxBases = 8

// scope is what an issuer's certificates may name: the greatest number of shards
// that there has been, and the bases of URLs, newest first.
type scope struct {
	Shards int      `json:"shards"`
	Bases  []string `json:"bases"`
}

// Open takes up the lists of the store. One that lacks a revocation, or a name
// that new certificates have for it, is built by Run at once.
func Open(ctx context.Context, cfg Config) (*Publisher, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, byPath: map[string]*list{}, byKey: map[shardKey]*list{}, bases: map[identity.KeyID][]string{}, shards: map[identity.KeyID]int{},
		wake: make(chan struct{}, 1), shared: newShared(),
	}
	for _, s := range cfg.Signers {
		if err := p.open(ctx, s); err != nil {
			return nil, fmt.Errorf("crl: issuer %s: %w", s.Name(), err)
		}
	}
	return p, nil
}

func (p *Publisher) open(ctx context.Context, s *ca.CRLSigner) error {
	sc, changed, err := p.scope(ctx, s)
	if err != nil {
		return err
	}
	p.bases[s.KeyID()], p.shards[s.KeyID()] = sc.Bases, sc.Shards
	if p.cfg.CompleteLimit > 0 {
		p.add(&list{signer: s, shard: Complete, path: "/crl/" + url.PathEscape(s.Name()) + ".crl"})
	}
	for n := range sc.Shards {
		if len(sc.Bases) > 0 { // else no certificate names its shard
			p.add(&list{signer: s, shard: strconv.Itoa(n), number: uint16(n), path: s.Path(uint16(n))})
		}
	}
	for _, l := range p.lists {
		if l.signer != s {
			continue
		}
		if err := p.load(ctx, l); err != nil {
			return fmt.Errorf("shard %s: %w", l.shard, err)
		}
		if changed {
			l.soil(p.cfg.Now())
		}
	}
	return nil
}

func (p *Publisher) add(l *list) {
	p.lists = append(p.lists, l)
	p.byPath[l.path] = l
	p.byKey[shardKey{l.signer.KeyID(), l.shard}] = l
}

// scope reads what the issuer's certificates may name and adds what new ones
// will; changed: a name was added.
func (p *Publisher) scope(ctx context.Context, s *ca.CRLSigner) (sc scope, changed bool, err error) {
	id := s.KeyID().String()
	rec, err := p.cfg.Store.Record(ctx, collection, id)
	if err == nil {
		err = json.Unmarshal(rec.Body, &sc)
	} else if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return sc, false, err
	}
	changed = s.Base() != "" && (len(sc.Bases) == 0 || sc.Bases[0] != s.Base())
	if !changed && sc.Shards >= s.Shards() {
		return sc, false, nil
	}
	sc.Shards = max(sc.Shards, s.Shards())
	if changed {
		others := slices.DeleteFunc(sc.Bases, func(b string) bool { return b == s.Base() })
		sc.Bases = append([]string{s.Base()}, others[:min(len(others), maxBases-1)]...)
	}
	body, err := json.Marshal(sc)
	if err != nil {
		return sc, false, err
	}
	_, err = p.cfg.Store.Commit(ctx, storage.Unit{storage.PutRecord{Collection: collection, ID: id, IfVersion: rec.Version, Body: body}})
	return sc, changed, err
}

// load takes up the stored list and finds out whether it lacks something.
func (p *Publisher) load(ctx context.Context, l *list) error {
	stored, err := p.cfg.Store.CRL(ctx, l.signer.KeyID(), l.shard)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(stored.DER) == 0 { // a recovery of the ledger knows its number, and no more
		l.last = stored.Number
		l.soil(time.Time{}.Add(1))
		return nil
	}
	shape, err := x509cert.ReadCRL(stored.DER)
	if err != nil {
		return err
	}
	p.show(l, &published{
		number: stored.Number, thisUpdate: shape.ThisUpdate, nextUpdate: shape.NextUpdate,
		entries: len(shape.Serials), size: len(stored.DER), sum: sha256.Sum256(stored.DER),
	}, stored.DER)
	lines, err := p.revoked(ctx, l, p.cutoff(l, p.cfg.Now()))
	if errors.Is(err, errTooLong) {
		l.hide(p, p.cfg.Now())
		return nil
	}
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, ok := shape.Serials[line.Serial]; !ok {
			l.soil(time.Time{}.Add(1)) // at once: it is late already
			return nil
		}
	}
	return nil
}

// show makes a list the one that is fetched.
func (p *Publisher) show(l *list, next *published, der []byte) {
	old := l.current.Load()
	if old != nil && old.der != nil {
		p.cached.Add(-int64(old.size))
	}
	if p.cached.Add(int64(next.size)) <= p.cfg.CacheBytes {
		next.der = der
	} else {
		p.cached.Add(-int64(next.size))
	}
	l.current.Store(next)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tooLong, l.last = time.Time{}, max(l.last, next.number)
}

// hide takes the complete list away: it has become too long. Its number stays, for
// the next one to be greater.
func (l *list) hide(p *Publisher, now time.Time) {
	if old := l.current.Swap(nil); old != nil && old.der != nil {
		p.cached.Add(-int64(old.size))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tooLong = now
}
