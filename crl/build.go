package crl

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

// systemActor is who publishes in the ledger when nobody asked.
const systemActor = "system:server"

// errTooLong: the complete list has more entries than are allowed.
var errTooLong = errors.New("the list is too long")

// The waits between tries to build a list that fails.
const (
	firstRetry = time.Second
	maxRetry   = time.Minute
)

// build publishes a list as the ledger now is, and keeps the error.
func (p *Publisher) build(ctx context.Context, l *list, actor string) error {
	l.building.Lock()
	defer l.building.Unlock()
	l.mu.Lock()
	was := l.dirty
	l.catching = !was.IsZero()
	l.dirty = time.Time{} // what is revoked from here on makes it dirty again
	l.mu.Unlock()
	err := p.publish(ctx, l, actor)
	if errors.Is(err, storage.ErrConflict) { // another server was first
		if err = p.load(ctx, l); err == nil {
			err = p.publish(ctx, l, actor)
		}
	}
	now := p.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catching = false
	if err == nil {
		l.failed, l.retry, l.lastError = 0, time.Time{}, ""
		return nil
	}
	if !was.IsZero() {
		l.dirty = was
	}
	if ctx.Err() != nil {
		return err
	}
	l.retry, l.lastError = now.Add(min(maxRetry, firstRetry<<min(l.failed, 10))), err.Error()
	l.failed++
	p.failures.Add(1)
	p.cfg.Logger.LogAttrs(ctx, slog.LevelError, "CRL not built", slog.String("issuer", l.signer.Name()),
		slog.String("shard", l.shard), slog.Int("failures", l.failed), slog.Any("error", err))
	return fmt.Errorf("crl: issuer %s: shard %s: %w", l.signer.Name(), l.shard, err)
}

// publish reads what is revoked, signs the list and stores it with its entry in
// the ledger; not while signing is held.
func (p *Publisher) publish(ctx context.Context, l *list, actor string) error {
	if err := p.cfg.Hold(); err != nil {
		return err
	}
	now := p.cfg.Now()
	lines, err := p.revoked(ctx, l, p.cutoff(l, now))
	if errors.Is(err, errTooLong) {
		l.hide(p, now)
		return nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	number := max(uint64(max(now.UnixMilli(), 1)), l.last+1)
	l.mu.Unlock()
	for i := range lines {
		if lines[i].At.After(now) { // the clock has gone back; no list says what is yet to come
			lines[i].At = now
		}
	}
	// The number alone orders lists: where the clock was ahead and is right again,
	// the next list is of an earlier time than the last.
	draft := x509cert.CRL{Number: number, ThisUpdate: now.UTC().Truncate(time.Second), Revoked: lines}
	draft.NextUpdate = draft.ThisUpdate.Add(p.cfg.Lifetime)
	if l.shard != Complete {
		for _, base := range p.bases[l.signer.KeyID()] {
			draft.URLs = append(draft.URLs, base+l.path)
		}
	}
	der, err := l.signer.Sign(draft)
	if err != nil {
		return err
	}
	next := &published{
		number: number, thisUpdate: draft.ThisUpdate, nextUpdate: draft.NextUpdate,
		entries: len(lines), size: len(der), sum: sha256.Sum256(der),
	}
	body, err := entry.CRL{Issuer: l.signer.KeyID(), Shard: l.shard, Number: number, SHA256: next.sum}.Draft(actor)
	if err != nil {
		return err
	}
	_, err = p.cfg.Store.Commit(ctx, storage.Unit{storage.PutCRL{
		Entry: body, Issuer: l.signer.KeyID(), Shard: l.shard, Number: number, DER: der,
	}})
	if err != nil {
		return err
	}
	p.built.Add(1)
	p.show(l, next, der)
	return nil
}

// cutoff is the end of a certificate that is listed still. One that ended before
// the list that is out was made stands in that list: RFC 5280 §3.3 lets it go. It
// is never later than a lifetime ago, so that a list made while the clock was
// ahead takes nothing from the next one.
func (p *Publisher) cutoff(l *list, now time.Time) time.Time {
	grace := now.Add(-p.cfg.Lifetime)
	if old := l.current.Load(); old != nil && old.thisUpdate.Before(grace) {
		return old.thisUpdate
	}
	return grace
}

// revoked are the lines of a list: of its shard, or of all; errTooLong.
func (p *Publisher) revoked(ctx context.Context, l *list, notAfter time.Time) ([]storage.Revoked, error) {
	var lines []storage.Revoked
	each := func(line storage.Revoked) error {
		if l.shard == Complete && len(lines) >= p.cfg.CompleteLimit {
			return errTooLong
		}
		lines = append(lines, line)
		return nil
	}
	first, last := l.number, l.number
	if l.shard == Complete {
		first, last = 0, p.lastShard(l.signer.KeyID())
	}
	for n := int(first); n <= int(last); n++ {
		if err := p.cfg.Store.Revoked(ctx, l.signer.KeyID(), uint16(n), notAfter, each); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// lastShard is the greatest shard that a certificate of the issuer may have.
func (p *Publisher) lastShard(issuer identity.KeyID) uint16 { return uint16(p.shards[issuer] - 1) }
