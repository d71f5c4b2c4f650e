package acme_test

import "testing"

// TestBlockedKeys: a key that was reported as compromised is no account's, neither a
// new one's nor by a change of keys.
func TestBlockedKeys(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	cert, key := c.issue("a.acme.internal")
	stolen := w.client(t)
	stolen.key = key
	if r := stolen.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw), "reason": 1}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := stolen.post("/new-account", map[string]any{"termsOfServiceAgreed": true}); r.problem() != "badPublicKey" {
		t.Errorf("a new account: %d %s", r.status, r.body)
	}
	if r := c.post("/key-change", c.roll(stolen, nil)); r.problem() != "badPublicKey" {
		t.Errorf("a change of keys: %d %s", r.status, r.body)
	}
	o := c.ready("a.acme.internal")
	if r := c.finalize(o, key, "a.acme.internal"); r.problem() != "badCSR" && r.problem() != "badPublicKey" {
		t.Errorf("another certificate: %d %s", r.status, r.body)
	}
}
