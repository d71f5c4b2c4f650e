package acme_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/identity"
)

// slow is a validator that never answers for names below slow.acme.internal, until
// the end of the test.
type slow struct {
	mu    sync.Mutex
	stuck int
}

func (*slow) Type() string                          { return challenge.HTTP01 }
func (*slow) Offers(identity.Identifier, bool) bool { return true }

func (s *slow) Validate(ctx context.Context, target challenge.Target) (challenge.Evidence, error) {
	if target.Identifier.Value == "quick.acme.internal" {
		return challenge.Evidence{}, nil
	}
	s.mu.Lock()
	s.stuck++
	s.mu.Unlock()
	<-ctx.Done()
	return challenge.Evidence{}, ctx.Err()
}

// TestStarvation has accounts fill the validators' queue with targets that never
// answer: another account's validation goes before theirs, and what an account can
// have waiting is bounded.
func TestStarvation(t *testing.T) {
	const waiting = 6
	v := &slow{}
	w := newWorld(t, func(c *acme.Config) {
		c.Validators, c.Workers, c.MaxWaiting = []challenge.Validator{v}, 4, waiting
	})
	hostile, honest := []*client{w.registered(t), w.registered(t), w.registered(t)}, w.registered(t)
	for n, c := range hostile {
		for i := range waiting + 2 {
			o := c.order(fmt.Sprintf("s%d-%d.acme.internal", n, i))
			z := c.authz(o.Authorizations[0])
			r := c.post(z.Challenges[0].URL, map[string]any{})
			switch {
			case i < waiting && (r.status != http.StatusOK || r.header.Get("Retry-After") == ""):
				t.Fatalf("%d %s", r.status, r.body)
			case i >= waiting && (r.problem() != "rateLimited" || r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == ""):
				t.Errorf("%d waiting: %d %s", i, r.status, r.body)
			case i >= waiting:
				if z := c.authz(o.Authorizations[0]); z.Challenges[0].Status != "pending" {
					t.Errorf("a challenge that was refused is %s", z.Challenges[0].Status)
				}
			}
		}
	}
	o := honest.order("quick.acme.internal")
	z := honest.authz(o.Authorizations[0])
	if r := honest.post(z.Challenges[0].URL, map[string]any{}); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if z := honest.settled(o.Authorizations[0]); z.Status != "valid" {
		t.Errorf("the authorization is %s", z.Status)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stuck > 3 {
		t.Errorf("%d of 4 workers are stuck with 3 accounts", v.stuck)
	}
}
