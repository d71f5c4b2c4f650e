package oidc_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// TestWhatATokenIsFor: a token for login is not that of a workload, a workload's is
// not one for login, and an access token is none for login.
func TestWhatATokenIsFor(t *testing.T) {
	w := newWorld(t, func(i *oidc.Issuer) { i.Login.ClientID = "cli" })
	for _, test := range []struct {
		name   string
		claims map[string]any
		want   string // roles, or the reason of a refusal
	}{
		{"a workload's", map[string]any{}, "[requester]"},
		{"for login", map[string]any{"aud": "cli"}, "[login]"},
		{"for login, in a list", map[string]any{"aud": []string{"cli"}, "azp": "cli", "typ": "ID"}, "[login]"},
		{"for login, beside a workload's audience", map[string]any{"aud": []string{"cli", oidctest.Audience}, "azp": "cli"}, "[login]"},
		{"for both, to nobody", map[string]any{"aud": []string{"cli", oidctest.Audience}}, "[requester]"},
		{"for another client too", map[string]any{"aud": []string{"cli", "other"}}, "TOKEN_AUDIENCE"},
		{"to another client", map[string]any{"aud": "cli", "azp": "other"}, "TOKEN_AUDIENCE"},
		{"an odd party", map[string]any{"aud": "cli", "azp": 1}, "TOKEN_AUDIENCE"},
		{"of the client, for another", map[string]any{"aud": "other", "azp": "cli"}, "TOKEN_AUDIENCE"},
		{"a bearer token of Keycloak", map[string]any{"aud": "cli", "typ": "Bearer"}, "TOKEN_AUDIENCE"},
		{"without iat", map[string]any{"aud": "cli", "iat": nil}, "TOKEN_MALFORMED"},
		{"old", map[string]any{"aud": "cli", "iat": time.Now().Add(-11 * time.Minute).Unix()}, "TOKEN_OLD"},
		{"expired", map[string]any{"aud": "cli", "exp": time.Now().Add(-time.Minute).Unix()}, "TOKEN_EXPIRED"},
		{"old, beside a workload's audience", map[string]any{"aud": []string{"cli", oidctest.Audience}, "azp": "cli", "iat": time.Now().Add(-11 * time.Minute).Unix()}, "TOKEN_OLD"},
		{"old, a workload's", map[string]any{"iat": time.Now().Add(-11 * time.Minute).Unix()}, "[requester]"},
	} {
		p, err := w.ask(w.provider.Token("s", test.claims))
		if got := fmt.Sprint(p.Roles); err == nil && got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if err != nil {
			w.refused(test.name, w.provider.Token("s", test.claims), test.want)
		}
	}
	key, kid, alg := w.provider.Key()
	access := oidctest.SignWith(t, key, alg, map[string]any{"kid": kid, "typ": "at+jwt"}, w.provider.Claims("s", map[string]any{"aud": "cli"}))
	w.refused("an access token", access, "TOKEN_AUDIENCE")

	// What was proven is not believed for longer than a new proof would be.
	token := w.provider.Token("s", map[string]any{"aud": "cli", "exp": time.Now().Add(time.Hour).Unix()})
	p, err := w.ask(token)
	if err != nil || w.oidc.Still(p) != nil {
		t.Fatal(err)
	}
	w.forward(11 * time.Minute)
	w.refused("kept", token, "TOKEN_OLD")
	p.Claims = map[string]any{"iss": "https://other.example"}
	if w.oidc.Still(p) == nil {
		t.Error("a provider that is not configured")
	}
	if newWorld(t).oidc.Still(identity.Principal{Claims: map[string]any{"iss": w.provider.URL}}) == nil {
		t.Error("another's provider")
	}
}

// TestClientThatIsAnAudience: its tokens are for both, and open no session once they
// are old.
func TestClientThatIsAnAudience(t *testing.T) {
	w := newWorld(t, func(i *oidc.Issuer) { i.Login.ClientID = oidctest.Audience })
	token := w.provider.Token("s", map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	for range 2 { // proven, and kept
		if p, err := w.ask(token); err != nil || fmt.Sprint(p.Roles) != "[requester login]" {
			t.Errorf("%v %v", p.Roles, err)
		}
	}
	w.forward(11 * time.Minute)
	if p, err := w.ask(token); err != nil || fmt.Sprint(p.Roles) != "[requester]" {
		t.Errorf("kept: %v %v", p.Roles, err)
	}
}

// TestStillTheSameProvider: a session is over once its provider is configured otherwise.
func TestStillTheSameProvider(t *testing.T) {
	provider := oidctest.New(t)
	good := oidc.Issuer{
		URL: provider.URL, TLS: provider.TLS(), Audiences: []string{"a"}, Algorithms: []string{"ES256", "RS256"}, Login: oidc.Login{ClientID: "cli"},
	}
	client, err := egress.New(egress.Config{Ports: []int{provider.Port()}, MaxBytes: oidc.MaxBytes, MaxRedirects: -1, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	with := func(issuers ...oidc.Issuer) *oidc.Authenticator {
		a, err := oidc.New(oidc.Config{Issuers: issuers, Egress: client})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	p, err := with(good).Authenticate(t.Context(), auth.Credentials{Authorization: "Bearer " + provider.Token("s", map[string]any{"aud": "cli"})})
	if err != nil {
		t.Fatal(err)
	}
	other := oidc.Issuer{URL: "https://other.internal", JWKSFile: "f", Login: oidc.Login{ClientID: "cli"}}
	for _, test := range []struct {
		name   string
		change func(*oidc.Issuer)
		says   string // empty: the session goes on
	}{
		{"nothing", func(*oidc.Issuer) {}, ""},
		{"another order", func(i *oidc.Issuer) { i.Algorithms = []string{"RS256", "ES256"} }, ""},
		{"scopes, audiences, leeway", func(i *oidc.Issuer) {
			i.Login.Scopes, i.Audiences, i.Leeway = []string{"groups"}, []string{"b"}, time.Minute
		}, ""},
		{"the client", func(i *oidc.Issuer) { i.Login.ClientID = "cli2" }, "has changed"},
		{"the keys' address", func(i *oidc.Issuer) { i.JWKSURL = i.URL + "/k" }, "has changed"},
		{"the keys' file", func(i *oidc.Issuer) { i.JWKSFile = "f" }, "has changed"},
		{"who vouches for the keys", func(i *oidc.Issuer) { i.TLSRoots = []*x509.Certificate{{Raw: []byte("other")}} }, "has changed"},
		{"the algorithms", func(i *oidc.Issuer) { i.Algorithms = []string{"ES256"} }, "has changed"},
		{"no login", func(i *oidc.Issuer) { i.Login = oidc.Login{} }, "no longer"},
		{"removed", func(i *oidc.Issuer) { *i = other }, "no longer"},
	} {
		changed := good
		test.change(&changed)
		err := with(changed).Still(p)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || problem.KindOf(err) != problem.Unauthenticated) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
	p.Basis = [32]byte{}
	if with(good).Still(p) == nil {
		t.Error("a session that does not know by what it was opened goes on")
	}
}

func TestLoginIsChecked(t *testing.T) {
	good := oidc.Issuer{URL: "https://idp.internal", JWKSFile: "f", Login: oidc.Login{ClientID: "cli", Scopes: []string{"openid", "groups"}}}
	if _, err := oidc.New(oidc.Config{Issuers: []oidc.Issuer{good}}); err != nil {
		t.Error(err)
	}
	for name, login := range map[string]oidc.Login{
		"no client":       {Scopes: []string{"openid"}},
		"a space":         {ClientID: "a b"},
		"a long one":      {ClientID: strings.Repeat("x", 257)},
		"an empty scope":  {ClientID: "cli", Scopes: []string{""}},
		"two in one":      {ClientID: "cli", Scopes: []string{"openid email"}},
		"a quote":         {ClientID: "cli", Scopes: []string{`a"b`}},
		"too many scopes": {ClientID: "cli", Scopes: strings.Fields(strings.Repeat("x ", 21))},
	} {
		i := good
		i.Login = login
		if _, err := oidc.New(oidc.Config{Issuers: []oidc.Issuer{i}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestLoginOnce: a token is known again, also with its signature written otherwise.
func TestLoginOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	if err := bolt.Create(path); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(t.Context(), bolt.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p := identity.Principal{Claims: map[string]any{"exp": time.Now().Add(time.Hour).Unix()}}
	first, err := oidc.LoginOnce(p, "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	again, err := oidc.LoginOnce(p, "a.b.d")
	if err != nil || first.ID != again.ID || !first.Expires.After(time.Now().Add(time.Hour)) {
		t.Errorf("%+v %+v %v", first, again, err)
	}
	if other, err := oidc.LoginOnce(p, "a.x.c"); err != nil || other.ID == first.ID {
		t.Errorf("%+v %v", other, err)
	}
	commit := func(c storage.PutRecord) error {
		_, err := store.Commit(context.WithoutCancel(t.Context()), storage.Unit{c})
		return err
	}
	if commit(first) != nil || commit(again) == nil {
		t.Error("used twice")
	}
}

// FuzzReadClaims: what is stored is read as it was proven.
func FuzzReadClaims(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[1.5,"x",true,null],"c":{"d":"e"}}`, `{"a/b":1,"a":{"b":2}}`, `[]`, `{"n":12345678901234567890}`, `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		claims, err := oidc.ReadClaims(data)
		if err != nil {
			return
		}
		for name, value := range claims {
			if _, nested := value.(map[string]any); nested {
				t.Errorf("%q is nested", name)
			}
		}
	})
}
