package acme_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/certwright/certwright/acme"
)

// TestNameGames orders what only looks like a name. Each is rejectedIdentifier, and
// names itself in a subproblem. The policy of this world would allow all of them.
func TestNameGames(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Limits.OrdersPerName = -1 })
	c := w.registered(t)
	for _, id := range [][2]string{
		{"dns", "a.acme.internal."}, {"dns", ".a.acme.internal"}, {"dns", "a..acme.internal"}, {"dns", " a.acme.internal"},
		{"dns", "a.acme.internal "}, {"dns", "a.acme.internal\n"}, {"dns", "a\t.acme.internal"}, {"dns", "a.acme.internal\x00"},
		{"dns", "a.acme.internal:443"}, {"dns", "a.acme.internal/"}, {"dns", "https://a.acme.internal"}, {"dns", "x@a.acme.internal"},
		{"dns", "-a.acme.internal"}, {"dns", "a-.acme.internal"}, {"dns", "a_b.acme.internal"}, {"dns", "_acme-challenge.a.acme.internal"},
		{"dns", "*"}, {"dns", "*."}, {"dns", "*.*.acme.internal"}, {"dns", "a.*.acme.internal"}, {"dns", "a*.acme.internal"},
		{"dns", "*a.acme.internal"}, {"dns", "**.acme.internal"}, {"dns", "%2a.acme.internal"}, {"dns", "a.acme.internal,b.acme.internal"},
		{"dns", "bücher.acme.internal"}, {"dns", "ａ.acme.internal"}, {"dns", "a。acme.internal"}, {"dns", "\u212a.acme.internal"},
		{"dns", "a\u200d.acme.internal"}, {"dns", "xn--a.acme.internal"}, {"dns", "xn--.acme.internal"}, {"dns", "xn--a-ecp.acme.internal"},
		{"dns", "ab--c.acme.internal"}, {"dns", "xn--aaaa.acme.internal"},
		{"dns", strings.Repeat("a", 64) + ".acme.internal"}, {"dns", strings.Repeat("a.", 127) + "acme.internal"},
		{"dns", "127.0.0.1"}, {"dns", "127.1"}, {"dns", "2130706433"}, {"dns", "0x7f000001"}, {"dns", "0x7f.1"}, {"dns", "0177.0.0.1"},
		{"dns", "127.0.0.1."}, {"dns", "1.2.3"}, {"dns", "*.127.0.0.1"}, {"dns", "::1"}, {"dns", "[::1]"}, {"dns", "a.acme.internal.1"},
		{"ip", "127.1"}, {"ip", "2130706433"}, {"ip", "0x7f000001"}, {"ip", "0177.0.0.1"}, {"ip", "127.000.000.001"}, {"ip", "127.0.0.1/32"},
		{"ip", "127.0.0.1:80"}, {"ip", "[::1]"}, {"ip", "::1%lo"}, {"ip", "a.acme.internal"}, {"ip", ""}, {"ip", "127.0.0.1 "}, {"ip", "*.127.0.0.1"},
		{"ip", "１27.0.0.1"}, {"ip", "1.0.0.127.in-addr.arpa"},
	} {
		r := c.post("/new-order", map[string]any{"identifiers": []map[string]string{{"type": id[0], "value": id[1]}}})
		var doc acme.Document
		if r.into(t, &doc); r.problem() != "rejectedIdentifier" || r.status != http.StatusBadRequest {
			t.Errorf("%s %q: %d %s", id[0], id[1], r.status, r.body)
		} else if len(doc.Subproblems) != 1 || doc.Subproblems[0].Identifier == nil || doc.Subproblems[0].Identifier.Type != id[0] {
			t.Errorf("%s %q: no subproblem: %s", id[0], id[1], r.body)
		}
		if z := c.post("/new-authz", map[string]any{"identifier": map[string]string{"type": id[0], "value": id[1]}}); z.status < 400 || z.status >= 500 {
			t.Errorf("newAuthz %s %q: %d %s", id[0], id[1], z.status, z.body)
		}
	}
	for _, kind := range []string{"DNS", "dns ", "IP", "email", "uri", "permanent-identifier", "", "dns\x00"} {
		r := c.post("/new-order", map[string]any{"identifiers": []map[string]string{{"type": kind, "value": "a.acme.internal"}}})
		if r.problem() != "unsupportedIdentifier" {
			t.Errorf("type %q: %d %s", kind, r.status, r.body)
		}
	}
	// Another writing of the same address is the same identifier.
	o := c.order("127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "XN--BCHER-KVA.acme.internal", "xn--bcher-kva.acme.internal")
	if len(o.Identifiers) != 2 || o.Identifiers[1].Value != "127.0.0.1" || o.Identifiers[0].Value != "xn--bcher-kva.acme.internal" {
		t.Errorf("%+v", o.Identifiers)
	}
}

// TestWrongMethod answers challenges that do not prove what is asked: a wildcard by
// http-01, an address by DNS. They are not offered, and a URL made up is not there.
func TestWrongMethod(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	for name, kinds := range map[string][]string{
		"*.a.acme.internal": {"http-01", "tls-alpn-01"}, "127.0.0.1": {"dns-01", "dns-account-01", "dns-persist-01"},
	} {
		url := c.order(name).Authorizations[0]
		offered := map[string]bool{}
		for _, ch := range c.authz(url).Challenges {
			offered[ch.Type] = true
		}
		id := url[strings.LastIndexByte(url, '/')+1:]
		for _, kind := range append(kinds, "device-attest-01", "HTTP-01", "", "..", "%2e%2e") {
			if offered[kind] {
				t.Errorf("%s is offered %s", name, kind)
			}
			if r := c.post(fmt.Sprintf("/challenge/%s/%s", id, kind), map[string]any{}); r.status != http.StatusNotFound {
				t.Errorf("%s by %s: %d %s", name, kind, r.status, r.body)
			}
		}
		if z := c.authz(url); z.Status != "pending" {
			t.Errorf("%s is %s", name, z.Status)
		}
	}
}
