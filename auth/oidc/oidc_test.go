package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// world is an authenticator that believes a provider, with a clock of its own.
type world struct {
	t        *testing.T
	provider *oidctest.Provider
	oidc     *oidc.Authenticator
	skew     atomic.Int64 // nanoseconds that its clock is ahead
}

func newWorld(t *testing.T, change ...func(*oidc.Issuer)) *world {
	t.Helper()
	w := &world{t: t, provider: oidctest.New(t)}
	client, err := egress.New(egress.Config{Ports: []int{w.provider.Port()}, MaxBytes: oidc.MaxBytes, MaxRedirects: -1, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	issuer := oidc.Issuer{URL: w.provider.URL, Audiences: []string{oidctest.Audience}, TLS: w.provider.TLS()}
	for _, c := range change {
		c(&issuer)
	}
	w.oidc, err = oidc.New(oidc.Config{Issuers: []oidc.Issuer{issuer}, Egress: client, Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) forward(d time.Duration) { w.skew.Add(int64(d)) }

func (w *world) ask(token string) (identity.Principal, error) {
	return w.oidc.Authenticate(w.t.Context(), auth.Credentials{Authorization: "Bearer " + token})
}

// refused expects a refusal for a reason.
func (w *world) refused(name, token, reason string) {
	w.t.Helper()
	_, err := w.ask(token)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code() != reason || p.Help == "" {
		w.t.Errorf("%s: %v, want %s", name, err, reason)
	}
}

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	p, err := w.ask(w.provider.Token("repo:octo/app", map[string]any{
		"aud": []string{"other", oidctest.Audience}, "project": 42, "huge": 12345678901234567, "ok": true, "groups": []string{"a", "b"},
		"kubernetes.io": map[string]any{"namespace": "web", "serviceaccount": map[string]any{"name": "api"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if p.Method != identity.OIDC || p.ID != w.provider.URL+"#repo:octo/app" || !p.Has(identity.RoleRequester) || len(p.Roles) != 1 || p.Bound != nil {
		t.Errorf("%+v", p)
	}
	for key, want := range map[string]string{
		"iss": w.provider.URL, "project": "42", "huge": "12345678901234567", "ok": "true", "groups": "[a b]",
		"kubernetes.io/namespace": "web", "kubernetes.io/serviceaccount/name": "api",
	} {
		if got := fmt.Sprint(p.Claims[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	again, err := w.ask(w.provider.Token("repo:octo/app", nil))
	if err != nil || again.Evidence == p.Evidence || again.String() != p.String() {
		t.Errorf("%v %v", again, err)
	}
	if n := w.provider.Fetches.Load(); n != 1 {
		t.Errorf("%d fetches of the keys for two tokens", n)
	}
}

// TestIDs: what would stand in the ledger for ever is neither an address nor long,
// and no two subjects share it.
func TestIDs(t *testing.T) {
	w := newWorld(t)
	seen := map[string]string{}
	for _, subject := range []string{"a", "b", "jane@example.com", "jane doe", "sha256:" + strings.Repeat("0", 64), strings.Repeat("x", 900), strings.Repeat("x", 901), "ä"} {
		p, err := w.ask(w.provider.Token(subject, nil))
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[p.ID]; other != "" {
			t.Errorf("%q and %q share %q", subject, other, p.ID)
		}
		seen[p.ID] = subject
		if len(p.String()) > 255 || strings.ContainsAny(p.ID, "@ ") {
			t.Errorf("%.40q: %q", subject, p.ID)
		}
	}
}

func TestNotMine(t *testing.T) {
	w := newWorld(t)
	for _, header := range []string{"", "Basic eyJ.a.b", "Bearer cwt_abc", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0", "Bearer eyJ.a.b.c.d"} {
		if _, err := w.oidc.Authenticate(t.Context(), auth.Credentials{Authorization: header}); !errors.Is(err, auth.ErrNotMine) {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestClaimsAreRequired(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	for _, test := range []struct {
		name   string
		change map[string]any
		reason string
	}{
		{"another audience", map[string]any{"aud": "other"}, "TOKEN_AUDIENCE"},
		{"no audience in the list", map[string]any{"aud": []string{"a", "b"}}, "TOKEN_AUDIENCE"},
		{"a prefix of the audience", map[string]any{"aud": "certwrigh"}, "TOKEN_AUDIENCE"},
		{"no audience", map[string]any{"aud": nil}, "TOKEN_MALFORMED"},
		{"an audience of numbers", map[string]any{"aud": []any{1}}, "TOKEN_MALFORMED"},
		{"another issuer", map[string]any{"iss": "https://evil.example"}, "TOKEN_ISSUER"},
		{"the issuer with a slash", map[string]any{"iss": w.provider.URL + "/"}, "TOKEN_ISSUER"},
		{"no issuer", map[string]any{"iss": nil}, "TOKEN_MALFORMED"},
		{"an issuer list", map[string]any{"iss": []string{w.provider.URL}}, "TOKEN_MALFORMED"},
		{"expired", map[string]any{"exp": now.Add(-time.Minute).Unix()}, "TOKEN_EXPIRED"},
		{"no exp", map[string]any{"exp": nil}, "TOKEN_MALFORMED"},
		{"exp as text", map[string]any{"exp": "9999999999"}, "TOKEN_MALFORMED"},
		{"exp in milliseconds", map[string]any{"exp": now.Add(time.Minute).UnixMilli()}, "TOKEN_MALFORMED"},
		{"exp beyond time", map[string]any{"exp": 1e300}, "TOKEN_MALFORMED"},
		{"negative exp", map[string]any{"exp": -5}, "TOKEN_MALFORMED"},
		{"too long", map[string]any{"exp": now.Add(25 * time.Hour).Unix()}, "TOKEN_LIFETIME"},
		{"not yet", map[string]any{"nbf": now.Add(time.Minute).Unix()}, "TOKEN_NOT_YET_VALID"},
		{"nbf as text", map[string]any{"nbf": "now"}, "TOKEN_MALFORMED"},
		{"from the future", map[string]any{"iat": now.Add(time.Minute).Unix()}, "TOKEN_NOT_YET_VALID"},
		{"no subject", map[string]any{"sub": ""}, "TOKEN_MALFORMED"},
		{"a number for a subject", map[string]any{"sub": 7}, "TOKEN_MALFORMED"},
		{"two claims of one name", map[string]any{"a/b": 1, "a": map[string]any{"b": 2}}, "TOKEN_MALFORMED"},
	} {
		claims := w.provider.Claims("s", test.change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		w.refused(test.name, w.provider.Sign(claims), test.reason)
	}
	// Within the leeway, clocks may differ.
	for name, change := range map[string]map[string]any{
		"just expired": {"exp": now.Add(-10 * time.Second).Unix()}, "a little early": {"nbf": now.Add(10 * time.Second).Unix(), "iat": now.Add(10 * time.Second).Unix()},
		"a fraction": {"exp": float64(now.Add(time.Minute).Unix()) + .5},
	} {
		if _, err := w.ask(w.provider.Token("s", change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.forward(6 * time.Minute)
	w.refused("a clock that went on", w.provider.Token("s", nil), "TOKEN_EXPIRED")
}

func TestSignatures(t *testing.T) {
	w := newWorld(t)
	key, kid, _ := w.provider.Key()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := w.provider.Token("s", nil)
	claims := w.provider.Claims("s", nil)
	raw := func(header string) string {
		_, rest, _ := strings.Cut(good, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest
	}
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	other := w.provider.Token("admin", nil)
	_, otherRest, _ := strings.Cut(other, ".")
	otherBody, _, _ := strings.Cut(otherRest, ".")
	for _, test := range []struct{ name, token, reason string }{
		{"HS256 by the public key's PEM", oidctest.SignWith(t, asPEM, jose.HS256, map[string]any{"kid": kid}, claims), "TOKEN_ALGORITHM"},
		{"HS256 by the public key's DER", oidctest.SignWith(t, public, jose.HS256, map[string]any{"kid": kid}, claims), "TOKEN_ALGORITHM"},
		{"alg none", raw(`{"alg":"none"}`), "TOKEN_ALGORITHM"},
		{"alg none without a signature", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + ".", "TOKEN_MALFORMED"},
		{"alg NONE", raw(`{"alg":"NONE"}`), "TOKEN_ALGORITHM"},
		{"an algorithm that is not listed", raw(`{"alg":"RS512","kid":"` + kid + `"}`), "TOKEN_ALGORITHM"},
		{"an algorithm of another type of key", raw(`{"alg":"RS256","kid":"` + kid + `"}`), "TOKEN_KEY"},
		{"no algorithm", raw(`{"kid":"` + kid + `"}`), "TOKEN_MALFORMED"},
		{"two algorithms", raw(`{"alg":"none","alg":"ES256","kid":"` + kid + `"}`), "TOKEN_MALFORMED"},
		{"a stranger's key under the kid", oidctest.SignWith(t, stranger, jose.ES256, map[string]any{"kid": kid}, claims), "TOKEN_SIGNATURE"},
		{"a stranger's key without a kid", oidctest.SignWith(t, stranger, jose.ES256, nil, claims), "TOKEN_SIGNATURE"},
		{"a kid that is a path", oidctest.SignWith(t, key, jose.ES256, map[string]any{"kid": "../../" + kid}, claims), "TOKEN_KEY"},
		{"a kid that is a query", oidctest.SignWith(t, key, jose.ES256, map[string]any{"kid": "' OR 1=1 --"}, claims), "TOKEN_KEY"},
		{"a long kid", oidctest.SignWith(t, key, jose.ES256, map[string]any{"kid": strings.Repeat("k", 300)}, claims), "TOKEN_MALFORMED"},
		{"a kid that is an object", raw(`{"alg":"ES256","kid":{"a":1}}`), "TOKEN_MALFORMED"},
		{"crit", raw(`{"alg":"ES256","crit":["exp"],"exp":1,"kid":"` + kid + `"}`), "TOKEN_MALFORMED"},
		{"an unencoded payload", raw(`{"alg":"ES256","b64":false,"kid":"` + kid + `"}`), "TOKEN_MALFORMED"},
		{"made for logging out", oidctest.SignWith(t, key, jose.ES256, map[string]any{"kid": kid, "typ": "logout+jwt"}, claims), "TOKEN_MALFORMED"},
		{"another's claims", head + "." + otherBody + "." + signature, "TOKEN_SIGNATURE"},
		{"padding", head + "." + body + "." + signature + "=", "TOKEN_MALFORMED"},
		{"no signature", head + "." + body + ".", "TOKEN_MALFORMED"},
	} {
		w.refused(test.name, test.token, test.reason)
	}
	if _, err := w.ask(good); err != nil {
		t.Error(err)
	}
	if _, err := w.ask(oidctest.SignWith(t, key, jose.ES256, nil, claims)); err != nil {
		t.Errorf("the only key needs no kid: %v", err)
	}
}

// TestHeaderKeysAreNeverLookedAt: neither an address nor a key in the header counts.
func TestHeaderKeysAreNeverLookedAt(t *testing.T) {
	w := newWorld(t)
	canary := egresstest.Canary(t, "127.0.0.1:0")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, kid, _ := w.provider.Key()
	for _, scheme := range []string{"http", "https"} {
		at := fmt.Sprintf("%s://%s/keys", scheme, canary)
		header := map[string]any{"kid": kid, "jku": at, "x5u": at, "jwk": jose.JSONWebKey{Key: stranger.Public(), KeyID: kid}}
		w.refused(scheme, oidctest.SignWith(t, stranger, jose.ES256, header, w.provider.Claims("s", nil)), "TOKEN_SIGNATURE")
		header["kid"] = "strange"
		w.refused(scheme, oidctest.SignWith(t, stranger, jose.ES256, header, w.provider.Claims("s", nil)), "TOKEN_KEY")
	}
}

func TestHugeTokens(t *testing.T) {
	w := newWorld(t)
	if _, err := w.ask(w.provider.Token("s", map[string]any{"x": strings.Repeat("x", 9000)})); !errors.Is(err, auth.ErrNotMine) {
		t.Errorf("a token beyond what a header may carry: %v", err)
	}
	w.refused("many claims", w.provider.Token("s", map[string]any{"x": make([]int, 300)}), "TOKEN_MALFORMED")
	w.refused("deep claims", w.provider.Sign(w.provider.Claims("s", map[string]any{"x": [][][][][][][][][]int{{{{{{{{{1}}}}}}}}}})), "TOKEN_MALFORMED")
	long := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","x":"` + strings.Repeat("x", 2000) + `"}`))
	w.refused("a long header", long+".e30.AA", "TOKEN_MALFORMED")
}

func TestRSA(t *testing.T) {
	w := newWorld(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.provider.Use(key, jose.RS256, false)
	if _, err := w.ask(w.provider.Token("s", nil)); err != nil {
		t.Error(err)
	}
	// The key is for RS256: its owner has said so.
	_, kid, _ := w.provider.Key()
	w.refused("PS256 by a key for RS256", oidctest.SignWith(t, key, jose.PS256, map[string]any{"kid": kid}, w.provider.Claims("s", nil)), "TOKEN_KEY")
}

func TestKeysRotate(t *testing.T) {
	w := newWorld(t)
	old := w.provider.Token("s", nil)
	if _, err := w.ask(old); err != nil {
		t.Fatal(err)
	}
	w.provider.Rotate(true)
	w.refused("a new key at once", w.provider.Token("s", nil), "TOKEN_KEY") // fetched a moment ago
	w.forward(16 * time.Second)
	if _, err := w.ask(w.provider.Token("s", nil)); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if _, err := w.ask(old); err != nil {
		t.Errorf("the key before, which is still there: %v", err)
	}
	// Unknown keys have the set fetched once in a while, whoever asks.
	w.forward(16 * time.Second)
	before := w.provider.Fetches.Load()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		w.refused("unknown", oidctest.SignWith(t, stranger, jose.ES256, map[string]any{"kid": fmt.Sprint("k", i)}, w.provider.Claims("s", nil)), "TOKEN_KEY")
	}
	if n := w.provider.Fetches.Load() - before; n != 1 {
		t.Errorf("50 unknown keys had the key set fetched %d times", n)
	}
	// A key that was taken away is forgotten with the next fetch.
	w.provider.Rotate(false)
	w.forward(16 * time.Second)
	if _, err := w.ask(w.provider.Token("s", nil)); err != nil {
		t.Error(err)
	}
	w.refused("a key that was taken away", old, "TOKEN_KEY")
}

// TestRunRefreshes: keys that were taken away are forgotten also if no unknown
// key asks for them.
func TestRunRefreshes(t *testing.T) {
	w := newWorld(t)
	// run runs it until it has read the keys once, and answers what the token gets.
	run := func(token string) error {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		before := w.provider.Fetches.Load()
		go func() { done <- w.oidc.Run(ctx) }()
		for deadline := time.Now().Add(30 * time.Second); w.provider.Fetches.Load() == before && time.Now().Before(deadline); {
			<-time.After(time.Millisecond)
		}
		_, err := w.ask(token) // waits for the fetch that is under way
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return err
	}
	late := map[string]any{"exp": time.Now().Add(time.Hour).Unix()}
	old := w.provider.Token("s", late)
	if err := run(old); err != nil {
		t.Error(err)
	}
	w.provider.Rotate(false)
	w.forward(11 * time.Minute)
	if err := run(w.provider.Token("s", late)); err != nil {
		t.Error(err)
	}
	w.refused("a key that was taken away", old, "TOKEN_KEY")
	if n := w.provider.Fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// TestHostileKeySets: a provider that hangs, redirects, sends too much or nonsense
// makes tokens fail, not the server, and good keys at hand stay.
func TestHostileKeySets(t *testing.T) {
	canary := egresstest.Canary(t, "127.0.0.1:0")
	for name, handler := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+canary.String()+"/", http.StatusFound)
		},
		"is huge": func(w http.ResponseWriter, _ *http.Request) {
			for range 600 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		},
		"is no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"is empty":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"symmetric": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"}]}`))
		},
		"fails": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 500) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provider.ServeKeys(handler)
			w.refused("no keys yet", w.provider.Token("s", nil), "TOKEN_KEYS_UNAVAILABLE")
			w.provider.ServeKeys(nil)
			w.forward(16 * time.Second)
			good := w.provider.Token("s", map[string]any{"exp": time.Now().Add(23 * time.Hour).Unix()})
			if _, err := w.ask(good); err != nil {
				t.Fatal(err)
			}
			w.provider.ServeKeys(handler)
			w.forward(16 * time.Second)
			w.refused("unknown", oidctest.SignWith(t, mustKey(t), jose.ES256, map[string]any{"kid": "x"}, w.provider.Claims("s", nil)), "TOKEN_KEY")
			if _, err := w.ask(good); err != nil {
				t.Errorf("keys at hand: %v", err)
			}
			w.forward(13 * time.Hour)
			w.refused("keys that nobody has confirmed for long", good, "TOKEN_KEYS_UNAVAILABLE")
		})
	}
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestHostileDiscovery(t *testing.T) {
	for name, body := range map[string]string{
		"another issuer":         `{"issuer":"https://evil.example","jwks_uri":"%s/keys"}`,
		"keys over http":         `{"issuer":"%[1]s","jwks_uri":"http://127.0.0.1/keys"}`,
		"keys in a file":         `{"issuer":"%[1]s","jwks_uri":"file:///etc/passwd"}`,
		"keys at metadata":       `{"issuer":"%[1]s","jwks_uri":"https://169.254.169.254/keys"}`,
		"keys on another port":   `{"issuer":"%[1]s","jwks_uri":"https://127.0.0.1:1/keys"}`,
		"no keys":                `{"issuer":"%[1]s"}`,
		"credentials in the URL": `{"issuer":"%[1]s","jwks_uri":"https://u:p@127.0.0.1/keys"}`,
	} {
		w := newWorld(t)
		w.provider.ServeDocument(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(rw, body, w.provider.URL) })
		w.refused(name, w.provider.Token("s", nil), "TOKEN_KEYS_UNAVAILABLE")
		if n := w.provider.Fetches.Load(); n != 0 {
			t.Errorf("%s: %d fetches of the keys", name, n)
		}
	}
}
