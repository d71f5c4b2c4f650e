package acme_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// client is an ACME client that can do everything wrong.
type client struct {
	w   *world
	t   testing.TB
	key crypto.Signer
	kid string
	ht  *http.Client
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// problem is the type of the problem document, without its prefix.
func (r reply) problem() string {
	var doc struct{ Type string }
	_ = json.Unmarshal(r.body, &doc)
	return strings.TrimPrefix(doc.Type, "urn:ietf:params:acme:error:")
}

func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

func (w *world) client(t testing.TB) *client {
	t.Helper()
	c := &client{w: w, t: t, key: newKey(t), ht: w.httpClient()}
	t.Cleanup(c.ht.CloseIdleConnections)
	return c
}

// registered is a client with an account.
func (w *world) registered(t testing.TB) *client {
	t.Helper()
	c := w.client(t)
	r := c.post("/new-account", map[string]any{"termsOfServiceAgreed": true})
	if r.status != http.StatusCreated {
		t.Fatalf("newAccount: %d %s", r.status, r.body)
	}
	c.kid = r.header.Get("Location")
	return c
}

func (c *client) url(path string) string {
	if strings.HasPrefix(path, "https://") {
		return path
	}
	return strings.TrimSuffix(c.w.server.Directory(), "/directory") + path
}

func (c *client) nonce() string {
	c.t.Helper()
	r := c.do(http.MethodHead, "/new-nonce", "", nil)
	return r.header.Get("Replay-Nonce")
}

func (c *client) do(method, path, kind string, body []byte) reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url(path), bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.ht.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode >= 500 && res.StatusCode != http.StatusServiceUnavailable {
		c.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, data)
	}
	return reply{res.StatusCode, res.Header, data}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (c *client) jwk() map[string]any { return jwkOf(c.t, c.key.Public()) }

func jwkOf(t testing.TB, key crypto.PublicKey) map[string]any {
	t.Helper()
	text, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// header is the protected header of a request that is right.
func (c *client) header(path string) map[string]any {
	h := map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": c.url(path)}
	if _, ok := c.key.(*rsa.PrivateKey); ok {
		h["alg"] = "RS256"
	}
	if c.kid != "" {
		h["kid"] = c.kid
	} else {
		h["jwk"] = c.jwk()
	}
	return h
}

// sign signs protected header and payload, both as they are.
func (c *client) sign(protected, payload string) []byte {
	c.t.Helper()
	input := b64([]byte(protected)) + "." + b64([]byte(payload))
	digest := crypto.SHA256.New()
	digest.Write([]byte(input))
	sum := digest.Sum(nil)
	switch k := c.key.(type) {
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum)
		if err != nil {
			c.t.Fatal(err)
		}
		return sig
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			digest = crypto.SHA384.New()
			digest.Write([]byte(input))
			sum = digest.Sum(nil)
		}
		r, s, err := ecdsa.Sign(rand.Reader, k, sum)
		if err != nil {
			c.t.Fatal(err)
		}
		n := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	}
	c.t.Fatal("key")
	return nil
}

// jws is the flattened form.
func (c *client) jws(header map[string]any, payload string) map[string]any {
	c.t.Helper()
	protected, err := json.Marshal(header)
	if err != nil {
		c.t.Fatal(err)
	}
	return map[string]any{
		"protected": b64(protected), "payload": b64([]byte(payload)), "signature": b64(c.sign(string(protected), payload)),
	}
}

// send posts a JWS.
func (c *client) send(path string, jws any) reply {
	c.t.Helper()
	body, err := json.Marshal(jws)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(http.MethodPost, path, "application/jose+json", body)
}

// post posts a payload; nil is POST-as-GET.
func (c *client) post(path string, payload any) reply {
	c.t.Helper()
	text := ""
	if payload != nil {
		data, err := json.Marshal(payload)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(data)
	}
	return c.send(path, c.jws(c.header(path), text))
}

type orderView struct {
	Status, Finalize, Certificate, Profile string
	Expires                                time.Time
	Authorizations                         []string
	Identifiers                            []struct{ Type, Value string }
	Error                                  *struct{ Type, Detail string }
	url                                    string
}

type authzView struct {
	Status     string
	Wildcard   bool
	Identifier struct{ Type, Value string }
	Challenges []struct{ Type, URL, Status, Token string }
}

func identifiers(names ...string) []map[string]string {
	var ids []map[string]string
	for _, name := range names {
		kind := "dns"
		if net.ParseIP(name) != nil {
			kind = "ip"
		}
		ids = append(ids, map[string]string{"type": kind, "value": name})
	}
	return ids
}

// order makes an order.
func (c *client) order(names ...string) orderView {
	c.t.Helper()
	r := c.post("/new-order", map[string]any{"identifiers": identifiers(names...)})
	if r.status != http.StatusCreated {
		c.t.Fatalf("newOrder %v: %d %s", names, r.status, r.body)
	}
	var o orderView
	r.into(c.t, &o)
	o.url = r.header.Get("Location")
	return o
}

func (c *client) getOrder(url string) orderView {
	c.t.Helper()
	var o orderView
	c.post(url, nil).into(c.t, &o)
	o.url = url
	return o
}

func (c *client) authz(url string) authzView {
	c.t.Helper()
	var z authzView
	c.post(url, nil).into(c.t, &z)
	return z
}

func (c *client) keyAuthorization(token string) string {
	sum, err := (&jose.JSONWebKey{Key: c.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		c.t.Fatal(err)
	}
	return token + "." + b64(sum)
}

// prove answers the http-01 challenge of an authorization and waits for the
// outcome.
func (c *client) prove(url string) authzView {
	c.t.Helper()
	z := c.authz(url)
	for _, ch := range z.Challenges {
		if ch.Type == "http-01" && z.Status == "pending" {
			c.w.present(ch.Token, c.keyAuthorization(ch.Token))
			if r := c.post(ch.URL, map[string]any{}); r.status != http.StatusOK {
				c.t.Fatalf("challenge: %d %s", r.status, r.body)
			}
		}
	}
	return c.settled(url)
}

// settled polls until an authorization is no longer pending.
func (c *client) settled(url string) authzView {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		z := c.authz(url)
		if z.Status != "pending" {
			return z
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("authorization stays %s", z.Status)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// ready makes an order whose authorizations are all valid.
func (c *client) ready(names ...string) orderView {
	c.t.Helper()
	for _, name := range names {
		if net.ParseIP(name) == nil {
			c.w.name(name)
		}
	}
	o := c.order(names...)
	for _, url := range o.Authorizations {
		if z := c.prove(url); z.Status != "valid" {
			c.t.Fatalf("authorization is %s", z.Status)
		}
	}
	return c.getOrder(o.url)
}

func csrOf(t testing.TB, key crypto.Signer, names ...string) string {
	t.Helper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return b64(der)
}

func (c *client) finalize(o orderView, key crypto.Signer, names ...string) reply {
	c.t.Helper()
	return c.post(o.Finalize, map[string]any{"csr": csrOf(c.t, key, names...)})
}

// issue has a certificate issued.
func (c *client) issue(names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key := newKey(c.t)
	o := c.ready(names...)
	r := c.finalize(o, key, names...)
	if r.status != http.StatusOK {
		c.t.Fatalf("finalize: %d %s", r.status, r.body)
	}
	r.into(c.t, &o)
	r = c.post(o.Certificate, nil)
	block, _ := pem.Decode(r.body)
	if block == nil {
		c.t.Fatalf("certificate: %d %s", r.status, r.body)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, key
}
