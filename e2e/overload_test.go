package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

const (
	overloadPlaces  = 8
	overloadClients = 10 * overloadPlaces // of ACME; a quarter as many over REST
)

// watched sees every answer: nothing but a success and a refusal that says when to
// come again may come. What an ACME client does wrong by itself (a nonce that is too
// old) is the client's.
type watched struct {
	t    *testing.T
	next *http.Transport

	mu      sync.Mutex
	answers map[int]int
	slowest time.Duration // of the refusals
}

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[res.StatusCode]++
	switch code := res.StatusCode; {
	case code < 300:
	case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
		w.slowest = max(w.slowest, time.Since(began))
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n < 1 || n > 3 {
			w.t.Errorf("%s: %d with Retry-After %q", req.URL.Path, code, res.Header.Get("Retry-After"))
		}
	default:
		w.t.Errorf("%s %s: %d", req.Method, req.URL.Path, code)
	}
	return res, nil
}

// soon is a client's patience, shorter than what the server asks for: it presses.
func soon(int, *http.Request, *http.Response) time.Duration {
	return 20*time.Millisecond + rand.N(200*time.Millisecond)
}

// TestOverload lets ten times as many clients as there are places want certificates
// at once: they are served or sent away, all end with theirs, a revocation gets
// through meanwhile, and afterwards all is as before.
func TestOverload(t *testing.T) {
	w := newACMEWorld(t)
	w.limits = fmt.Sprintf("limits: {calls: %d, queue: 16}\n", overloadPlaces)
	w.startACME()
	seen := &watched{t: t, answers: map[int]int{}, next: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.roots(), MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 2 * overloadClients,
	}}
	crowd := &crowd{t: t, w: w, http: &http.Client{Transport: seen, Timeout: 2 * time.Minute}}
	crowd.r = newResponder(t, w, w.address("crowd"), "")
	quiet := crowd.client(func(int, *http.Request, *http.Response) time.Duration { return -1 }) // is never sent away
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := quiet.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	check(t, err)
	first, err := obtainX(ctx, quiet, crowd.r, newKey(t), "http-01", "first.crowd.internal")
	check(t, err)
	seen.next.CloseIdleConnections()
	before := w.goroutines()

	var all sync.WaitGroup
	for i := range overloadClients {
		all.Go(func() { crowd.order(ctx, i) })
	}
	token := w.token("--uses", "1000")
	for range overloadClients / 4 {
		all.Go(func() { crowd.sign(ctx, token) })
	}
	for w.refused() == 0 && ctx.Err() == nil { // from here on it is overloaded
	}
	if err := quiet.RevokeCert(ctx, nil, leafOf(t, first).Raw, acme.CRLReasonSuperseded); err != nil {
		t.Error("a revocation meanwhile:", err)
	}
	if code, text := httpGet("http://" + w.metrics + "/readyz"); code != http.StatusOK {
		t.Errorf("readyz meanwhile: %d %s", code, text)
	}
	all.Wait()
	t.Logf("answers %v, %d refusals, the slowest %v", seen.answers, w.refused(), seen.slowest)
	if _, err := obtainX(ctx, quiet, crowd.r, newKey(t), "http-01", "last.crowd.internal"); err != nil {
		t.Error("afterwards:", err)
	}
	if issued := w.metric("certwright_intents_abandoned_total"); issued != "0" {
		t.Errorf("%s intents were abandoned", issued)
	}
	seen.next.CloseIdleConnections()
	for w.goroutines() > before+10 {
		if ctx.Err() != nil {
			t.Fatalf("%d goroutines, %d before", w.goroutines(), before)
		}
	}
}

// crowd is many clients.
type crowd struct {
	t    *testing.T
	w    *acmeWorld
	http *http.Client
	r    *responder
}

func (c *crowd) client(backoff func(int, *http.Request, *http.Response) time.Duration) *acme.Client {
	return &acme.Client{Key: newKey(c.t), DirectoryURL: c.w.directory, HTTPClient: c.http, RetryBackoff: backoff}
}

// order has one client registered, and a certificate issued for it.
func (c *crowd) order(ctx context.Context, i int) {
	client := c.client(soon)
	_, err := client.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if err == nil {
		_, err = obtainX(ctx, client, c.r, newKey(c.t), "http-01", fmt.Sprintf("h%d.crowd.internal", i))
	}
	if err != nil {
		c.t.Errorf("client %d: %v", i, err)
	}
}

// sign has a certificate signed over REST.
func (c *crowd) sign(ctx context.Context, token string) {
	body, err := json.Marshal(map[string]string{"csr": csrPEM(c.t, newKey(c.t), "web.team-a.internal")})
	check(c.t, err)
	for {
		code, err := c.post(ctx, token, string(body))
		if err != nil || code != http.StatusTooManyRequests {
			if err != nil || code != http.StatusOK {
				c.t.Errorf("REST: %d %v", code, err)
			}
			return
		}
		select {
		case <-time.After(soon(0, nil, nil)):
		case <-ctx.Done():
		}
	}
}

func (c *crowd) post(ctx context.Context, token, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.w.https+"/v1/certificates:sign", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}

// refused is how many requests were sent away so far.
func (w *acmeWorld) refused() int {
	n := 0
	for _, place := range []string{`door="acme",place="any"`, `door="acme",place="begin"`} {
		v, err := strconv.Atoi(w.metric("certwright_overloaded_total{" + place + "}"))
		check(w.t, err)
		n += v
	}
	return n
}

func (w *acmeWorld) goroutines() int {
	n, err := strconv.Atoi(w.metric("go_goroutines"))
	check(w.t, err)
	return n
}
