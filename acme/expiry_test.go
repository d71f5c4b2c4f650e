package acme_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// TestExpiry moves the clock: what has expired is neither used nor kept.
func TestExpiry(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, func(c *acme.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c := w.registered(t)
	done := c.ready("a.acme.internal")
	if r := c.finalize(done, newKey(t), "a.acme.internal"); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	o := c.ready("a.acme.internal", "b.acme.internal")
	pending := c.order("c.acme.internal")
	ahead.Store(int64(8 * 24 * time.Hour))
	if got := c.getOrder(o.url); got.Status != "invalid" {
		t.Errorf("an expired order is %s", got.Status)
	}
	if z := c.authz(o.Authorizations[0]); z.Status != "expired" {
		t.Errorf("an expired authorization is %s", z.Status)
	}
	if r := c.finalize(o, newKey(t), "a.acme.internal", "b.acme.internal"); r.problem() != "orderNotReady" {
		t.Errorf("finalize: %d %s", r.status, r.body)
	}
	if fresh := c.order("a.acme.internal"); fresh.Status != "pending" {
		t.Errorf("an expired authorization is reused")
	}
	z := c.authz(pending.Authorizations[0])
	if z.Status != "expired" {
		t.Errorf("authorization is %s", z.Status)
	}
	ahead.Store(int64(30 * 24 * time.Hour))
	w.restart() // which sweeps
	deadline := time.Now().Add(10 * time.Second)
	for c.post(pending.url, nil).status != 404 || c.post(o.Authorizations[0], nil).status != 404 {
		if time.Now().After(deadline) {
			t.Fatal("an expired order is kept")
		}
		<-time.After(5 * time.Millisecond)
	}
	if got := c.getOrder(done.url); got.Status != "valid" {
		t.Errorf("a valid order is %s", got.Status)
	}
	if r := c.post(c.getOrder(done.url).Certificate, nil); r.status != 200 {
		t.Errorf("certificate: %d %s", r.status, r.body)
	}
}

// TestManyPending holds what newOrder costs with 500 pending orders of the
// account against what it costs with none, in work that does not depend on the
// machine: the records that it reads and writes.
func TestManyPending(t *testing.T) {
	counted := &countingStore{}
	w := newWorld(t)
	w.mu.Lock()
	counted.Store = w.store
	w.mu.Unlock()
	config := w.config
	config.Authority, config.Policy, config.Store, config.Base = w.authority, w.policies.Engine, counted, "https://"+w.http.Listener.Addr().String()
	server, err := acme.New(config)
	w.must(err)
	w.mu.Lock()
	w.server = server
	w.mu.Unlock()
	c := w.registered(t)
	w.name("a.acme.internal")
	cost := func() [2]int64 {
		counted.reads.Store(0)
		counted.commands.Store(0)
		c.order("a.acme.internal")
		return [2]int64{counted.reads.Load(), counted.commands.Load()}
	}
	before := cost()
	for range 500 {
		c.order("a.acme.internal")
	}
	if after := cost(); after != before {
		t.Errorf("newOrder reads and writes %v records, with none pending %v", after, before)
	}
}

// countingStore counts what goes through it.
type countingStore struct {
	acme.Store
	reads, commands atomic.Int64
}

// Commit counts commands.
func (s *countingStore) Commit(ctx context.Context, u storage.Unit) (storage.Receipt, error) {
	s.commands.Add(int64(len(u)))
	return s.Store.Commit(ctx, u)
}

// Record counts one read.
func (s *countingStore) Record(ctx context.Context, collection, id string) (storage.Record, error) {
	s.reads.Add(1)
	return s.Store.Record(ctx, collection, id)
}

// Records counts what it returns.
func (s *countingStore) Records(ctx context.Context, collection, index, value string, after []byte, limit int) (storage.RecordPage, error) {
	page, err := s.Store.Records(ctx, collection, index, value, after, limit)
	s.reads.Add(1 + int64(len(page.Records)))
	return page, err
}

func specNamed(name string) enrol.EABSpec {
	return enrol.EABSpec{Name: name, Creator: "local_socket:admin"}
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	good := w.config
	good.Authority, good.Policy, good.Store, good.Base = w.authority, w.policies.Engine, w.store, "https://ca.internal"
	for name, change := range map[string]func(*acme.Config){
		"no store": func(c *acme.Config) { c.Store = nil },
		"http":     func(c *acme.Config) { c.Base = "http://ca.internal" },
		"slash":    func(c *acme.Config) { c.Base += "/" },
		"eab":      func(c *acme.Config) { c.EAB = "maybe" },
		"twice":    func(c *acme.Config) { c.Validators = append(c.Validators, c.Validators[0]) },
	} {
		bad := good
		change(&bad)
		if _, err := acme.New(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	off := good
	off.EAB = acme.EABOff
	server, err := acme.New(off)
	w.must(err)
	if _, _, err := server.CreateEAB(t.Context(), specNamed("a")); problem.KindOf(err) != problem.FailedPrecondition {
		t.Errorf("EAB off: %v", err)
	}
	if _, err := w.store.Record(t.Context(), "acme-eab", "x"); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
}

// TestCAA has the check forbid a name; it is told which method and account ask.
func TestCAA(t *testing.T) {
	asked := make(chan challenge.CAAQuery, 8)
	w := newWorld(t, func(c *acme.Config) {
		c.IssuerDomains = []string{"ca.internal"}
		c.CAA = func(_ context.Context, q challenge.CAAQuery) error {
			asked <- q
			if q.Name == "b.acme.internal" {
				return &challenge.Error{Type: challenge.CAA, Host: q.Name, Detail: "CAA records forbid it"}
			}
			return nil
		}
	})
	c := w.registered(t)
	c.issue("a.acme.internal")
	if q := <-asked; q.Method != "http-01" || q.AccountURL != c.kid || q.Wildcard || q.IssuerDomains[0] != "ca.internal" {
		t.Errorf("%+v", q)
	}
	o := c.ready("a.acme.internal", "b.acme.internal")
	r := c.finalize(o, newKey(t), "a.acme.internal", "b.acme.internal")
	var doc acme.Document
	if r.into(t, &doc); r.problem() != "caa" || r.status != 403 || len(doc.Subproblems) != 1 || doc.Subproblems[0].Identifier.Value != "b.acme.internal" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if o = c.getOrder(o.url); o.Status != "ready" {
		t.Errorf("the order is %s", o.Status)
	}
}

// TestCAAOfEveryName forbids each name of an order in turn; all names are asked for
// at once, so that slow name servers do not add up.
func TestCAAOfEveryName(t *testing.T) {
	names := []string{"n0.acme.internal", "n1.acme.internal", "n2.acme.internal", "n3.acme.internal"}
	var mu sync.Mutex
	var forbidden string
	var asked []string
	all := make(chan struct{})
	w := newWorld(t, func(c *acme.Config) {
		c.CAA = func(ctx context.Context, q challenge.CAAQuery) error {
			mu.Lock()
			if asked = append(asked, q.Name); len(asked) == len(names) {
				close(all)
			}
			met, no := all, q.Name == forbidden
			mu.Unlock()
			select {
			case <-met:
			case <-ctx.Done():
				return ctx.Err()
			}
			if no {
				return &challenge.Error{Type: challenge.CAA, Host: q.Name, Detail: "CAA records forbid it"}
			}
			return nil
		}
	})
	c := w.registered(t)
	o := c.ready(names...)
	for _, name := range names {
		mu.Lock()
		forbidden, asked, all = name, nil, make(chan struct{})
		mu.Unlock()
		r := c.finalize(o, newKey(t), names...)
		var doc acme.Document
		if r.into(t, &doc); r.problem() != "caa" || len(doc.Subproblems) != 1 || doc.Subproblems[0].Identifier.Value != name {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if slices.Sort(asked); !slices.Equal(asked, names) {
			t.Errorf("asked for %v", asked)
		}
	}
	mu.Lock()
	forbidden, asked, all = "", nil, make(chan struct{})
	mu.Unlock()
	if r := c.finalize(o, newKey(t), names...); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
