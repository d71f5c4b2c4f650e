package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	maxBody     = 1 << 20 // of one answer, in bytes
	requestTime = 30 * time.Second
	maxRequests = 500 // of one attempt: a server that is never ready is given up
)

// guard lets requests through to one host over https, and answers that lego can
// read. Where the server's URLs lead is the server's choice, and it may be hostile.
type guard struct {
	ctx  context.Context //nolint:containedctx // lego takes none: this is how its requests end with the attempt
	host string
	next http.RoundTripper
	left int // requests; lego sends them from several goroutines, see spend
	lock chan struct{}
}

// httpClient is what lego sends its requests with.
func httpClient(ctx context.Context, directory string, roots *x509.CertPool) (*http.Client, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the directory %.200q is not https://HOST/PATH", directory)
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  requestTime,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      false,
		IdleConnTimeout:        10 * time.Second,
	}
	context.AfterFunc(ctx, transport.CloseIdleConnections)
	return &http.Client{
		Transport: &guard{ctx: ctx, host: u.Host, next: transport, left: maxRequests, lock: make(chan struct{}, 1)},
		Timeout:   requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the ACME server redirects, which it must not")
		},
	}, nil
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != g.host || r.URL.User != nil {
		return nil, fmt.Errorf("the ACME server leads to %.200q, and only https://%s is asked", r.URL.Redacted(), g.host)
	}
	if err := g.spend(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(g.ctx, cancel)
	answer, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	defer func() { stop(); cancel() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	_ = answer.Body.Close()
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, fmt.Errorf("the ACME server answered more than %d bytes", maxBody)
	case answer.StatusCode >= http.StatusBadRequest && r.Method != http.MethodHead:
		body = problemOf(answer.StatusCode, body)
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return answer, nil
}

func (g *guard) spend() error {
	g.lock <- struct{}{}
	defer func() { <-g.lock }()
	if g.left--; g.left < 0 {
		return fmt.Errorf("the ACME server needed more than %d requests", maxRequests)
	}
	return nil
}

// problemOf is an error body as lego can read it: an object, whatever the server
// sent (lego takes "null" for one, and fails).
func problemOf(status int, body []byte) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) == nil && object != nil {
		return body
	}
	text, err := json.Marshal(map[string]any{
		"type": "about:blank", "status": status, "detail": fmt.Sprintf("the server answered HTTP %d and no problem: %.200q", status, body),
	})
	if err != nil {
		return []byte("{}")
	}
	return text
}
