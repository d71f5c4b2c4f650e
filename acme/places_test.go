package acme_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/acme"
)

// busy fails the test unless an answer sends the caller away in the right form.
func busy(t *testing.T, what string, r reply) {
	t.Helper()
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if r.status != http.StatusServiceUnavailable || r.problem() != "rateLimited" || err != nil || seconds < 1 || seconds > 3 {
		t.Errorf("%s: %d %s, Retry-After %q", what, r.status, r.body, r.header.Get("Retry-After"))
	}
	if r.header.Get("Replay-Nonce") == "" {
		t.Errorf("%s: no new nonce", what)
	}
}

// hold takes places of the server until the test gives them back.
func hold(t *testing.T, w *world, n int, kind acme.Place) (give func()) {
	t.Helper()
	var held []acme.Hold
	for i := range n {
		h, err := w.server.Take(kind, fmt.Sprint("another ", i), false)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	return sync.OnceFunc(func() {
		for _, h := range held {
			w.server.Give(h)
		}
	})
}

// TestPlaces fills the places: what comes beyond is sent away with its nonce not
// spent, what has begun goes before what begins, revocations and what costs nothing
// get through, and one place that is free again serves.
func TestPlaces(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Places = 4 })
	c := w.registered(t)
	cert, _ := c.issue("places.acme.internal")
	order := c.order("begun.acme.internal")
	names := map[string]any{"identifiers": identifiers("late.acme.internal")}

	halfOf := hold(t, w, 2, acme.BeginPlace)
	busy(t, "newOrder beyond its part", c.post("/new-order", names))
	if r := c.post(order.url, nil); r.status != http.StatusOK {
		t.Errorf("an order that has begun: %d %s", r.status, r.body)
	}
	rest := hold(t, w, 2, acme.AnyPlace)
	path := order.url
	header := c.header(path)
	busy(t, "an order", c.send(path, c.jws(header, "")))
	busy(t, "newAccount", w.client(t).post("/new-account", map[string]any{"termsOfServiceAgreed": true}))
	for _, free := range []string{"/directory", "/new-nonce"} {
		if r := c.do(http.MethodGet, free, "", nil); r.status >= 300 {
			t.Errorf("%s: %d %s", free, r.status, r.body)
		}
	}
	if r := c.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw)}); r.status != http.StatusOK {
		t.Errorf("a revocation: %d %s", r.status, r.body)
	}
	rest()
	if r := c.send(path, c.jws(header, "")); r.status != http.StatusOK {
		t.Errorf("with the nonce of the refused request: %d %s", r.status, r.body)
	}
	halfOf()
	if r := c.post("/new-order", names); r.status != http.StatusCreated {
		t.Errorf("afterwards: %d %s", r.status, r.body)
	}
	load := w.server.Load()
	if load.Refused["any"] != 1 || load.Refused["begin"] != 2 || load.Taken["any"]+load.Taken["begin"]+load.Taken["revoke"] != 0 {
		t.Errorf("%+v", load)
	}
}

// TestPlacesOfRevocation: revocations have a bound of their own, and so have the
// questions that need no signature.
func TestPlacesOfRevocation(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	give := hold(t, w, 64, acme.RevokePlace)
	busy(t, "the 65th revocation", c.post("/revoke-cert", map[string]any{"certificate": "AA"}))
	c.order("beside.acme.internal")
	give()
	give = hold(t, w, 64, acme.AskPlace)
	if r := c.do(http.MethodGet, "/renewal-info/AA.AA", "", nil); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	give()
	if r := c.do(http.MethodGet, "/renewal-info/AA.AA", "", nil); r.status != http.StatusNotFound {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestDrippingHoldsNoPlace: a body that does not come holds no place.
func TestDrippingHoldsNoPlace(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Places = 2 })
	c := w.registered(t)
	for range 8 {
		conn, err := tls.Dial("tcp", w.http.Listener.Addr().String(), &tls.Config{RootCAs: w.roots, ServerName: "example.com", MinVersion: tls.VersionTLS13})
		w.must(err)
		defer conn.Close()
		_, err = io.WriteString(conn, "POST /acme/new-order HTTP/1.1\r\nHost: x\r\nContent-Type: application/jose+json\r\n"+
			"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		w.must(err)
		line, err := bufio.NewReader(conn).ReadString('\n') // the server has begun to read
		if err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%q %v", line, err)
		}
	}
	c.issue("beside.acme.internal")
	if load := w.server.Load(); load.Taken["any"] != 0 || load.Taken["begin"] != 0 || load.Refused["any"]+load.Refused["begin"] != 0 {
		t.Errorf("%+v", load)
	}
}
