package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/certwright/certwright/auth/oidc/oidctest"
)

// idp is a provider and the configuration to log in at it.
func idp(t *testing.T) (*oidctest.Provider, Config) {
	t.Helper()
	p := oidctest.New(t)
	p.LogInAs(map[string]any{"sub": "jane"})
	transport := &http.Transport{TLSClientConfig: p.TLS()}
	t.Cleanup(transport.CloseIdleConnections)
	return p, Config{Issuer: p.URL, ClientID: oidctest.Client, Scopes: []string{"openid", "groups"}, Transport: transport}
}

// browser opens what it is shown, and follows the provider's redirect unless it is
// told to look at it first.
type browser struct {
	t         *testing.T
	transport http.RoundTripper
	first     func(callback *url.URL) // before the redirect is followed
	seen      *url.URL
	body      string
	done      chan struct{}
}

func (b *browser) open(page string) {
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		client := &http.Client{Transport: b.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get(page)
		if err != nil {
			b.t.Error(err)
			return
		}
		_ = answer.Body.Close()
		if b.seen, err = answer.Location(); err != nil {
			b.t.Errorf("status %d: %v", answer.StatusCode, err)
			return
		}
		if b.first != nil {
			b.first(b.seen)
		}
		_, b.body = b.get(b.seen.String(), "")
	}()
}

// get is the status and body; 0: nobody listens.
func (b *browser) get(address, host string) (int, string) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Error(err)
		return 0, ""
	}
	request.Host = host
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Content-Security-Policy") == "" {
		b.t.Errorf("%v", answer.Header)
	}
	return answer.StatusCode, string(body)
}

func TestCode(t *testing.T) {
	_, c := idp(t)
	b := &browser{t: t, transport: c.Transport}
	token, err := Code(t.Context(), c, b.open)
	if err != nil {
		t.Fatal(err)
	}
	<-b.done
	if checkToken(token, c.Issuer, c.ClientID, "") != nil || !strings.Contains(b.body, "You may close this window") {
		t.Errorf("%q", b.body)
	}
	// The listener is gone with the login.
	if status, _ := b.get(b.seen.String(), ""); status != 0 {
		t.Errorf("it still listens: %d", status)
	}
}

// TestStrangersAtTheListener: what does not belong to the login is refused, changes
// nothing, and the login still succeeds.
func TestStrangersAtTheListener(t *testing.T) {
	_, c := idp(t)
	b := &browser{t: t, transport: c.Transport}
	b.first = func(callback *url.URL) {
		with := func(change func(q url.Values)) string {
			u := *callback
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			return u.String()
		}
		elsewhere := *callback
		elsewhere.Path = "/callback/"
		for name, test := range map[string]struct {
			address, host string
			want          int
		}{
			"another state":           {with(func(q url.Values) { q.Set("state", "x") }), "", 400},
			"no state":                {with(func(q url.Values) { q.Del("state") }), "", 400},
			"two states":              {with(func(q url.Values) { q.Add("state", q.Get("state")) }), "", 400},
			"an error of another":     {with(func(q url.Values) { q.Set("state", "x"); q.Set("error", "access_denied") }), "", 400},
			"a huge query":            {with(func(q url.Values) { q.Set("x", strings.Repeat("x", 20<<10)) }), "", 400},
			"another path":            {elsewhere.String(), "", 404},
			"a name that leads here":  {callback.String(), "evil.example:" + callback.Port(), 421},
			"localhost":               {callback.String(), "localhost:" + callback.Port(), 421},
			"its address, no port":    {callback.String(), "127.0.0.1", 421},
			"the root, for a favicon": {"http://" + callback.Host + "/favicon.ico", "", 404},
		} {
			if status, body := b.get(test.address, test.host); status != test.want || strings.Contains(body, callback.Query().Get("code")) {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
		answer, err := http.Post(callback.String(), "text/plain", strings.NewReader(""))
		if err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: %v %v", answer, err)
			return
		}
		_ = answer.Body.Close()
	}
	if _, err := Code(t.Context(), c, b.open); err != nil {
		t.Error(err)
	}
	<-b.done
}

// TestAnswersOfProviders: an answer with the login's state ends it, well or not; a
// second one comes too late.
func TestAnswersOfProviders(t *testing.T) {
	w := newWaiter("127.0.0.1:1", "s", "https://idp.x", true)
	for raw, want := range map[string]string{
		"state=s&code=c&iss=https://idp.x":                                      "",
		"state=s&code=c":                                                        "another identity provider",
		"state=s&code=c&iss=https://evil.x":                                     "another identity provider",
		"state=s&code=c&code=d&iss=https://idp.x":                               "code twice",
		"state=s&iss=https://idp.x":                                             "no code",
		"state=s&error=access_denied&error_description=a%0Ab&iss=https://idp.x": "access_denied (a b)",
		"state=t&code=c&iss=https://idp.x":                                      "not the answer",
		"state=s;code=c":                                                        "not the answer",
		"%":                                                                     "not the answer",
	} {
		code, err := w.parse(raw)
		if want == "" && (err != nil || code != "c") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q %v", raw, code, err)
		}
	}
	if w := newWaiter("h", "s", "https://idp.x", false); func() error { _, err := w.parse("state=s&code=c"); return err }() != nil {
		t.Error("a provider that does not name itself")
	}
	_, c := idp(t)
	b := &browser{t: t, transport: c.Transport}
	b.first = func(callback *url.URL) {
		u := *callback
		q := u.Query()
		q.Set("code", "wrong")
		u.RawQuery = q.Encode()
		if status, _ := b.get(u.String(), ""); status != 200 { // whoever knows the state is believed, and the provider refuses the code
			t.Errorf("the first: %d", status)
		}
		if status, _ := b.get(callback.String(), ""); status != http.StatusGone && status != 0 {
			t.Errorf("the second: %d", status)
		}
	}
	_, err := Code(t.Context(), c, b.open)
	var no *Refused
	if !errors.As(err, &no) || no.Code != "invalid_grant" {
		t.Error(err)
	}
	<-b.done
}

func TestCodeFails(t *testing.T) {
	p, c := idp(t)
	b := &browser{t: t, transport: c.Transport}
	p.LogInAs(nil)
	_, err := Code(t.Context(), c, b.open)
	if err == nil || err.Error() != "the identity provider refuses: access_denied (the person said no)" {
		t.Error(err)
	}
	<-b.done
	p.LogInAs(map[string]any{"sub": "jane", "nonce": "replayed"})
	if _, err = Code(t.Context(), c, b.open); err == nil || !strings.Contains(err.Error(), "(nonce)") {
		t.Error(err)
	}
	<-b.done
	p.LogInAs(map[string]any{"sub": "jane", "aud": "other"})
	if _, err = Code(t.Context(), c, b.open); err == nil || !strings.Contains(err.Error(), "another client") {
		t.Error(err)
	}
	<-b.done
	p.LogInAs(map[string]any{"sub": "jane", "x": strings.Repeat("x", 9<<10)})
	if _, err = Code(t.Context(), c, b.open); err == nil || !strings.Contains(err.Error(), "fewer claims") {
		t.Error(err)
	}
	<-b.done
	ctx, cancel := context.WithCancel(t.Context())
	if _, err = Code(ctx, c, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestDiscoveryIsChecked: what a provider, or who stands in its place, may not say.
func TestDiscoveryIsChecked(t *testing.T) {
	p, c := idp(t)
	for name, document := range map[string]string{
		"not JSON":       "<html>",
		"another issuer": `{"issuer":"https://evil.x","token_endpoint":"https://evil.x/t"}`,
		"plain http":     `{"issuer":"` + p.URL + `","token_endpoint":"http://127.0.0.1/t"}`,
		"no token":       `{"issuer":"` + p.URL + `"}`,
		"plain only":     `{"issuer":"` + p.URL + `","token_endpoint":"https://x/t","code_challenge_methods_supported":["plain"]}`,
		"a script":       `{"issuer":"` + p.URL + `","token_endpoint":"https://x/t","authorization_endpoint":"javascript:alert(1)"}`,
		"a huge one":     `{"issuer":"` + p.URL + `","x":"` + strings.Repeat("x", maxAnswer) + `"}`,
	} {
		p.ServeDocument(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, document) })
		if _, err := c.discover(t.Context()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	p.ServeDocument(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://evil.x/", http.StatusFound) })
	if _, err := c.discover(t.Context()); err == nil || !strings.Contains(err.Error(), "status 302") {
		t.Error(err)
	}
	c.Issuer = "http://127.0.0.1:1"
	if _, err := c.discover(t.Context()); err == nil || !strings.Contains(err.Error(), "not an https URL") {
		t.Error(err)
	}
	c.Issuer = "https://127.0.0.1:1"
	if _, err := c.discover(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Error(err)
	}
}
