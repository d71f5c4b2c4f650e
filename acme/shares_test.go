package acme_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/certwright/certwright/acme"
)

// TestShares: of 64 places an account has 4 and an address 32, however many ask at
// once; others find theirs, and what is given back is there again.
func TestShares(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Places = 64 })
	synctest.Test(t, func(t *testing.T) {
		for name, share := range map[string]struct {
			account bool
			kind    acme.Place
			want    int64
		}{"an address": {false, acme.AnyPlace, 32}, "an account": {true, acme.AnyPlace, 4}, "a revoking account": {true, acme.RevokePlace, 32}} {
			for range 3 {
				var got atomic.Int64
				var all sync.WaitGroup
				end := make(chan struct{})
				for range 200 {
					all.Go(func() {
						h, err := w.server.Take(share.kind, name, share.account)
						if err != nil {
							return
						}
						got.Add(1)
						<-end
						w.server.Give(h)
					})
				}
				synctest.Wait()
				if got.Load() != share.want {
					t.Errorf("%s has %d places", name, got.Load())
				}
				h, err := w.server.Take(share.kind, "another", share.account)
				if err != nil {
					t.Errorf("beside %s: %v", name, err)
				}
				w.server.Give(h)
				close(end)
				all.Wait()
			}
		}
	})
	if load := w.server.Load(); load.Taken["any"] != 0 {
		t.Errorf("%+v", load)
	}
}

// TestShareOfAccount: who has its share is told so with 429, another account of the
// same address is served, and so is the first one afterwards.
func TestShareOfAccount(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Places = 64 })
	greedy, other := w.registered(t), w.registered(t)
	order, others := greedy.order("greedy.acme.internal"), other.order("other.acme.internal")
	var held []acme.Hold
	for range 4 {
		h, err := w.server.Take(acme.AnyPlace, "192.0.2.1", false)
		w.must(err)
		w.must(w.server.Pass(&h, greedy.kid[strings.LastIndex(greedy.kid, "/")+1:]))
		held = append(held, h)
	}
	r := greedy.post(order.url, nil)
	wait, err := strconv.Atoi(r.header.Get("Retry-After"))
	if r.status != http.StatusTooManyRequests || r.problem() != "rateLimited" || err != nil || wait < 1 || wait > 3 || !strings.Contains(string(r.body), "4 requests of this account") {
		t.Errorf("the fifth: %d %s, Retry-After %q", r.status, r.body, r.header.Get("Retry-After"))
	}
	if r := other.post(others.url, nil); r.status != http.StatusOK {
		t.Errorf("another account: %d %s", r.status, r.body)
	}
	for _, h := range held {
		w.server.Give(h)
	}
	if r := greedy.post(order.url, nil); r.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", r.status, r.body)
	}
}

// TestDefaultPlaces: on two cores 64 clients find a place, of one account too.
func TestDefaultPlaces(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Places = acme.DefaultPlaces(2) })
	for i := range 64 {
		h, err := w.server.Take(acme.BeginPlace, "192.0.2.1", false)
		if err == nil {
			err = w.server.Pass(&h, "one")
		}
		if err != nil {
			t.Fatalf("the client %d: %v", i, err)
		}
	}
	if one, many := acme.DefaultPlaces(1), acme.DefaultPlaces(1000); one != 512 || many != 4096 {
		t.Error(one, many)
	}
}
