// Package login is the person's side of logging in at an OpenID Connect provider
// with a public client: the authorization code flow with PKCE (RFC 7636) and a
// redirect to this machine (RFC 8252), and the device flow (RFC 8628). Both give an
// ID token, which the CA's server verifies; here it is only made sure that it is the
// answer to what was asked.
//
// What it holds to:
//
//   - Endpoints are those of the discovery document about the issuer, https all of
//     them. Redirects of the provider are not followed; answers and times are bounded.
//   - Of a login that was not begun here nothing is taken: state, nonce, PKCE, the
//     issuer in the answer (RFC 9207), one answer, one path, the listener's own name.
//   - An error tells the provider's code and words, never a code or token.
//
// Not by golang.org/x/oauth2: in v0.37.0 a device endpoint's answer of null, or of a
// negative interval, makes it panic, and its request there heeds no context.
package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The bounds of what a provider answers.
const (
	maxAnswer  = 256 << 10
	maxHeaders = 64 << 10
	maxURL     = 4 << 10
	// requestTimeout bounds one request.
	requestTimeout = 15 * time.Second
)

// Config is the provider, as the CA's server names it, and the way to it.
type Config struct {
	// Issuer is the provider's URL.
	Issuer string
	// ClientID of the public client.
	ClientID string
	// Scopes to ask for, openid among them.
	Scopes []string
	// Transport goes to the provider: Transport's.
	Transport http.RoundTripper
}

// Transport verifies the provider by these roots; nil: the system's.
func Transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: requestTimeout, MaxResponseHeaderBytes: maxHeaders,
		ForceAttemptHTTP2: true, IdleConnTimeout: 30 * time.Second,
	}
}

// endpoints are what the discovery document says (OpenID Connect Discovery 1.0 §3).
type endpoints struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Device        string   `json:"device_authorization_endpoint"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	// NamesItself is set if answers carry the parameter iss (RFC 9207 §3).
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`
}

// discover reads the provider's endpoints.
func (c *Config) discover(ctx context.Context) (endpoints, error) {
	if err := checkURL(c.Issuer); err != nil {
		return endpoints{}, fmt.Errorf("the identity provider %.128q: %w", c.Issuer, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return endpoints{}, err
	}
	status, body, err := c.do(request)
	if err != nil {
		return endpoints{}, fmt.Errorf("the identity provider %s: %w", c.Issuer, err)
	}
	if status != http.StatusOK {
		return endpoints{}, fmt.Errorf("the identity provider %s answers its discovery document with status %d", c.Issuer, status)
	}
	e, err := parseEndpoints(body, c.Issuer)
	if err != nil {
		return endpoints{}, fmt.Errorf("the discovery document of %s: %w", c.Issuer, err)
	}
	return e, nil
}

// parseEndpoints reads a discovery document, which must be about the issuer.
func parseEndpoints(body []byte, issuer string) (endpoints, error) {
	var e endpoints
	if err := json.Unmarshal(body, &e); err != nil {
		return endpoints{}, errors.New("it is not the JSON that it should be")
	}
	if e.Issuer != issuer {
		return endpoints{}, errors.New("it is about another issuer")
	}
	if len(e.Challenges) > 0 && !slices.Contains(e.Challenges, "S256") {
		return endpoints{}, errors.New("the provider does not know PKCE with S256, without which a login could be taken over")
	}
	if err := checkURL(e.Token); err != nil {
		return endpoints{}, fmt.Errorf("token_endpoint: %w", err)
	}
	for name, optional := range map[string]string{"authorization_endpoint": e.Authorization, "device_authorization_endpoint": e.Device} {
		if optional == "" {
			continue
		}
		if err := checkURL(optional); err != nil {
			return endpoints{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return e, nil
}

// checkURL refuses what is not an https URL of a host.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(text) > maxURL {
		return errors.New("it is not an https URL")
	}
	return nil
}

// post sends a form and reads the JSON of the answer, whatever its status.
func (c *Config) post(ctx context.Context, endpoint string, form url.Values) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(request)
}

func (c *Config) do(request *http.Request) (status int, body []byte, err error) {
	request.Header.Set("Accept", "application/json")
	client := &http.Client{
		Transport: c.Transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		var u *url.Error // its text has the whole URL
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, nil, &unreachable{err}
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, &unreachable{err}
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("its answer has more than %d octets", maxAnswer)
	}
	return answer.StatusCode, body, nil
}

// unreachable is a provider that did not answer: it may the next time.
type unreachable struct{ err error }

// Error implements error.
func (u *unreachable) Error() string { return "it cannot be reached: " + u.err.Error() }

// Unwrap gives the cause.
func (u *unreachable) Unwrap() error { return u.err }

// Refused is the provider's no (RFC 6749 §4.1.2.1, §5.2).
type Refused struct {
	Code        string // such as access_denied
	Description string
}

// Error implements error.
func (r *Refused) Error() string {
	text := "the identity provider refuses: " + r.Code
	if r.Description != "" {
		text += " (" + r.Description + ")"
	}
	return text
}

// refused makes printable, short words of a provider's code and description.
func refused(code, description string) *Refused {
	clean := func(text string, most int) string {
		text = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return ' '
			}
			return r
		}, text)
		return text[:min(len(text), most)]
	}
	return &Refused{Code: clean(code, 64), Description: clean(description, 200)}
}

// tokenAnswer is that of a token endpoint (OpenID Connect Core 1.0 §3.1.3.3).
type tokenAnswer struct {
	IDToken     string `json:"id_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// parseToken is the ID token of an answer, or the provider's refusal.
func parseToken(status int, body []byte) (string, error) {
	var answer tokenAnswer
	err := json.Unmarshal(body, &answer)
	switch {
	case err == nil && answer.Error != "":
		return "", refused(answer.Error, answer.Description)
	case status != http.StatusOK:
		return "", fmt.Errorf("the identity provider's token endpoint answers with status %d", status)
	case err != nil:
		return "", errors.New("the identity provider's token endpoint does not answer with the JSON that it should")
	case answer.IDToken == "":
		return "", errors.New("the identity provider sends no ID token: the scope openid must be allowed for the client")
	}
	return answer.IDToken, nil
}
