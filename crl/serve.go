package crl

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/certwright/certwright/storage"
)

// maxAge is how long an HTTP cache may keep a list: a revocation shall not wait
// for it.
const maxAge = time.Minute

// ServeHTTP answers GET and HEAD for the paths of the lists (RFC 5280 §4.2.1.13,
// RFC 2585 §3).
func (p *Publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l := p.byPath[r.URL.Path]
	if l == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "a CRL is fetched by GET", http.StatusMethodNotAllowed)
		return
	}
	c, der, done, err := p.body(r, l)
	defer done()
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		if errors.Is(err, storage.ErrNotFound) {
			http.Error(w, "this CRL is not published", http.StatusNotFound)
			return
		}
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the CRL cannot be read at this time", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	now := p.cfg.Now()
	age := max(0, min(maxAge, c.nextUpdate.Sub(now))).Truncate(time.Second)
	h.Set("Content-Type", "application/pkix-crl")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "max-age="+strconv.Itoa(int(age/time.Second))+", public, no-transform, must-revalidate")
	h.Set("Expires", now.Add(age).UTC().Format(http.TimeFormat))
	h.Set("Last-Modified", c.thisUpdate.UTC().Format(http.TimeFormat))
	h.Set("ETag", `"`+hex.EncodeToString(c.sum[:20])+`"`)
	// Without a time for ServeContent: two lists may be of one second, and only
	// their tags tell them apart.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(der))
}

// body is a list with its DER, from memory or from the store, until done is called.
// ErrNotFound if none is published.
func (p *Publisher) body(r *http.Request, l *list) (c *published, der []byte, done func(), err error) {
	c = l.current.Load()
	if c == nil {
		return nil, nil, func() {}, storage.ErrNotFound
	}
	if c.der != nil {
		return c, c.der, func() {}, nil
	}
	got, err := p.shared.take(r.Context(), p.cfg.Store, l, c)
	done = func() { p.shared.give(l, got) }
	if err != nil {
		return nil, nil, done, err
	}
	return got.current, got.der, done, nil
}
