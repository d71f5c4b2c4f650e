package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answerTimeout is how long a login may take in the browser.
const answerTimeout = 5 * time.Minute

// Code logs in by the authorization code flow. show is called once with the URL
// that the person must open in a browser on this machine.
func Code(ctx context.Context, c Config, show func(url string)) (idToken string, err error) {
	e, err := c.discover(ctx)
	if err != nil {
		return "", err
	}
	if e.Authorization == "" {
		return "", errors.New("the identity provider has no login in the browser (authorization_endpoint)")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("cannot listen for the browser's answer: %w", err)
	}
	// 130 random bits each; a verifier has at least 43 letters (RFC 7636 §4.1).
	state, nonce, verifier := rand.Text(), rand.Text(), rand.Text()+rand.Text()
	w := newWaiter(listener.Addr().String(), state, c.Issuer, e.NamesItself)
	server := &http.Server{
		Handler: w, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 32 << 10,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is shut down; without it nobody answers, which is told
	}()
	defer func() {
		// The page of the answer is still on its way to the browser.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(closing) != nil {
			_ = server.Close()
		}
		<-served
	}()
	redirect := "http://" + w.host + callbackPath
	page, err := authorizationURL(e.Authorization, &c, redirect, state, nonce, verifier)
	if err != nil {
		return "", err
	}
	show(page)
	code, err := w.wait(ctx)
	if err != nil {
		return "", err
	}
	status, body, err := c.post(ctx, e.Token, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {c.ClientID}, "code_verifier": {verifier},
	})
	if err != nil {
		return "", fmt.Errorf("the identity provider's token endpoint: %w", err)
	}
	token, err := parseToken(status, body)
	if err != nil {
		return "", err
	}
	return token, checkToken(token, c.Issuer, c.ClientID, nonce)
}

// authorizationURL is the authentication request (OpenID Connect Core 1.0
// §3.1.2.1) with the S256 challenge of the verifier.
func authorizationURL(endpoint string, c *Config, redirect, state, nonce, verifier string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	challenge := sha256.Sum256([]byte(verifier))
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": c.ClientID, "redirect_uri": redirect, "scope": strings.Join(c.Scopes, " "), "state": state,
		"nonce": nonce, "code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// wait is the code of the first answer that belongs to this login.
func (w *waiter) wait(ctx context.Context) (string, error) {
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case a := <-w.answer:
		return a.code, a.err
	case <-timer.C:
		return "", fmt.Errorf("nobody has logged in within %s", answerTimeout)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
