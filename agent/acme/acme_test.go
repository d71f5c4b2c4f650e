package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/source"
	"github.com/certwright/certwright/client"
)

// hostile is an ACME server that asks nobody for a signature and answers what the
// test wants.
type hostile struct {
	t     *testing.T
	ca    *agenttest.CA
	s     *httptest.Server
	odd   map[string]func(w http.ResponseWriter) // by path: in place of the honest answer
	mu    sync.Mutex
	seen  []string
	token string
	csr   *x509.CertificateRequest
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{t: t, ca: agenttest.New(t), odd: map[string]func(http.ResponseWriter){}, token: strings.Repeat("t", 43)}
	h.s = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.s.TLS = &tls.Config{Certificates: []tls.Certificate{*h.ca.Held("localhost").TLS()}}
	h.s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	h.s.StartTLS()
	t.Cleanup(h.s.Close)
	return h
}

// at is a URL of this server, under the name in its certificate.
func (h *hostile) at(path string) string {
	_, port, _ := net.SplitHostPort(h.s.Listener.Addr().String())
	return "https://localhost:" + port + path
}

func (h *hostile) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, r.Method+" "+r.URL.Path)
	w.Header().Set("Replay-Nonce", "nonce")
	if odd := h.odd[r.URL.Path]; odd != nil {
		odd(w)
		return
	}
	say := func(code int, v any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	order := map[string]any{
		"status": "pending", "identifiers": []any{map[string]any{"type": "dns", "value": "web.internal"}},
		"authorizations": []string{h.at("/authz")}, "finalize": h.at("/finalize"), "certificate": h.at("/cert"),
	}
	switch r.URL.Path {
	case "/directory":
		say(200, map[string]any{"newNonce": h.at("/nonce"), "newAccount": h.at("/account"), "newOrder": h.at("/order"), "renewalInfo": h.at("/ari")})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", h.at("/account/1"))
		say(201, map[string]any{"status": "valid"})
	case "/order":
		w.Header().Set("Location", h.at("/order/1"))
		say(201, order)
	case "/authz", "/challenge":
		state := "pending"
		if strings.Contains(strings.Join(h.seen, " "), "/challenge") {
			state = "valid"
		}
		challenge := map[string]any{"type": "http-01", "url": h.at("/challenge"), "token": h.token, "status": state}
		if r.URL.Path == "/challenge" {
			say(200, challenge)
			return
		}
		say(200, map[string]any{"status": state, "identifier": map[string]any{"type": "dns", "value": "web.internal"}, "challenges": []any{challenge}})
	case "/finalize":
		h.finalize(r)
		order["status"] = "valid"
		say(200, order)
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(agenttest.PEM(h.ca.Sign(h.csr.PublicKey, nil, h.csr.DNSNames...), h.ca.Issuer))
	default:
		say(404, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": "no such thing", "status": 404})
	}
}

// look is what was asked since it was called last.
func (h *hostile) look() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := strings.Join(h.seen, " ") + " "
	h.seen = nil
	return seen
}

func (h *hostile) finalize(r *http.Request) {
	var jws, payload struct{ Payload, CSR string }
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &jws)
	text, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
	_ = json.Unmarshal(text, &payload)
	der, _ := base64.RawURLEncoding.DecodeString(payload.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		h.t.Error(err)
		return
	}
	h.csr = csr
}

func (h *hostile) source(t *testing.T) *Source {
	t.Helper()
	dir := t.TempDir()
	return &Source{
		Config: config.ACME{Directory: h.at("/directory"), CAFile: h.ca.RootFile(dir), AgreeTerms: true, Challenge: "http-01", Webroot: dir},
		State:  dir, UserAgent: "test", Logger: slog.New(slog.DiscardHandler),
	}
}

func request(t *testing.T) source.Request {
	t.Helper()
	text, err := client.CSR(agenttest.Key(t), client.ParseNames([]string{"web.internal"}))
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(decode(text))
	if err != nil {
		t.Fatal(err)
	}
	return source.Request{CSR: csr, CSRPEM: string(text)}
}

// TestHonest: the server of these tests gives a certificate if nothing is odd, so that
// what fails below fails for its oddity.
func TestHonest(t *testing.T) {
	h := newHostile(t)
	s := h.source(t)
	for range 2 {
		h.look()
		answer, err := s.Obtain(t.Context(), request(t))
		if err != nil || !strings.Contains(string(answer.Certificate), "CERTIFICATE") {
			t.Fatalf("%v %v", err, h.look())
		}
	}
	if strings.Contains(h.look(), "POST /account ") {
		t.Error("the account was made twice")
	}
	if files, err := filepath.Glob(filepath.Join(s.Config.Webroot, ".well-known/acme-challenge/*")); err != nil || len(files) > 0 {
		t.Errorf("a challenge is left: %v", files)
	}
}

// TestHostile: URLs elsewhere, tokens that are paths, redirects, huge and odd answers
// end the attempt, and nothing is written or asked outside.
func TestHostile(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server was asked") }))
	defer elsewhere.Close()
	say := func(code int, text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	authz := func(h *hostile, token string) func(http.ResponseWriter) {
		text, _ := json.Marshal(map[string]any{"status": "pending", "identifier": map[string]any{"type": "dns", "value": "web.internal"},
			"challenges": []any{map[string]any{"type": "http-01", "url": h.at("/challenge"), "token": token, "status": "pending"}}})
		return say(200, string(text))
	}
	directory := func(h *hostile, name, url string) func(http.ResponseWriter) {
		all := map[string]string{"newNonce": h.at("/nonce"), "newAccount": h.at("/account"), "newOrder": h.at("/order")}
		all[name] = url
		text, _ := json.Marshal(all)
		return say(200, string(text))
	}
	for name, test := range map[string]struct {
		path string
		odd  func(h *hostile) func(http.ResponseWriter)
		want string
	}{
		"plain http": {"/directory", func(h *hostile) func(http.ResponseWriter) { return directory(h, "newNonce", elsewhere.URL+"/nonce") }, "HTTPS is required"},
		"plain http, own": {"/directory", func(h *hostile) func(http.ResponseWriter) {
			return directory(h, "newOrder", strings.Replace(h.at("/order"), "https:", "http:", 1))
		}, "HTTPS is required"},
		"another host": {"/directory", func(h *hostile) func(http.ResponseWriter) {
			return directory(h, "newAccount", "https://127.0.0.1:1/account")
		}, "and only https://localhost"},
		"a file": {"/directory", func(h *hostile) func(http.ResponseWriter) { return directory(h, "newAccount", "file:///etc/passwd") }, "HTTPS is required"},
		"user information": {"/directory", func(h *hostile) func(http.ResponseWriter) {
			return directory(h, "newAccount", strings.Replace(h.at("/account"), "://", "://u:p@", 1))
		}, "only https"},
		"a redirect": {"/directory", func(*hostile) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) { w.Header().Set("Location", elsewhere.URL); w.WriteHeader(302) }
		}, "redirects"},
		"a huge directory": {"/directory", func(*hostile) func(http.ResponseWriter) {
			return say(200, "{\"a\":\""+strings.Repeat("x", 2<<20)+"\"}")
		}, "more than 1048576 bytes"},
		"no JSON":            {"/directory", func(*hostile) func(http.ResponseWriter) { return say(200, "<html>") }, "unmarshal"},
		"null for a problem": {"/order", func(*hostile) func(http.ResponseWriter) { return say(400, "null") }, "no problem"},
		"a list for one":     {"/authz", func(*hostile) func(http.ResponseWriter) { return say(403, "[]") }, "no problem"},
		"no challenges": {"/authz", func(*hostile) func(http.ResponseWriter) {
			return say(200, `{"status":"pending","identifier":{"type":"dns","value":"web.internal"}}`)
		}, ""},
		"null everywhere": {"/order", func(*hostile) func(http.ResponseWriter) { return say(201, "null") }, ""},
		"an order for others": {"/order", func(*hostile) func(http.ResponseWriter) {
			return say(201, `{"status":"pending","identifiers":[{"type":"dns","value":"web.internal"}],"authorizations":["https://127.0.0.1:1/a"],"finalize":"x"}`)
		}, "only https"},
		"a path as token": {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, "../../../../outside/canary") }, "a token that is none"},
		"a slash in it":   {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, strings.Repeat("t", 30)+"/x") }, "a token that is none"},
		"dots as token":   {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, "..") }, "a token that is none"},
		"an empty token":  {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, "") }, "a token that is none"},
		"a huge token":    {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, strings.Repeat("t", 5000)) }, "a token that is none"},
		"a NUL in it":     {"/authz", func(h *hostile) func(http.ResponseWriter) { return authz(h, strings.Repeat("t", 30)+"\x00") }, "a token that is none"},
	} {
		h := newHostile(t)
		s := h.source(t)
		outside := filepath.Join(filepath.Dir(s.Config.Webroot), "outside")
		if err := os.MkdirAll(outside, 0o700); err != nil {
			t.Fatal(err)
		}
		h.odd[test.path] = test.odd(h)
		answer, err := s.Obtain(t.Context(), request(t))
		if err == nil || !strings.Contains(err.Error(), test.want) || len(answer.Certificate) > 0 {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Errorf("%s: outside has %v", name, entries)
		}
	}
}

// TestHangs: a server that does not answer holds an attempt up until that ends.
func TestHangs(t *testing.T) {
	h := newHostile(t)
	release := make(chan struct{})
	defer close(release)
	begun := make(chan struct{}, 1)
	h.odd["/order"] = func(http.ResponseWriter) { begun <- struct{}{}; <-release }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := h.source(t)
	r := request(t)
	go func() { _, err := s.Obtain(ctx, r); done <- err }()
	<-begun
	cancel()
	if err := <-done; err == nil {
		t.Error("it ended without an error")
	}
}

func TestFailures(t *testing.T) {
	h := newHostile(t)
	s := h.source(t)
	h.odd["/order"] = func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow down","status":429}`)
	}
	_, err := s.Obtain(t.Context(), request(t))
	if f := source.Of(err); !f.Refused || f.Wait != 2*time.Minute {
		t.Errorf("%+v", f)
	}
	// What it complains of is one line, and not long.
	h.odd["/order"] = func(w http.ResponseWriter) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, `{"type":"x","status":403,"detail":"\u001b[31m`+strings.Repeat("x", 100_000)+`"}`)
	}
	if _, err := s.Obtain(t.Context(), request(t)); err == nil || len(err.Error()) > 3000 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%.100q", err)
	}
	// A server that has lost the account is given it again.
	h.odd["/order"] = func(w http.ResponseWriter) {
		w.WriteHeader(400)
		_, _ = io.WriteString(w, `{"type":"urn:ietf:params:acme:error:accountDoesNotExist","detail":"who?","status":400}`)
	}
	if _, err := s.Obtain(t.Context(), request(t)); err == nil {
		t.Error("no error")
	}
	delete(h.odd, "/order")
	h.look()
	if _, err := s.Obtain(t.Context(), request(t)); err != nil || !strings.Contains(h.look(), "POST /account ") {
		t.Error(err)
	}
	for text, want := range map[string]time.Duration{"": 0, "-5": 0, "x": 0, "99999999999999999999": 0, "60": time.Minute} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestDNS: the program is called with the record of RFC 8555 §8.4.
func TestDNS(t *testing.T) {
	out := filepath.Join(t.TempDir(), "calls")
	r := &records{ctx: t.Context(), argv: []string{"sh", "-c", `echo "$@" >>` + out, "dns"}}
	token := strings.Repeat("t", 43)
	if err := r.Present("*.web.internal", token, token+".thumb"); err != nil {
		t.Fatal(err)
	}
	if err := r.CleanUp("*.web.internal", token, token+".thumb"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	want := "_acme-challenge.web.internal. " + digestOf(token+".thumb") + "\n"
	if err != nil || string(text) != "present "+want+"cleanup "+want {
		t.Errorf("%q %v", text, err)
	}
	if err := r.Present("web.internal", "../x", "../x.y"); err == nil {
		t.Error("a path as token")
	}
	r.argv = []string{"sh", "-c", "echo no such zone >&2; exit 1"}
	if err := r.Present("web.internal", token, token+".thumb"); err == nil || !strings.Contains(err.Error(), "no such zone") {
		t.Error(err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add("..")
	f.Add(strings.Repeat("t", 43))
	f.Fuzz(func(t *testing.T, token string) {
		if checkToken(token, token+".x") == nil && (!filepath.IsLocal(token) || strings.ContainsAny(token, `/\.%`)) {
			t.Errorf("%q is taken", token)
		}
	})
}

func FuzzProblem(f *testing.F) {
	f.Add([]byte("null"))
	f.Add([]byte(`{"type":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var object map[string]any
		if err := json.Unmarshal(problemOf(400, body), &object); err != nil || object == nil {
			t.Errorf("%q became no object: %v", body, err)
		}
	})
}
