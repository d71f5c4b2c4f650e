package login

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/auth/oidc/oidctest"
)

// roundTripper answers without a network, so that a test's clock can stand in for
// the time.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// deviceLogin logs in at a provider whose person answers after a while.
func deviceLogin(t *testing.T, p *oidctest.Provider, transport http.RoundTripper, after time.Duration) (string, time.Duration, error) {
	t.Helper()
	began := time.Now()
	c := Config{Issuer: p.URL, ClientID: oidctest.Client, Scopes: []string{"openid"}, Transport: transport}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	token, err := Device(ctx, c, func(prompt Prompt) {
		if prompt.URL != p.URL+"/activate" || prompt.Complete != prompt.URL+"?code="+prompt.Code || prompt.Expires.Sub(began) != 10*time.Minute {
			t.Errorf("%+v", prompt)
		}
		time.AfterFunc(after, func() { p.Answer(prompt.Code) })
	})
	return token, time.Since(began), err
}

func TestDevice(t *testing.T) {
	p := oidctest.New(t)
	direct := roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		return w.Result(), nil
	})
	for name, test := range map[string]struct {
		user     map[string]any
		interval int64
		after    time.Duration
		took     time.Duration
		says     string
	}{
		"at once":            {map[string]any{"sub": "jane"}, 0, 0, 5 * time.Second, ""},
		"after a while":      {map[string]any{"sub": "jane"}, 2, 7 * time.Second, 8 * time.Second, ""},
		"said no":            {nil, 2, time.Second, 2 * time.Second, "access_denied"},
		"never":              {map[string]any{"sub": "jane"}, 60, time.Hour, 10 * time.Minute, "nobody has logged in"},
		"the wrong client's": {map[string]any{"sub": "jane", "aud": "other"}, 1, 0, time.Second, "another client"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p.LogInAs(test.user)
				p.Interval(test.interval)
				token, took, err := deviceLogin(t, p, direct, test.after)
				if test.says == "" && (err != nil || token == "") || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) || took != test.took {
					t.Errorf("%q %v after %s, want %s", token, err, took, test.took)
				}
			})
		})
	}
}

// TestDeviceSlowsDown: a provider that says so is asked 5 seconds less often, and one
// that is away half as often.
func TestDeviceSlowsDown(t *testing.T) {
	p := oidctest.New(t)
	for name, test := range map[string]struct {
		answers string // to the questions for the token, one after the other
		took    time.Duration
	}{
		"slow down":   {"slow slow", (1 + 6 + 11) * time.Second},
		"away":        {"away 502 away", (1 + 2 + 4 + 8) * time.Second},
		"both":        {"away slow away", (1 + 2 + 7 + 14) * time.Second},
		"a long time": {"away away away away away away away", (1 + 2 + 4 + 8 + 16 + 32 + 60 + 60) * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p.LogInAs(map[string]any{"sub": "jane"})
				p.Interval(1)
				answers := strings.Fields(test.answers)
				transport := roundTripper(func(r *http.Request) (*http.Response, error) {
					w := httptest.NewRecorder()
					if r.URL.Path != "/token" || len(answers) == 0 {
						p.Handler().ServeHTTP(w, r)
						return w.Result(), nil
					}
					next := answers[0]
					answers = answers[1:]
					switch next {
					case "away":
						return nil, http.ErrServerClosed
					case "502":
						w.WriteHeader(http.StatusBadGateway)
					case "slow":
						w.WriteHeader(http.StatusBadRequest)
						_, _ = w.WriteString(`{"error":"slow_down"}`)
					}
					return w.Result(), nil
				})
				began := time.Now()
				c := Config{Issuer: p.URL, ClientID: oidctest.Client, Scopes: []string{"openid"}, Transport: transport}
				token, err := Device(t.Context(), c, func(prompt Prompt) { p.Answer(prompt.Code) })
				if took := time.Since(began); err != nil || token == "" || took != test.took {
					t.Errorf("%v after %s, want %s", err, took, test.took)
				}
			})
		})
	}
}
