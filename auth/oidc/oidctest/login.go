package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Client is the public client that the provider knows.
const Client = "certwright-cli"

// logins is the provider's part in the flows of RFC 6749, 7636 and 8628.
type logins struct {
	user    map[string]any // claims of who sits at the browser; nil: who says no
	codes   map[string]grantedCode
	devices map[string]*device // by device code
	// interval that device logins may poll with, in seconds.
	interval int64
	issued   []string
}

// Issued are the ID tokens that logins have given.
func (p *Provider) Issued() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.logins.issued)
}

type grantedCode struct {
	redirect, challenge, nonce string
	claims                     map[string]any
}

type device struct {
	user   string // code
	claims map[string]any
	denied bool
	polled time.Time
}

// LogInAs has the person at the browser be this one from now on; nil: somebody who
// says no. The claim sub is needed.
func (p *Provider) LogInAs(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins.user = claims
}

// Answer ends the device login with this user code as LogInAs has said.
func (p *Provider) Answer(userCode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.logins.devices {
		if d.user == userCode {
			d.claims, d.denied = p.logins.user, p.logins.user == nil
		}
	}
}

// Interval sets that of device logins, in seconds; 0: the answer has none.
func (p *Provider) Interval(seconds int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins.interval = seconds
}

func (p *Provider) handleLogins(mux *http.ServeMux) {
	p.logins = logins{codes: map[string]grantedCode{}, devices: map[string]*device{}}
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", p.device)
}

// authorize answers as if the person had logged in at once.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	scopes := strings.Fields(q.Get("scope"))
	if err != nil || back.Scheme != "http" || back.Hostname() != "127.0.0.1" || back.Path != "/callback" || q.Get("client_id") != Client ||
		q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		q.Get("state") == "" || q.Get("nonce") == "" || len(scopes) == 0 || scopes[0] != "openid" {
		http.Error(w, "bad authentication request", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	p.mu.Lock()
	if p.logins.user == nil {
		answer.Set("error", "access_denied")
		answer.Set("error_description", "the person said no")
	} else {
		code := rand.Text()
		p.logins.codes[code] = grantedCode{
			redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), claims: p.logins.user,
		}
		answer.Set("code", code)
	}
	p.mu.Unlock()
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // checked above to be 127.0.0.1
}

// token gives ID tokens for codes, each of them once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || r.PostForm.Get("client_id") != Client {
		p.refuse(w, "invalid_client")
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		p.mu.Lock()
		granted, ok := p.logins.codes[r.PostForm.Get("code")]
		delete(p.logins.codes, r.PostForm.Get("code"))
		p.mu.Unlock()
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || granted.redirect != r.PostForm.Get("redirect_uri") || granted.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			p.refuse(w, "invalid_grant")
			return
		}
		p.grant(w, granted.claims, granted.nonce)
	case "urn:ietf:params:oauth:grant-type:device_code":
		p.deviceToken(w, r.PostForm.Get("device_code"))
	default:
		p.refuse(w, "unsupported_grant_type")
	}
}

func (p *Provider) deviceToken(w http.ResponseWriter, code string) {
	p.mu.Lock()
	d := p.logins.devices[code]
	if d == nil {
		p.mu.Unlock()
		p.refuse(w, "expired_token")
		return
	}
	now := time.Now()
	// A tenth of a second is what a request may come early on its way.
	early := now.Sub(d.polled) < time.Duration(p.logins.interval)*time.Second-100*time.Millisecond
	claims, denied := d.claims, d.denied
	d.polled = now
	if claims != nil || denied {
		delete(p.logins.devices, code)
	}
	p.mu.Unlock()
	switch {
	case denied:
		p.refuse(w, "access_denied")
	case claims != nil:
		p.grant(w, claims, "")
	case early:
		p.refuse(w, "slow_down")
	default:
		p.refuse(w, "authorization_pending")
	}
}

// device begins a device login.
func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if r.ParseForm() != nil || r.PostForm.Get("client_id") != Client {
		p.refuse(w, "invalid_client")
		return
	}
	code, user := rand.Text(), rand.Text()[:8]
	p.mu.Lock()
	p.logins.devices[code] = &device{user: user, polled: time.Now()}
	answer := map[string]any{
		"device_code": code, "user_code": user, "verification_uri": p.URL + "/activate", "verification_uri_complete": p.URL + "/activate?code=" + user, "expires_in": 600,
	}
	if p.logins.interval > 0 {
		answer["interval"] = p.logins.interval
	}
	p.mu.Unlock()
	p.answer(w, answer)
}

func (p *Provider) refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code}) // the peer may have gone
}

// grant answers with an ID token for the client.
func (p *Provider) grant(w http.ResponseWriter, claims map[string]any, nonce string) {
	more := map[string]any{"aud": Client, "jti": rand.Text()}
	if nonce != "" {
		more["nonce"] = nonce
	}
	maps.Copy(more, claims)
	subject, _ := claims["sub"].(string)
	token := p.Token(subject, more)
	p.mu.Lock()
	p.logins.issued = append(p.logins.issued, token)
	p.mu.Unlock()
	p.answer(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": token})
}
