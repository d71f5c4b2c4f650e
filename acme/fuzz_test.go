package acme_test

import (
	"net/http"
	"testing"
)

// FuzzNewOrder sends payloads of newOrder, signed rightly: whatever they say, the
// answer is an order or a problem, never a 5xx.
func FuzzNewOrder(f *testing.F) {
	w := newWorld(f)
	c := w.registered(f)
	for _, seed := range []string{
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`,
		`{"identifiers":[{"type":"ip","value":"127.0.0.1"}],"notBefore":"2030-01-01T00:00:00Z","notAfter":"2030-01-02T00:00:00Z"}`,
		`{"identifiers":[{"type":"dns","value":"*.a.acme.internal"}],"profile":"short","replaces":"AAAA.AAAA"}`,
		`{"identifiers":[{"type":"dns","value":"\u0000"}]}`, `{"identifiers":[null]}`, `{"identifiers":{}}`, `{"notBefore":1}`, `[]`, `""`, `{`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		c := *c
		c.t = t
		r := c.send("/new-order", c.jws(c.header("/new-order"), payload))
		if r.status >= 500 || r.status != http.StatusCreated && r.problem() == "" {
			t.Errorf("%q: %d %s", payload, r.status, r.body)
		}
	})
}

// FuzzFinalize sends CSRs.
func FuzzFinalize(f *testing.F) {
	w := newWorld(f)
	c := w.registered(f)
	o := c.ready("a.acme.internal")
	f.Add(csrOf(f, newKey(f), "b.acme.internal"))
	f.Add(csrOf(f, c.key, "a.acme.internal"))
	f.Add("")
	f.Add("MA")
	f.Add("MIIB")
	f.Fuzz(func(t *testing.T, csr string) {
		c := *c
		c.t = t
		r := c.post(o.Finalize, map[string]any{"csr": csr})
		if r.status >= 500 || r.status != http.StatusOK && r.problem() == "" {
			t.Errorf("%q: %d %s", csr, r.status, r.body)
		}
	})
}
