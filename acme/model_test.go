package acme_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// tracked is an order as the model knows it: what may still become of it.
type tracked struct {
	mu     sync.Mutex
	order  orderView
	name   string
	states []string // as seen, one after the other
}

// look reads the order and checks that RFC 8555 §7.1.6 lets its state follow the
// one that was seen before. Looks come one after the other.
func (o *tracked) look(t *testing.T, c *client) orderView {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	next := map[string][]string{
		"pending": {"pending", "ready", "processing", "valid", "invalid"}, "ready": {"ready", "processing", "valid", "invalid"},
		"processing": {"processing", "valid", "invalid"}, "valid": {"valid"}, "invalid": {"invalid"},
	}
	v := c.getOrder(o.order.url)
	if n := len(o.states); n > 0 && !slices.Contains(next[o.states[n-1]], v.Status) || next[v.Status] == nil {
		t.Errorf("order %s: %v, and then %q", o.order.url, o.states, v.Status)
	}
	o.states = append(o.states, v.Status)
	return v
}

// TestModel lets several clients do random things to the same orders at once, with
// restarts between, and holds what they see against RFC 8555 §7.1.6.
func TestModel(t *testing.T) {
	w := newWorld(t)
	const clients, rounds, steps = 4, 4, 15
	accounts := make([]*client, clients)
	orders := make([][]*tracked, clients)
	for i := range accounts {
		accounts[i] = w.registered(t)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range rounds {
		for i, c := range accounts {
			name := w.name(fmt.Sprintf("m%d-%d.acme.internal", i, round))
			for range 2 {
				o := &tracked{order: c.order(name), name: name}
				o.look(t, c)
				orders[i] = append(orders[i], o)
			}
		}
		var wg sync.WaitGroup
		for i, c := range accounts {
			for worker := range 3 {
				random := rand.New(rand.NewPCG(seed, uint64(round<<16|i<<8|worker)))
				wg.Go(func() {
					for range steps {
						c.act(t, orders[i][random.IntN(len(orders[i]))], random)
					}
				})
			}
		}
		wg.Wait()
		w.restart()
	}
	total := 0
	for i, c := range accounts {
		for _, o := range orders[i] {
			final := o.look(t, c)
			if final.Status == "processing" {
				t.Errorf("order %s is stuck", o.order.url)
			}
			if final.Status == "valid" {
				total++
				if r := c.post(final.Certificate, nil); r.status != http.StatusOK {
					t.Errorf("certificate: %d %s", r.status, r.body)
				}
			}
		}
	}
	if n := w.certificates(); n != total || total == 0 {
		t.Errorf("%d certificates of %d valid orders", n, total)
	}
}

// act does one random thing to an order.
func (c *client) act(t *testing.T, o *tracked, random *rand.Rand) {
	url := o.order.Authorizations[0]
	switch random.IntN(8) {
	case 0, 1:
		o.look(t, c)
	case 2, 3, 4:
		z := c.authz(url)
		for _, ch := range z.Challenges {
			if ch.Type == "http-01" {
				c.w.present(ch.Token, c.keyAuthorization(ch.Token))
				c.post(ch.URL, map[string]any{})
			}
		}
	case 5, 6:
		r := c.finalize(o.order, newKey(t), o.name)
		if r.status == http.StatusOK {
			var v orderView
			if r.into(t, &v); v.Status != "valid" && v.Status != "processing" {
				t.Errorf("finalize: %s", r.body)
			}
		} else if p := r.problem(); p != "orderNotReady" {
			t.Errorf("finalize: %d %s", r.status, r.body)
		}
	case 7:
		if random.IntN(6) == 0 {
			c.post(url, map[string]any{"status": "deactivated"})
		}
	}
}

// TestFsyncs counts the fsyncs of one certificate with one client: at most 12.
func TestFsyncs(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	c.issue("warm.acme.internal")
	before := w.store.Stats().Fsyncs
	const n = 5
	for i := range n {
		c.issue(fmt.Sprintf("n%d.acme.internal", i))
	}
	if each := float64(w.store.Stats().Fsyncs-before) / n; each > 12 {
		t.Errorf("%.1f fsyncs for one certificate", each)
	}
}

// TestRefusals has the policy's refusal of an order kept.
func TestRefusals(t *testing.T) {
	var refusals refusalNotes
	w := newWorld(t, func(c *acme.Config) { c.Refusals = refusals.open(t) })
	c := w.registered(t)
	c.post("/new-order", map[string]any{"identifiers": identifiers("forbidden.acme.internal")})
	list, err := refusals.kept.List(t.Context(), 0, 10)
	w.must(err)
	if len(list) != 1 || list[0].Names[0] != "dns:forbidden.acme.internal" {
		t.Errorf("%+v", list)
	}
	if page, err := w.store.Certificates(t.Context(), storage.Query{Order: storage.ByIndex, Limit: 1}); err != nil || len(page.Certificates) != 0 {
		t.Errorf("%v %v", page, err)
	}
}

// refusalNotes are refusals on a store of their own.
type refusalNotes struct{ kept *ca.Refusals }

func (n *refusalNotes) open(t *testing.T) *ca.Refusals {
	t.Helper()
	path := filepath.Join(t.TempDir(), "refusals.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	n.kept = ca.NewRefusals(ca.RefusalsConfig{Store: store})
	return n.kept
}
