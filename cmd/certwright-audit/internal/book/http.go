package book

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HTTPConfig says how a server is asked.
type HTTPConfig struct {
	// URL is the prefix of the tree: "checkpoint" and "tile/…" are under it.
	URL string
	// Roots that its certificate is verified with; nil: the system's.
	Roots *x509.CertPool
	// Bearer is sent as Authorization; empty: none. Never over plain http.
	Bearer string
	// Timeout of one file; 0: 30 s.
	Timeout time.Duration
	// Tries of one file, if the server is not available; 0: 3.
	Tries int
}

// HTTP is a server that publishes its ledger.
type HTTP struct {
	base   string
	bearer string
	tries  int
	client *http.Client
}

// NewHTTP makes a Source of a server.
func NewHTTP(c HTTPConfig) (*HTTP, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%.128q is not a URL such as https://ca.internal:8443/ledger", c.URL)
	case u.User != nil:
		return nil, errors.New("the URL carries credentials; put a token into a file")
	case c.Bearer != "" && u.Scheme != "https":
		return nil, errors.New("a token is not sent over http: use https")
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Tries == 0 {
		c.Tries = 3
	}
	return &HTTP{
		base: strings.TrimSuffix(c.URL, "/"), bearer: c.Bearer, tries: c.Tries,
		client: &http.Client{
			Timeout: c.Timeout,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
				MaxResponseHeaderBytes: 16 << 10, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: c.Timeout, ForceAttemptHTTP2: true,
				TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			},
			// A token goes to the server that it is for, and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (h *HTTP) String() string { return h.base }

// Read implements Source.
func (h *HTTP) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	wait := 200 * time.Millisecond
	for try := 1; ; try++ {
		data, err := h.read(ctx, name, limit)
		if err == nil || try >= h.tries || !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return data, err
		}
		select {
		case <-time.After(wait):
			wait *= 4
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *HTTP) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/"+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "certwright-audit")
	if name == "checkpoint" {
		req.Header.Set("Cache-Control", "no-cache")
	}
	if h.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+h.bearer)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrUnavailable, untold(err))
	}
	defer res.Body.Close() //nolint:errcheck // only read
	switch {
	case res.StatusCode == http.StatusOK:
		data, err := readAtMost(res.Body, name, limit)
		var timeout interface{ Timeout() bool }
		if err != nil && (ctx.Err() != nil || errors.As(err, &timeout)) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return data, err
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("%s: status %d: %w", name, res.StatusCode, ErrRefused)
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%s: status %d: %w", name, res.StatusCode, ErrUnavailable)
	}
	return nil, fmt.Errorf("%s: status %d", name, res.StatusCode)
}

// ErrRefused is in the chain of errors of a server that wants other credentials.
var ErrRefused = errors.New("the server does not let this caller read; is the token file right?")

// untold takes the URL from an error of net/http: it stands before it already.
func untold(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
