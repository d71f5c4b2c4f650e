package oidc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth/oidc"
)

// TestFile: with a file nothing is fetched, and a new file is read.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jwks.json")
	w := newWorld(t, func(i *oidc.Issuer) { i.JWKSFile = file })
	w.refused("no file", w.provider.Token("s", nil), "TOKEN_KEYS_UNAVAILABLE")
	write := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		w.forward(16 * time.Second)
	}
	write(w.provider.JWKS())
	if _, err := w.ask(w.provider.Token("s", nil)); err != nil {
		t.Error(err)
	}
	w.provider.Rotate(false)
	w.refused("a new key", w.provider.Token("s", nil), "TOKEN_KEY")
	write(w.provider.JWKS())
	if _, err := w.ask(w.provider.Token("s", nil)); err != nil {
		t.Error(err)
	}
	w.provider.Rotate(false)
	write([]byte(`{"keys":[` + strings.Repeat(" ", oidc.MaxBytes) + `]}`))
	w.refused("a huge file", w.provider.Token("s", nil), "TOKEN_KEY")
	if n := w.provider.Fetches.Load(); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestIssuersAreChecked(t *testing.T) {
	for name, i := range map[string]oidc.Issuer{
		"no URL":         {Audiences: []string{"a"}},
		"http":           {URL: "http://idp.internal", Audiences: []string{"a"}},
		"a query":        {URL: "https://idp.internal?x=1", Audiences: []string{"a"}},
		"a fragment":     {URL: "https://idp.internal#x", Audiences: []string{"a"}},
		"credentials":    {URL: "https://u@idp.internal", Audiences: []string{"a"}},
		"no audience":    {URL: "https://idp.internal"},
		"empty audience": {URL: "https://idp.internal", Audiences: []string{""}},
		"alg none":       {URL: "https://idp.internal", Audiences: []string{"a"}, Algorithms: []string{"none"}},
		"symmetric":      {URL: "https://idp.internal", Audiences: []string{"a"}, Algorithms: []string{"HS256"}},
		"leeway":         {URL: "https://idp.internal", Audiences: []string{"a"}, Leeway: 6 * time.Minute},
		"lifetime":       {URL: "https://idp.internal", Audiences: []string{"a"}, MaxLifetime: 1000 * time.Hour},
		"two sources":    {URL: "https://idp.internal", Audiences: []string{"a"}, JWKSFile: "a", JWKSURL: "https://idp.internal/keys"},
		"keys over http": {URL: "https://idp.internal", Audiences: []string{"a"}, JWKSURL: "http://idp.internal/keys"},
	} {
		i.JWKSFile = strings.TrimSpace(i.JWKSFile)
		if _, err := oidc.New(oidc.Config{Issuers: []oidc.Issuer{i}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	good := oidc.Issuer{URL: "https://idp.internal", Audiences: []string{"a"}, JWKSFile: "f"}
	if _, err := oidc.New(oidc.Config{Issuers: []oidc.Issuer{good, good}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
}
