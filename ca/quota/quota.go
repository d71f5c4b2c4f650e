// Package quota is token buckets by key, in bounded memory: how often somebody may
// do what costs the server something.
package quota

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Config of Quotas. Zero values are the defaults.
type Config struct {
	// PerMinute is how many tokens a key's bucket gets in a minute, and the most
	// that it holds; 0: 60.
	PerMinute int
	// Keys is the most buckets that are kept; 0: 10000. Beyond, one is forgotten:
	// its key begins with a full bucket again.
	Keys int
}

// Quotas are buckets by key; one that is not known is full. They are safe for
// concurrent use.
type Quotas struct {
	perMinute, keys int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	swept   time.Time
}

// New makes Quotas.
func New(c Config) *Quotas {
	if c.PerMinute <= 0 {
		c.PerMinute = 60
	}
	if c.Keys <= 0 {
		c.Keys = 10000
	}
	return &Quotas{perMinute: c.PerMinute, keys: c.Keys, buckets: map[string]*rate.Limiter{}}
}

// Take takes a token out of a key's bucket; false: it is empty.
func (q *Quotas) Take(key string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.buckets[key]
	if b == nil {
		q.makeRoom(now)
		b = rate.NewLimiter(rate.Limit(float64(q.perMinute)/60), q.perMinute)
		q.buckets[key] = b
	}
	return b.AllowN(now, 1)
}

// Spent tells whether a key's bucket is empty. It takes nothing.
func (q *Quotas) Spent(key string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.buckets[key]
	return b != nil && b.TokensAt(now) < 1
}

// Len is the number of buckets.
func (q *Quotas) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.buckets)
}

// makeRoom forgets, if there is no room, the buckets that are full, but not more
// often than once a second; else any one.
func (q *Quotas) makeRoom(now time.Time) {
	if len(q.buckets) < q.keys {
		return
	}
	if since := now.Sub(q.swept); since < 0 || since >= time.Second {
		q.swept = now
		for key, b := range q.buckets {
			if b.TokensAt(now) >= float64(q.perMinute) {
				delete(q.buckets, key)
			}
		}
	}
	for key := range q.buckets {
		if len(q.buckets) < q.keys {
			return
		}
		delete(q.buckets, key)
	}
}
