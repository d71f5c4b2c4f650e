package acme_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestHostileJWS sends what a request must not be. Each gets a problem of the right
// type and never a 5xx; the account works after all of it.
func TestHostileJWS(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	other := w.registered(t)
	const path = "/new-order"
	payload := `{"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`
	type change = func(h map[string]any)
	with := func(f change) func() any {
		return func() any { h := c.header(path); f(h); return c.jws(h, payload) }
	}
	raw := func(f func(m map[string]any)) func() any {
		return func() any { m := c.jws(c.header(path), payload); f(m); return m }
	}
	for _, test := range []struct {
		name string
		send func() any
		want string
	}{
		{"no nonce", with(func(h map[string]any) { delete(h, "nonce") }), "malformed"},
		{"nonce not base64url", with(func(h map[string]any) { h["nonce"] = "a+b/=" }), "malformed"},
		{"nonce of nobody", with(func(h map[string]any) { h["nonce"] = "AAAA" }), "badNonce"},
		{"nonce changed", with(func(h map[string]any) { n := h["nonce"].(string); h["nonce"] = "AA" + n[2:] }), "badNonce"},
		{"nonce is a number", with(func(h map[string]any) { h["nonce"] = 7 }), "malformed"},
		{"no url", with(func(h map[string]any) { delete(h, "url") }), "malformed"},
		{"another url", with(func(h map[string]any) { h["url"] = c.url("/new-authz") }), "unauthorized"},
		{"url with a query", with(func(h map[string]any) { h["url"] = c.url(path) + "?x" }), "unauthorized"},
		{"alg none", with(func(h map[string]any) { h["alg"] = "none" }), "badSignatureAlgorithm"},
		{"alg HS256", with(func(h map[string]any) { h["alg"] = "HS256" }), "badSignatureAlgorithm"},
		{"alg of another key", with(func(h map[string]any) { h["alg"] = "RS256" }), "badSignatureAlgorithm"},
		{"no alg", with(func(h map[string]any) { delete(h, "alg") }), "malformed"},
		{"kid and jwk", with(func(h map[string]any) { h["jwk"] = c.jwk() }), "malformed"},
		{"neither kid nor jwk", with(func(h map[string]any) { delete(h, "kid") }), "malformed"},
		{"jwk where kid is due", with(func(h map[string]any) { delete(h, "kid"); h["jwk"] = c.jwk() }), "malformed"},
		{"kid of nobody", with(func(h map[string]any) { h["kid"] = c.url("/account/000000000000000000000000") }), "accountDoesNotExist"},
		{"kid elsewhere", with(func(h map[string]any) { h["kid"] = "https://evil.example/acme/account/x" }), "accountDoesNotExist"},
		{"kid of another", with(func(h map[string]any) { h["kid"] = other.kid }), "malformed"},
		{"crit", with(func(h map[string]any) { h["crit"] = []string{"exp"}; h["exp"] = 1 }), "malformed"},
		{"crit empty", with(func(h map[string]any) { h["crit"] = []string{} }), "malformed"},
		{"b64", with(func(h map[string]any) { h["b64"] = false }), "malformed"},
		{"private jwk", with(func(h map[string]any) { delete(h, "kid"); j := c.jwk(); j["d"] = "AQAB"; h["jwk"] = j }), "malformed"},
		{"symmetric jwk", with(func(h map[string]any) { delete(h, "kid"); h["jwk"] = map[string]any{"kty": "oct", "k": "AQAB"} }), "malformed"},
		{"point off the curve", with(func(h map[string]any) { delete(h, "kid"); j := c.jwk(); j["x"] = j["y"]; h["jwk"] = j }), "malformed"},
		{"unprotected header", raw(func(m map[string]any) { m["header"] = map[string]any{"kid": c.kid} }), "malformed"},
		{"general form", raw(func(m map[string]any) {
			m["signatures"] = []any{map[string]any{"protected": m["protected"], "signature": m["signature"]}}
		}), "malformed"},
		{"another member", raw(func(m map[string]any) { m["extra"] = 1 }), "malformed"},
		{"signature changed", raw(func(m map[string]any) { m["signature"] = flip(m["signature"].(string)) }), "malformed"},
		{"signature empty", raw(func(m map[string]any) { m["signature"] = "" }), "malformed"},
		{"payload changed", raw(func(m map[string]any) { m["payload"] = b64([]byte(`{"identifiers":[]}`)) }), "malformed"},
		{"payload padded", raw(func(m map[string]any) { m["payload"] = m["payload"].(string) + "=" }), "malformed"},
		{"protected no JSON", raw(func(m map[string]any) { m["protected"] = b64([]byte("{")) }), "malformed"},
		{"protected an array", raw(func(m map[string]any) { m["protected"] = b64([]byte("[]")) }), "malformed"},
		{"a text", func() any { return "x.y.z" }, "malformed"},
		{"a list", func() any { return []int{1} }, "malformed"},
		{"nothing", func() any { return map[string]any{} }, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := c.send(path, test.send())
			if got := r.problem(); got != test.want {
				t.Errorf("%d %s, want %s", r.status, r.body, test.want)
			}
			if r.header.Get("Replay-Nonce") == "" {
				t.Error("no fresh nonce")
			}
			if r.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type %q", r.header.Get("Content-Type"))
			}
		})
	}
	t.Run("algorithms", func(t *testing.T) {
		r := c.send(path, with(func(h map[string]any) { h["alg"] = "none" })())
		var doc struct{ Algorithms []string }
		if r.into(t, &doc); len(doc.Algorithms) == 0 {
			t.Errorf("%s", r.body)
		}
	})
	if o := c.order(w.name("a.acme.internal")); o.Status != "pending" {
		t.Errorf("order is %s", o.Status)
	}
}

func flip(text string) string {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	raw[3] ^= 1
	return b64(raw)
}

// TestHostileText sends bodies that no JSON encoder makes.
func TestHostileText(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	const path = "/new-order"
	good := func(payload string) (protected, p, sig string) {
		text, err := json.Marshal(c.header(path))
		if err != nil {
			t.Fatal(err)
		}
		return b64(text), b64([]byte(payload)), b64(c.sign(string(text), payload))
	}
	signed := func(protected string) string {
		return fmt.Sprintf(`{"protected":%q,"payload":"","signature":%q}`, b64([]byte(protected)), b64(c.sign(protected, "")))
	}
	body := func(format, payload string) string {
		p, l, s := good(payload)
		return fmt.Sprintf(format, p, l, s)
	}
	const flat = `{"protected":"%s","payload":"%s","signature":"%s"}`
	for _, test := range []struct {
		name, body, kind string
		status           int
	}{
		{"compact", body("%s.%s.%s", "{}"), "", 400},
		{"payload twice", body(`{"payload":"","protected":"%s","payload":"%s","signature":"%s"}`, "{}"), "", 400},
		{"Payload beside payload", body(`{"Payload":"","protected":"%s","payload":"%s","signature":"%s"}`, "{}"), "", 400},
		{"nonce twice", signed(fmt.Sprintf(`{"alg":"ES256","kid":%q,"url":%q,"nonce":%q,"nonce":%q}`, c.kid, c.url(path), c.nonce(), c.nonce())), "", 400},
		{"payload key twice", body(flat, `{"identifiers":[],"identifiers":[{"type":"dns","value":"a.acme.internal"}]}`), "", 400},
		{"deep payload", body(flat, strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), "", 400},
		{"deep object", body(flat, strings.Repeat(`{"a":`, 3000)+"1"+strings.Repeat("}", 3000)), "", 400},
		{"payload a list", body(flat, `[]`), "", 400},
		{"wrong type", body(flat, `{"identifiers":"a"}`), "", 400},
		{"trailing", body(flat, "{}") + "{}", "", 400},
		{"empty", "", "", 400},
		{"dots", strings.Repeat(".", 60000), "", 400},
		{"too large", `{"protected":"` + strings.Repeat("A", 70000) + `"}`, "", 413},
		{"Content-Type json", body(flat, "{}"), "application/json", 415},
		{"Content-Type jose", body(flat, "{}"), "application/jose", 415},
		{"Content-Type none", body(flat, "{}"), "none", 415},
	} {
		t.Run(test.name, func(t *testing.T) {
			kind := test.kind
			switch kind {
			case "":
				kind = "application/jose+json"
			case "none":
				kind = ""
			}
			r := c.do(http.MethodPost, path, kind, []byte(test.body))
			if r.status != test.status || r.problem() != "malformed" {
				t.Errorf("%d %s, want %d malformed", r.status, r.body, test.status)
			}
		})
	}
}

// TestMethods asks every resource by every wrong method.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.order(w.name("a.acme.internal"))
	for _, path := range []string{"/new-account", "/new-order", "/new-authz", "/revoke-cert", "/key-change", c.kid, c.kid + "/orders", o.url, o.Finalize, o.Authorizations[0]} {
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "HEAD"} {
			if r := c.do(method, path, "", nil); r.status != 405 || r.header.Get("Allow") != "POST, OPTIONS" {
				t.Errorf("%s %s: %d, Allow %q", method, path, r.status, r.header.Get("Allow"))
			}
		}
		if r := c.do("OPTIONS", path, "", nil); r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("OPTIONS %s: %d", path, r.status)
		}
	}
	for _, path := range []string{"/directory", "/new-nonce"} {
		if r := c.do("POST", path, "application/jose+json", nil); r.status != 405 || !strings.Contains(r.header.Get("Allow"), "GET") {
			t.Errorf("POST %s: %d", path, r.status)
		}
	}
	if r := c.do("GET", "/new-nonce", "", nil); r.status != 204 || r.header.Get("Replay-Nonce") == "" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("newNonce: %d %v", r.status, r.header)
	}
	for _, path := range []string{"/x", "//directory", "/order/" + strings.Repeat("0", 24) + "/x", "/challenge/x"} {
		if r := c.do("GET", path, "", nil); r.status != 404 {
			t.Errorf("GET %s: %d", path, r.status)
		}
	}
	for _, url := range []string{o.url, o.Authorizations[0]} {
		r := c.post(url, nil)
		if link := r.header.Values("Link"); len(link) == 0 || !strings.Contains(link[0], `rel="index"`) {
			t.Errorf("%s: Link %q", url, link)
		}
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s is pending and says no Retry-After", url)
		}
	}
	if r := c.post(o.url, map[string]any{}); r.problem() != "malformed" {
		t.Errorf("a payload in POST-as-GET: %s", r.body)
	}
}

// TestHost has a request with a foreign Host: no URL of the answer names it.
func TestHost(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.Directory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("X-Forwarded-Host", "evil.example")
	req.Header.Set("Forwarded", "host=evil.example")
	res, err := c.ht.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var directory map[string]any
	if err := json.NewDecoder(res.Body).Decode(&directory); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(directory, res.Header); strings.Contains(text, "evil") {
		t.Error(text)
	}
}

// TestAccountKeys tries keys that are not good enough for an account. They are
// refused before anything is verified.
func TestAccountKeys(t *testing.T) {
	w := newWorld(t)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus := make([]byte, 128)
	_, _ = rand.Read(modulus)
	modulus[0], modulus[127] = modulus[0]|0x80, modulus[127]|1
	even := append(make([]byte, 0, 256), modulus...)
	even = append(even, modulus...)
	even[255] = 0xfe
	for name, jwk := range map[string]map[string]any{
		"P-521":            jwkOf(t, p521.Public()),
		"RSA of 1024 bits": {"kty": "RSA", "e": "AQAB", "n": b64(modulus)},
		"an even modulus":  {"kty": "RSA", "e": "AQAB", "n": b64(even)},
		"exponent 3":       {"kty": "RSA", "e": "Aw", "n": b64(append(append([]byte{}, modulus...), modulus...))},
	} {
		c := w.client(t)
		h := c.header("/new-account")
		h["jwk"] = jwk
		if jwk["kty"] == "RSA" {
			h["alg"] = "RS256"
		}
		if r := c.send("/new-account", c.jws(h, "{}")); r.problem() != "badPublicKey" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}
