package e2e

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const (
	crashClients        = 16
	crashCertificates   = 30 // delivered in a round before the kill
	crashResumePatience = 30 * time.Second
)

// noLimits is the acme section's line for tests that ask more than people do.
const noLimits = "  limits: {accounts: -1, orders: -1, orders_per_name: -1, failures: -1}\n"

// crashClient is an ACME client that goes on where it was when the server died.
type crashClient struct {
	acme  *acme.Client
	world *acmeWorld
	r     *responder
	name  string
	n     int

	order  string          // URL of the order under way; empty: none
	names  []string        // of that order
	valid  map[string]bool // authorizations of that order that the server has called valid
	stages map[string]int  // in which state orders were found after a kill
}

// TestACMECrash kills the server in the middle of 16-way issuing, again and again:
// the clients go on and finish, no order is stuck, and no authorization is lost
// that a client was told is valid.
func TestACMECrash(t *testing.T) {
	w := newACMEWorld(t)
	w.limits = noLimits
	w.startACME()
	r := newResponder(t, w, w.address("crash"), "")
	clients := make([]*crashClient, crashClients)
	for i := range clients {
		c := &crashClient{
			acme:  &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client(), RetryBackoff: briefly},
			world: w, r: r, name: fmt.Sprintf("c%d", i), valid: map[string]bool{}, stages: map[string]int{},
		}
		_, err := c.acme.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
		check(t, err)
		clients[i] = c
	}
	for round := range rounds(t) {
		delivered := crashRound(t, w, clients)
		w.startACME()
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() { c.resume(t) })
		}
		all.Wait()
		t.Logf("round %d: %d certificates delivered before the kill", round+1, delivered)
		if t.Failed() {
			t.Fatal(w.logTail())
		}
	}
	total := map[string]int{}
	for _, c := range clients {
		for stage, n := range c.stages {
			total[stage] += n
		}
	}
	t.Logf("orders under way at a kill were found as: %v", total)
	if total[acme.StatusPending]+total[acme.StatusReady] == 0 {
		t.Error("no kill came between newOrder and finalize: this proves little")
	}
	w.compareACME(t)
	w.nothingStuck(t)
	w.must(t.TempDir(), "ledger", "verify", "--signatures")
}

// briefly is the wait of a client that is in a hurry.
func briefly(n int, _ *http.Request, _ *http.Response) time.Duration {
	if n > 10 {
		return -1
	}
	return 20 * time.Millisecond
}

// crashRound issues with all clients until the server is killed.
func crashRound(t *testing.T, w *acmeWorld, clients []*crashClient) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var delivered atomic.Int64
	enough := make(chan struct{})
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := c.issue(ctx, t); err != nil {
					return // the server is gone; or its answer is judged by resume
				}
				if delivered.Add(1) == crashCertificates {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(60 * time.Second):
		t.Errorf("fewer than %d certificates in a minute\n%s", crashCertificates, w.logTail())
	}
	<-time.After(mathrand.N(40 * time.Millisecond))
	w.kill()
	cancel()
	all.Wait()
	return int(delivered.Load())
}

// issue does a whole order, or what is left of the one under way.
func (c *crashClient) issue(ctx context.Context, t *testing.T) error {
	if c.order == "" {
		c.n++
		c.names = []string{fmt.Sprintf("%s-%d.crash.internal", c.name, c.n), fmt.Sprintf("%s.crash.internal", c.name)}
		order, err := c.acme.AuthorizeOrder(ctx, acme.DomainIDs(c.names...))
		if err != nil {
			return err
		}
		c.order, c.valid = order.URI, map[string]bool{}
	}
	order, err := c.acme.GetOrder(ctx, c.order)
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		if c.valid[url] {
			continue
		}
		if err := prove(ctx, c.acme, c.r, url, "http-01"); err != nil {
			return err
		}
		c.valid[url] = true
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: c.names}, newKey(t))
	if err != nil {
		return err
	}
	chain, _, err := c.acme.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return err
	}
	c.finished(t, chain)
	return nil
}

func (c *crashClient) finished(t *testing.T, chain [][]byte) {
	c.world.received(t, c.name, "crash", openOwner, pemChain(chain), c.names...)
	c.order = ""
}

// resume goes on with the order under way at the kill until it has an end.
func (c *crashClient) resume(t *testing.T) {
	if c.order == "" {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), crashResumePatience)
	defer cancel()
	for url := range c.valid {
		authz, err := c.acme.GetAuthorization(ctx, url)
		if err != nil || authz.Status != acme.StatusValid {
			t.Errorf("%s: the authorization %s was valid before the kill: now %v, %v", c.name, url, authz, err)
		}
	}
	order, err := c.acme.GetOrder(ctx, c.order)
	if err != nil {
		t.Errorf("%s: the order %s: %v", c.name, c.order, err)
		return
	}
	c.stages[order.Status]++
	if order.Status == acme.StatusProcessing {
		if order, err = c.acme.WaitOrder(ctx, c.order); err != nil && !isOrderError(err) {
			t.Errorf("%s: the order %s is stuck in processing: %v", c.name, c.order, err)
			return
		}
	}
	switch {
	case err != nil || order.Status == acme.StatusInvalid: // given up with the server that died: a new one
		c.order = ""
	case order.Status == acme.StatusValid:
		chain, err := c.acme.FetchCert(ctx, order.CertURL, true)
		if err != nil {
			t.Errorf("%s: the certificate of the order %s: %v", c.name, c.order, err)
			return
		}
		c.finished(t, chain)
		return
	}
	if err := c.issue(ctx, t); err != nil {
		t.Errorf("%s: going on with an order that was %s: %v", c.name, order.Status, err)
	}
}

// isOrderError tells whether the order has become invalid.
func isOrderError(err error) bool {
	var failed *acme.OrderError
	return errors.As(err, &failed)
}

// nothingStuck fails the test if an order is in processing.
func (w *acmeWorld) nothingStuck(t *testing.T) {
	t.Helper()
	orders := w.orders(t)
	for _, o := range orders {
		if !slices.Contains([]certwrightv1.Order_State{certwrightv1.Order_PENDING, certwrightv1.Order_READY, certwrightv1.Order_VALID, certwrightv1.Order_INVALID}, o.GetState()) {
			t.Errorf("order %s is %v", o.GetId(), o.GetState())
		}
	}
}

// orders are all orders of the server.
func (w *acmeWorld) orders(t *testing.T) []*certwrightv1.Order {
	t.Helper()
	var all []*certwrightv1.Order
	client := certwrightv1.NewOrderServiceClient(w.socket())
	token := ""
	for {
		page, err := client.ListOrders(t.Context(), &certwrightv1.ListOrdersRequest{PageSize: 1000, PageToken: token})
		check(t, err)
		all = append(all, page.GetOrders()...)
		if token = page.GetNextPageToken(); token == "" {
			return all
		}
	}
}
