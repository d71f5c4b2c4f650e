package acme_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/identity/enrol"
)

// TestNonceRace sends one signed request 32 times at once: one passes, the others
// get badNonce and a fresh nonce.
func TestNonceRace(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	const path = "/new-order"
	body := c.jws(c.header(path), `{"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`)
	results := make([]reply, 32)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = c.send(path, body) })
	}
	wg.Wait()
	made := 0
	for _, r := range results {
		switch {
		case r.status == http.StatusCreated:
			made++
		case r.problem() != "badNonce" || r.header.Get("Replay-Nonce") == "":
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if made != 1 {
		t.Errorf("%d of one request have passed", made)
	}
}

// TestForeignNonce sends the nonce of a run before, and one of another instance:
// badNonce, with one that is good.
func TestForeignNonce(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	old := c.nonce()
	w.restart()
	elsewhere := newWorld(t, func(c *acme.Config) { c.Server = [8]byte{8} })
	for name, nonce := range map[string]string{"the run before": old, "another instance": elsewhere.client(t).nonce()} {
		h := c.header(c.kid)
		h["nonce"] = nonce
		r := c.send(c.kid, c.jws(h, ""))
		if r.status != http.StatusBadRequest || r.problem() != "badNonce" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		h["nonce"] = r.header.Get("Replay-Nonce")
		if r := c.send(c.kid, c.jws(h, "")); r.status != http.StatusOK {
			t.Errorf("%s: the fresh one: %d %s", name, r.status, r.body)
		}
	}
}

// TestEABAfterKeyChange has the holder of a key with one use roll the account's key
// away and register the first one again: that would be a second use.
func TestEABAfterKeyChange(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.EAB = acme.EABRequired })
	key, secret, err := w.server.CreateEAB(t.Context(), enrol.EABSpec{Name: "team-a", Owner: "team-a", Uses: 1, Creator: "local_socket:admin"})
	w.must(err)
	c := w.client(t)
	join := func(c *client) reply {
		c.kid = ""
		return c.post("/new-account", map[string]any{"externalAccountBinding": c.binding(key.ID, secret, nil)})
	}
	r := join(c)
	if r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c.kid = r.header.Get("Location")
	if r := c.post("/key-change", c.roll(w.client(t), nil)); r.status != http.StatusOK {
		t.Fatalf("key change: %d %s", r.status, r.body)
	}
	if r := join(c); r.status != http.StatusForbidden || r.problem() != "unauthorized" || !strings.Contains(string(r.body), "no use left") {
		t.Errorf("a second account by a key with one use: %d %s", r.status, r.body)
	}
	page, _, err := w.server.EABKeys(t.Context(), nil, 10)
	w.must(err)
	if len(page) != 1 || page[0].Used != 1 {
		t.Errorf("%+v", page)
	}
}
