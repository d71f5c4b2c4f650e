package acme_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestHeaders looks at what every answer must carry: the index (RFC 8555 §7.1), a
// nonce after each POST (§6.5), CORS (§6.1), Location and Retry-After where clients
// wait for them.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	check := func(what string, r reply, status int, more ...string) {
		t.Helper()
		if r.status != status {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
		if !slices.Contains(r.header.Values("Link"), "<"+w.server.Directory()+`>;rel="index"`) {
			t.Errorf("%s: Link %q", what, r.header.Values("Link"))
		}
		if r.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), "Location") {
			t.Errorf("%s: CORS headers %v", what, r.header)
		}
		for _, name := range more {
			if r.header.Get(name) == "" {
				t.Errorf("%s: no %s", what, name)
			}
		}
	}
	o := c.order(w.name("a.acme.internal"))
	check("newNonce", c.do("HEAD", "/new-nonce", "", nil), 200, "Replay-Nonce")
	check("renewalInfo", c.do("GET", "/renewal-info/AAAA.AAAA", "", nil), 404)
	check("nothing", c.do("GET", "/nothing", "", nil), 404)
	check("newOrder", c.post("/new-order", map[string]any{"identifiers": identifiers("a.acme.internal")}), 201, "Replay-Nonce", "Location")
	check("account", c.post(c.kid, map[string]any{"contact": []string{"mailto:a@b.internal"}}), 200, "Replay-Nonce", "Location")
	check("account, read", c.post(c.kid, nil), 200, "Replay-Nonce", "Location")
	check("orders", c.post(c.kid+"/orders", nil), 200, "Replay-Nonce")
	check("pending order", c.post(o.url, nil), 200, "Replay-Nonce", "Location", "Retry-After")
	check("pending authorization", c.post(o.Authorizations[0], nil), 200, "Replay-Nonce", "Retry-After")
	challenge := c.authz(o.Authorizations[0]).Challenges[0]
	check("challenge, read", c.post(challenge.URL, nil), 200, "Replay-Nonce", "Location")
	w.present(challenge.Token, c.keyAuthorization(challenge.Token))
	check("challenge", c.post(challenge.URL, map[string]any{}), 200, "Replay-Nonce", "Location")
	c.settled(o.Authorizations[0])
	check("finalize", c.finalize(o, newKey(t), "a.acme.internal"), 200, "Replay-Nonce", "Location")
	o = c.getOrder(o.url)
	check("certificate", c.post(o.Certificate, nil), 200, "Replay-Nonce")
	check("wrong method", c.do("GET", o.url, "", nil), 405, "Allow")
	check("wrong type", c.do("POST", o.url, "text/plain", nil), 415, "Replay-Nonce")
	check("bad nonce", c.send(o.url, c.jws(map[string]any{"alg": "ES256", "kid": c.kid, "url": o.url, "nonce": "AAAA"}, "")), 400, "Replay-Nonce")
	preflight := c.do("OPTIONS", "/new-order", "", nil)
	check("preflight", preflight, 204, "Access-Control-Allow-Methods", "Access-Control-Allow-Headers")
	if got := c.do("GET", "/directory", "", nil).header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("directory: CORS %q", got)
	}
}

// TestDuplicateKeys has a key stand twice at each depth of each layer.
func TestDuplicateKeys(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	const path = "/new-order"
	const good = `{"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`
	header := func(extra string) string {
		return fmt.Sprintf(`{"alg":"ES256","kid":%q,"nonce":%q,"url":%q%s}`, c.kid, c.nonce(), c.url(path), extra)
	}
	send := func(format, protected, payload string) reply {
		body := fmt.Sprintf(format, b64([]byte(protected)), b64([]byte(payload)), b64(c.sign(protected, payload)))
		return c.do(http.MethodPost, path, "application/jose+json", []byte(body))
	}
	const flat = `{"protected":%q,"payload":%q,"signature":%q}`
	if r := send(flat, header(""), good); r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for name, r := range map[string]reply{
		"alg twice":               send(flat, header(`,"alg":"ES256"`), good),
		"url twice, escaped":      send(flat, header(`,"\u0075rl":"https://evil.example"`), good),
		"kid beside Kid":          send(flat, header(`,"Kid":"x"`), good),
		"inside of the header":    send(flat, header(`,"x":{"y":[{"z":1,"z":2}]}`), good),
		"payload twice":           send(`{"payload":"","protected":%q,"payload":%q,"signature":%q}`, header(""), good),
		"protected twice":         send(`{"protected":"e30","protected":%q,"payload":%q,"signature":%q}`, header(""), good),
		"signature twice":         send(`{"protected":%q,"payload":%q,"signature":%q,"signature":""}`, header(""), good),
		"signature in other case": send(`{"protected":%q,"payload":%q,"signature":%q,"\u0053ignature":""}`, header(""), good),
		"identifiers twice":       send(flat, header(""), `{"identifiers":[],"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`),
		"value twice":             send(flat, header(""), `{"identifiers":[{"type":"dns","value":"a.acme.internal","value":"b.acme.internal"}]}`),
		"value beside VALUE":      send(flat, header(""), `{"identifiers":[{"type":"dns","value":"a.acme.internal","VALUE":"b.acme.internal"}]}`),
		"value beside vaſlue":     send(flat, header(""), `{"identifierſ":[],"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`),
		"in what is not read":     send(flat, header(""), `{"x":[[{"a":{"b":1,"b":1}}]],"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`),
	} {
		if r.status != http.StatusBadRequest || r.problem() != "malformed" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// TestPaths asks for resources by other writings of their path. None is served, and
// what is signed for one is not taken by another.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	base := strings.TrimSuffix(w.server.Directory(), "/directory")
	payload := map[string]any{"identifiers": identifiers("a.acme.internal")}
	for _, path := range []string{
		"/new-order/", "//new-order", "/./new-order", "/x/../new-order", "/New-Order", "/new%2Dorder", "/new-order%20", "/new-order;x", "%2Fnew-order",
		"/account/../new-order", "/challenge//", "/account/x/orders/", "/cert/../../v1/policy",
	} {
		if r := c.post(base+path, payload); r.status != http.StatusNotFound && r.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, id := range []string{"x", strings.Repeat("0", 23), strings.Repeat("0", 25), strings.Repeat("W", 24), strings.Repeat("%c3%a9", 12), "%00", strings.Repeat("0", 24)} {
		for _, path := range []string{"/order/", "/authz/", "/cert/"} {
			if r := c.post(base+path+id, nil); r.status != http.StatusNotFound || r.problem() != "malformed" {
				t.Errorf("%s%s: %d %s", path, id, r.status, r.body)
			}
		}
		if r := c.post(base+"/order/"+id+"/finalize", map[string]any{"csr": csrOf(t, newKey(t), "a.acme.internal")}); r.status != http.StatusNotFound {
			t.Errorf("finalize %s: %d %s", id, r.status, r.body)
		}
	}
}

// TestHostileTimes asks for validities that no calendar has.
func TestHostileTimes(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	for _, at := range []string{
		`"0000-01-01T00:00:00+23:59"`, `"9999-12-31T23:59:59-23:59"`, `"0001-01-01T00:00:01Z"`, `"1969-12-31T23:59:59Z"`, `"9999-12-31T23:59:59Z"`,
		`"2262-04-12T00:00:00Z"`, `"2038-01-19T03:14:08Z"`, `""`, `0`, `1e99`, `[]`, `"2030-02-30T00:00:00Z"`, `"2030-01-01"`, `"2030-01-01T00:00:00.999999999999Z"`,
	} {
		for _, field := range []string{"notBefore", "notAfter"} {
			payload := fmt.Sprintf(`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],%q:%s}`, field, at)
			if r := c.send("/new-order", c.jws(c.header("/new-order"), payload)); r.status != http.StatusBadRequest || r.problem() != "malformed" {
				t.Errorf("%s %s: %d %s", field, at, r.status, r.body)
			}
		}
	}
}

// TestDeactivated has an account that was deactivated ask for everything that was its.
func TestDeactivated(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	ready := c.ready("a.acme.internal")
	cert, key := c.issue("a.acme.internal")
	pending := c.order(w.name("b.acme.internal"))
	challenge := c.authz(pending.Authorizations[0]).Challenges[0]
	valid := ready.Authorizations[0]
	if r := c.post(c.kid, map[string]any{"status": "deactivated"}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for path, payload := range map[string]any{
		c.kid: nil, c.kid + "/orders": nil, ready.url: nil, valid: nil, challenge.URL: map[string]any{}, "/new-authz": map[string]any{"identifier": identifiers("c.acme.internal")[0]},
		ready.Finalize: map[string]any{"csr": csrOf(t, newKey(t), "a.acme.internal")}, "/revoke-cert": map[string]any{"certificate": b64(cert.Raw)},
		"/key-change": c.roll(w.client(t), nil), ready.url + "x": nil,
	} {
		if r := c.post(path, payload); r.problem() != "unauthorized" && r.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if n := w.certificates(); n != 1 {
		t.Errorf("%d certificates", n)
	}
	byKey := &client{w: w, t: t, key: key, ht: c.ht}
	if r := byKey.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw)}); r.status != 200 {
		t.Errorf("by the certificate's key: %d %s", r.status, r.body)
	}
}

// TestForgedKeys signs by another key than the JWK or the account that is named: a
// victim's public key proves nothing.
func TestForgedKeys(t *testing.T) {
	w := newWorld(t)
	victim, attacker := w.registered(t), w.client(t)
	cert, key := victim.issue("a.acme.internal")
	forge := func(path string, header map[string]any, payload string) reply {
		header["alg"], header["nonce"], header["url"] = "ES256", attacker.nonce(), attacker.url(path)
		return attacker.send(path, attacker.jws(header, payload))
	}
	revocation := fmt.Sprintf(`{"certificate":%q,"reason":1}`, b64(cert.Raw))
	for name, r := range map[string]reply{
		"the certificate's key":       forge("/revoke-cert", map[string]any{"jwk": jwkOf(t, key.Public())}, revocation),
		"the account's key":           forge("/revoke-cert", map[string]any{"jwk": victim.jwk()}, revocation),
		"the account":                 forge("/revoke-cert", map[string]any{"kid": victim.kid}, revocation),
		"newAccount by another's key": forge("/new-account", map[string]any{"jwk": victim.jwk()}, `{"onlyReturnExisting":true}`),
		"another's account":           forge(victim.kid, map[string]any{"kid": victim.kid}, `{"status":"deactivated"}`),
	} {
		if r.status != http.StatusBadRequest || r.problem() != "malformed" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := victim.post("/revoke-cert", map[string]any{"certificate": b64(cert.Raw)}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestHostileKeyChange has the inner JWS be what it must not be.
func TestHostileKeyChange(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	fresh := w.client(t)
	raw := func(change func(map[string]any)) map[string]any {
		m := c.roll(fresh, nil)
		change(m)
		return m
	}
	weak := w.client(t)
	weak.key = rsaKey(t, 1024)
	for name, test := range map[string]struct {
		payload any
		want    string
	}{
		"no inner JWS":       {map[string]any{}, "malformed"},
		"POST-as-GET":        {nil, "malformed"},
		"unprotected header": {raw(func(m map[string]any) { m["header"] = map[string]any{} }), "malformed"},
		"signature changed":  {raw(func(m map[string]any) { m["signature"] = flip(m["signature"].(string)) }), "malformed"},
		"alg none":           {c.roll(fresh, func(h, _ map[string]any) { h["alg"] = "none" }), "badSignatureAlgorithm"},
		"alg HS256":          {c.roll(fresh, func(h, _ map[string]any) { h["alg"] = "HS256" }), "badSignatureAlgorithm"},
		"no jwk":             {c.roll(fresh, func(h, _ map[string]any) { delete(h, "jwk"); h["kid"] = c.kid }), "malformed"},
		"crit":               {c.roll(fresh, func(h, _ map[string]any) { h["crit"] = []string{"x"} }), "malformed"},
		"private jwk":        {c.roll(fresh, func(h, _ map[string]any) { j := fresh.jwk(); j["d"] = "AQAB"; h["jwk"] = j }), "malformed"},
		"no old key":         {c.roll(fresh, func(_, p map[string]any) { delete(p, "oldKey") }), "malformed"},
		"old key a text":     {c.roll(fresh, func(_, p map[string]any) { p["oldKey"] = "x" }), "malformed"},
		"no account":         {c.roll(fresh, func(_, p map[string]any) { delete(p, "account") }), "malformed"},
		"weak key":           {c.roll(weak, func(h, _ map[string]any) { h["alg"] = "RS256" }), "badPublicKey"},
	} {
		if r := c.post("/key-change", test.payload); r.problem() != test.want || r.status != 400 {
			t.Errorf("%s: %d %s, want %s", name, r.status, r.body, test.want)
		}
	}
	if r := c.post("/key-change", c.roll(c, nil)); r.status != http.StatusConflict || r.header.Get("Location") != c.kid {
		t.Errorf("its own key: %d %v", r.status, r.header)
	}
	if r := c.post(c.kid, nil); r.status != 200 {
		t.Errorf("the account has changed: %d %s", r.status, r.body)
	}
}

// TestProfiles asks for what the directory offers.
func TestProfiles(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	var directory struct {
		Meta struct{ Profiles map[string]string }
	}
	c.do("GET", "/directory", "", nil).into(t, &directory)
	if len(directory.Meta.Profiles) != 3 {
		t.Errorf("%v", directory.Meta.Profiles)
	}
	for profile, want := range map[string]string{"server": "", "short": "", "private": "invalidProfile", "Server": "invalidProfile", strings.Repeat("x", 5000): "invalidProfile"} {
		r := c.post("/new-order", map[string]any{"identifiers": identifiers("a.acme.internal"), "profile": profile})
		if r.status != 201 && r.problem() != want || want == "" && !strings.Contains(string(r.body), `"profile":"`+profile+`"`) || len(r.body) > 1000 {
			t.Errorf("%.20s: %d %s", profile, r.status, r.body)
		}
	}
}
