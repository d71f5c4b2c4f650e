package ocsp

import (
	"sync/atomic"
	"time"
)

// Stats counts what a Responder has done since New.
type Stats struct {
	Get, Post uint64 // requests by method; HEAD is a GET
	Refused   uint64 // by HTTP status: method, content type, size
	// CertIDs answered, by status.
	Good, Revoked, Unknown uint64
	// OCSP error responses.
	Malformed, InternalError, TryLater, Unauthorized uint64
	NotModified                                      uint64 // 304 to a conditional GET

	CacheHits, CacheMisses   uint64
	CacheEntries, CacheBytes int
	CacheEvictions           uint64 // for want of room
	Ahead                    uint64 // hot answers signed before they were due
	Late                     uint64 // answers past their half, because no new one could be signed

	// Signatures by purpose: by responder certificates' keys, and by the issuers'
	// own.
	ResponderSignatures, IssuerSignatures, SignFailures uint64
	Renewals                                            uint64 // responder certificates obtained

	Latency Latency
	Issuers []IssuerStats
}

// IssuerStats is how an issuer's answers are signed.
type IssuerStats struct {
	Name     string
	NotAfter time.Time // of its responder certificate; zero: there is none
	Error    string    // of the last try to obtain one; empty: it went well
}

// Latency is a histogram of the time in the handler.
type Latency struct {
	Bounds []time.Duration // upper, inclusive, rising
	Counts []uint64        // one more than Bounds: the last is of what took longer
	Sum    time.Duration
}

// latencyBounds are Latency.Bounds; never changed.
var latencyBounds = [...]time.Duration{
	10 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, time.Second,
}

// counters are the live Stats.
type counters struct {
	get, post, refused, notModified               atomic.Uint64
	statuses                                      [3]atomic.Uint64
	errors                                        [7]atomic.Uint64 // by OCSPResponseStatus
	hits, misses, ahead, late                     atomic.Uint64
	byResponder, byIssuer, signFailures, renewals atomic.Uint64
	latency                                       [len(latencyBounds) + 1]atomic.Uint64
	latencySum                                    atomic.Int64
}

func (c *counters) addReply(rep *reply) {
	if rep.error != 0 {
		c.errors[rep.error].Add(1)
		return
	}
	for s, n := range rep.counts {
		if n > 0 {
			c.statuses[s].Add(uint64(n))
		}
	}
}

func (c *counters) addLatency(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	c.latency[i].Add(1)
	c.latencySum.Add(int64(d))
}

// Stats is a copy of the counts as they stand.
func (r *Responder) Stats() Stats {
	c := &r.counters
	s := Stats{
		Get: c.get.Load(), Post: c.post.Load(), Refused: c.refused.Load(), NotModified: c.notModified.Load(),
		Good: c.statuses[good].Load(), Revoked: c.statuses[revoked].Load(), Unknown: c.statuses[unknown].Load(),
		Malformed: c.errors[malformedRequest].Load(), InternalError: c.errors[internalError].Load(),
		TryLater: c.errors[tryLater].Load(), Unauthorized: c.errors[unauthorized].Load(),
		CacheHits: c.hits.Load(), CacheMisses: c.misses.Load(), Ahead: c.ahead.Load(), Late: c.late.Load(),
		ResponderSignatures: c.byResponder.Load(), IssuerSignatures: c.byIssuer.Load(), SignFailures: c.signFailures.Load(),
		Renewals: c.renewals.Load(),
		Latency:  Latency{Bounds: latencyBounds[:], Sum: time.Duration(c.latencySum.Load())},
	}
	s.CacheEntries, s.CacheBytes, s.CacheEvictions = r.cache.size()
	for i := range c.latency {
		s.Latency.Counts = append(s.Latency.Counts, c.latency[i].Load())
	}
	for _, is := range r.issuers {
		st := IssuerStats{Name: is.name}
		if d := is.delegated.Load(); d != nil {
			st.NotAfter = d.notAfter
		}
		if err := is.lastError.Load(); err != nil {
			st.Error = *err
		}
		s.Issuers = append(s.Issuers, st)
	}
	return s
}
