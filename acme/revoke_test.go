package acme_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certificate"

	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	c, other := w.registered(t), w.registered(t)
	cert, key := c.issue("a.acme.internal", "b.acme.internal")
	body := map[string]any{"certificate": b64(cert.Raw)}
	if r := other.post("/revoke-cert", body); r.status != 403 {
		t.Errorf("another account: %d %s", r.status, r.body)
	}
	stranger := w.client(t)
	if r := stranger.post("/revoke-cert", body); r.problem() != "unauthorized" {
		t.Errorf("another key: %d %s", r.status, r.body)
	}
	byKey := &client{w: w, t: t, key: key, ht: c.ht}
	for _, reason := range []int{-1, 2, 6, 7, 8, 10, 11, 99} {
		if r := byKey.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw), "reason": reason}); r.problem() != "badRevocationReason" {
			t.Errorf("reason %d: %s", reason, r.body)
		}
	}
	changed := bytes.Clone(cert.Raw)
	changed[len(changed)-1] ^= 1
	if r := c.post("/revoke-cert", map[string]any{"certificate": b64(changed)}); r.status != 404 {
		t.Errorf("a certificate with the same serial: %d %s", r.status, r.body)
	}
	// An account that holds authorizations for all names.
	other.ready("a.acme.internal")
	if r := other.post("/revoke-cert", body); r.status != 403 {
		t.Errorf("one of two names: %d %s", r.status, r.body)
	}
	other.ready("b.acme.internal")
	if r := other.post("/revoke-cert", body); r.status != 200 || len(r.body) != 0 {
		t.Errorf("all names: %d %s", r.status, r.body)
	}
	if r := c.post("/revoke-cert", body); r.problem() != "alreadyRevoked" {
		t.Errorf("again: %d %s", r.status, r.body)
	}
	again, key := c.issue("a.acme.internal")
	byKey.key = key
	if r := byKey.post("/revoke-cert", map[string]any{"certificate": b64(again.Raw), "reason": 1}); r.status != 200 {
		t.Errorf("by the certificate's key: %d %s", r.status, r.body)
	}
}

func TestRenewalInfo(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	cert, _ := c.issue("a.acme.internal")
	id, err := certificate.MakeARICertID(cert)
	w.must(err)
	type info struct {
		SuggestedWindow struct{ Start, End time.Time }
		ExplanationURL  string
	}
	get := func() info {
		t.Helper()
		r := c.do("GET", "/renewal-info/"+id, "", nil)
		if r.status != 200 || r.header.Get("Retry-After") == "" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		var i info
		r.into(t, &i)
		return i
	}
	if i := get(); i.SuggestedWindow.Start.Before(time.Now()) || i.SuggestedWindow.End.After(cert.NotAfter) {
		t.Errorf("%+v", i)
	}
	page, err := w.store.Certificates(t.Context(), storage.Query{Order: storage.ByIndex, Limit: 10})
	w.must(err)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	w.must(w.server.ReplaceBy(t.Context(), page.Certificates, soon, "https://ca.internal/incident"))
	if i := get(); !i.SuggestedWindow.End.Equal(soon) || i.ExplanationURL == "" {
		t.Errorf("pulled forward: %+v", i)
	}
	for _, bad := range []string{"x", ".", "AAAA.AAAA", id + "A", id[1:], "a.b.c"} {
		if r := c.do("GET", "/renewal-info/"+bad, "", nil); r.status != 400 && r.status != 404 {
			t.Errorf("%s: %d", bad, r.status)
		}
	}
	order := func(c *client, name string) reply {
		return c.post("/new-order", map[string]any{"identifiers": identifiers(name), "replaces": id})
	}
	if r := order(w.registered(t), "a.acme.internal"); r.problem() != "unauthorized" {
		t.Errorf("another account's: %s", r.body)
	}
	if r := order(c, "b.acme.internal"); r.problem() != "malformed" {
		t.Errorf("no name in common: %s", r.body)
	}
	var first, second orderView
	r := order(c, "a.acme.internal")
	r.into(t, &first)
	r = order(c, "a.acme.internal")
	r.into(t, &second)
	if r := c.finalize(first, newKey(t), "a.acme.internal"); r.status != 200 {
		t.Errorf("finalize: %d %s", r.status, r.body)
	}
	w.replaced(sha256.Sum256(cert.Raw))
	if r := c.finalize(second, newKey(t), "a.acme.internal"); r.status != 409 || r.problem() != "alreadyReplaced" {
		t.Errorf("a second replacement: %d %s", r.status, r.body)
	}
	if r := order(c, "a.acme.internal"); r.problem() != "alreadyReplaced" {
		t.Errorf("a third: %d %s", r.status, r.body)
	}
	c.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw)})
	if i := get(); i.SuggestedWindow.End.After(time.Now()) {
		t.Errorf("revoked: %+v", i)
	}
}

// TestCompromisedAccount has the key of an account become known as compromised: the
// account gets no certificate until it has another key.
func TestCompromisedAccount(t *testing.T) {
	w := newWorld(t)
	victim, other := w.registered(t), w.registered(t)
	o := victim.ready("a.acme.internal")
	// The same key in a certificate, which another account had made.
	with := other.ready("b.acme.internal")
	if r := other.finalize(with, victim.key, "b.acme.internal"); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	block, _ := pem.Decode(other.post(other.getOrder(with.url).Certificate, nil).body)
	if r := other.post("/revoke-cert", map[string]any{"certificate": b64(block.Bytes), "reason": 1}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := victim.finalize(o, newKey(t), "a.acme.internal"); r.problem() != "badPublicKey" {
		t.Errorf("%d %s", r.status, r.body)
	}
	fresh := w.client(t)
	if r := victim.post("/key-change", victim.roll(fresh, nil)); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	fresh.kid = victim.kid
	if r := fresh.finalize(o, newKey(t), "a.acme.internal"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// replaced checks that the newest intent in the ledger names the certificate that it
// replaces, and that the ledger holds.
func (w *world) replaced(fingerprint [32]byte) {
	w.t.Helper()
	raw, err := w.store.Entries(w.t.Context(), 0, 1000)
	w.must(err)
	var last entry.Intent
	for _, data := range raw {
		e, err := entry.Parse(data)
		w.must(err)
		if e.Kind == entry.IssuanceIntent {
			last, err = entry.ParseIntent(e.Draft)
			w.must(err)
		}
	}
	if last.Replaces != fingerprint || len(last.Labels) != 0 {
		w.t.Errorf("the newest intent replaces %x, want %x", last.Replaces, fingerprint)
	}
}
