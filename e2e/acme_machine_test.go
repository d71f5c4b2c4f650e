package e2e

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// The property test's size: so many accounts act at once, each so often between
// two restarts.
const (
	machineAccounts = 6
	machineActions  = 25
	machinePhases   = 6
	machineNames    = 5 // per account: few, so that authorizations are reused
)

// TestACMEStateMachine lets accounts do random things to their orders at once,
// with restarts and kills between, and holds every answer against a model of RFC
// 8555 §7.1.6. CERTWRIGHT_SEED repeats a run.
func TestACMEStateMachine(t *testing.T) {
	seed := mathrand.Uint64()
	if text := os.Getenv("CERTWRIGHT_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		check(t, err)
	}
	t.Logf("CERTWRIGHT_SEED=%d", seed)
	w := newACMEWorld(t)
	w.limits = noLimits
	w.startACME()
	r := newResponder(t, w, w.address("machine"), "")
	models := make([]*model, machineAccounts)
	for i := range models {
		models[i] = newModel(t, w, r, i, seed)
	}
	for phase := range machinePhases {
		var all sync.WaitGroup
		for _, m := range models {
			all.Go(func() {
				for range machineActions {
					m.act()
				}
			})
		}
		all.Wait()
		if phase%2 == 0 {
			w.kill()
		} else {
			w.stop()
		}
		w.startACME()
		for _, m := range models {
			m.lookAtAll()
		}
		if t.Failed() {
			t.Fatal(w.logTail())
		}
	}
	done := map[string]int{}
	for _, m := range models {
		m.judgeCertificates()
		for action, n := range m.done {
			done[action] += n
		}
	}
	t.Logf("done: %v", done)
	w.compareACME(t)
	w.nothingStuck(t)
}

// model is what one account's authorizations and orders must be.
type model struct {
	t      *testing.T
	w      *acmeWorld
	r      *responder
	client *acme.Client
	id     string // the account's
	me     string
	random *mathrand.Rand
	done   map[string]int

	authz  map[string]string // URL → state
	names  map[string]string // URL → name
	orders []*modelOrder
}

// modelOrder is one order: its state follows from its authorizations, unless it
// was finalized.
type modelOrder struct {
	url, finalize string
	names, authz  []string
	invalid       bool // it was seen invalid, and stays so
	chain         string
}

func newModel(t *testing.T, w *acmeWorld, r *responder, i int, seed uint64) *model {
	m := &model{
		t: t, w: w, r: r, me: fmt.Sprintf("m%d", i), random: mathrand.New(mathrand.NewPCG(seed, uint64(i))),
		client: &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client(), RetryBackoff: briefly},
		done:   map[string]int{}, authz: map[string]string{}, names: map[string]string{},
	}
	account, err := m.client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
	check(t, err)
	m.id = account.URI[strings.LastIndexByte(account.URI, '/')+1:]
	return m
}

// state is what the order must be.
func (m *model) state(o *modelOrder) string {
	switch {
	case o.chain != "":
		return acme.StatusValid
	case o.invalid:
		return acme.StatusInvalid
	}
	state := acme.StatusReady
	for _, url := range o.authz {
		switch m.authz[url] {
		case acme.StatusValid:
		case acme.StatusPending:
			if state == acme.StatusReady {
				state = acme.StatusPending
			}
		default:
			o.invalid = true
			return acme.StatusInvalid
		}
	}
	return state
}

// act does one random thing and judges the answer.
func (m *model) act() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var o *modelOrder
	if len(m.orders) > 0 {
		o = m.orders[m.random.IntN(len(m.orders))]
	}
	dice := m.random.IntN(100)
	switch {
	case o == nil || dice < 18:
		m.newOrder(ctx)
	case dice < 50:
		m.answer(ctx, o, true)
	case dice < 56:
		m.answer(ctx, o, false)
	case dice < 60:
		m.deactivate(ctx, o)
	case dice < 80:
		m.finalize(ctx, o, 1)
	case dice < 90:
		m.finalize(ctx, o, 4)
	default:
		m.look(ctx, o)
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Errorf(m.me+": "+format, args...)
}

func (m *model) newOrder(ctx context.Context) {
	m.done["newOrder"]++
	var names []string
	for _, n := range m.random.Perm(machineNames)[:1+m.random.IntN(3)] {
		names = append(names, fmt.Sprintf("n%d.%s.machine.internal", n, m.me))
	}
	slices.Sort(names)
	order, err := m.client.AuthorizeOrder(ctx, acme.DomainIDs(append(names, names[0])...)) // one twice
	if err != nil {
		m.fail("newOrder for %v: %v", names, err)
		return
	}
	o := &modelOrder{url: order.URI, finalize: order.FinalizeURL, names: names, authz: order.AuthzURLs}
	if len(o.authz) != len(names) {
		m.fail("%d authorizations for %v", len(o.authz), names)
	}
	for _, url := range o.authz {
		authz, err := m.client.GetAuthorization(ctx, url)
		if err != nil {
			m.fail("a new order's authorization: %v", err)
			return
		}
		if known, ok := m.authz[url]; ok && (known != authz.Status || (known != acme.StatusValid && known != acme.StatusPending)) {
			m.fail("a new order has an authorization that was %s and is %s", known, authz.Status)
		} else if !ok && authz.Status != acme.StatusPending {
			m.fail("a fresh authorization is %s", authz.Status)
		}
		if !slices.Contains(names, authz.Identifier.Value) {
			m.fail("an authorization for %s in an order for %v", authz.Identifier.Value, names)
		}
		m.authz[url], m.names[url] = authz.Status, authz.Identifier.Value
	}
	m.orders = append(m.orders, o)
	if want := m.state(o); order.Status != want {
		m.fail("a new order for %v is %s, want %s", names, order.Status, want)
	}
}

// answer answers the challenge of one pending authorization, rightly or wrongly.
// On one that has an end it changes nothing.
func (m *model) answer(ctx context.Context, o *modelOrder, right bool) {
	url := o.authz[m.random.IntN(len(o.authz))]
	was := m.authz[url]
	authz, err := m.client.GetAuthorization(ctx, url)
	if err != nil || authz.Status != was {
		m.fail("an authorization that was %s: %v, %v", was, authz, err)
		return
	}
	i := slices.IndexFunc(authz.Challenges, func(c *acme.Challenge) bool { return c.Type == "http-01" })
	if i < 0 {
		if was == acme.StatusPending {
			m.fail("a pending authorization without http-01")
		}
		return
	}
	m.done["answer to "+was]++
	challenge := authz.Challenges[i]
	if right {
		keyAuth, err := m.client.HTTP01ChallengeResponse(challenge.Token)
		check(m.t, err)
		check(m.t, m.r.Present("", challenge.Token, keyAuth))
	}
	if _, err := m.client.Accept(ctx, challenge); err != nil && was == acme.StatusPending {
		m.fail("an answer: %v", err)
		return
	} else if was != acme.StatusPending {
		m.refusal(err, "an answer to a challenge of an authorization that is "+was)
	}
	if was == acme.StatusPending {
		m.authz[url] = acme.StatusInvalid
		if right {
			m.authz[url] = acme.StatusValid
		}
		_, _ = m.client.WaitAuthorization(ctx, url) // an error is whatever is not valid: read below
	}
	if authz, err = m.client.GetAuthorization(ctx, url); err != nil || authz.Status != m.authz[url] {
		m.fail("an authorization that was %s and was answered (rightly: %t): %v, %v; want %s", was, right, authz, err, m.authz[url])
	}
}

// refusal wants no error, or a problem document that is no 5xx.
func (m *model) refusal(err error, what string) {
	var refused *acme.Error
	if err != nil && (!errors.As(err, &refused) || refused.StatusCode < 400 || refused.StatusCode >= 500) {
		m.fail("%s: %v", what, err)
	}
}

func (m *model) deactivate(ctx context.Context, o *modelOrder) {
	url := o.authz[m.random.IntN(len(o.authz))]
	was := m.authz[url]
	m.done["deactivate "+was]++
	err := m.client.RevokeAuthorization(ctx, url)
	switch was {
	case acme.StatusPending, acme.StatusValid:
		if err != nil {
			m.fail("deactivation of an authorization that is %s: %v", was, err)
			return
		}
		m.authz[url] = acme.StatusDeactivated
	default:
		m.refusal(err, "deactivation of an authorization that is "+was)
	}
}

// finalize finalizes an order, many times at once with different keys: if it is
// ready, exactly one certificate comes of it.
func (m *model) finalize(ctx context.Context, o *modelOrder, times int) {
	was := m.state(o)
	m.done[fmt.Sprintf("%d× finalize %s", times, was)]++
	chains := make(chan string, times)
	var all sync.WaitGroup
	for range times {
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: o.names}, newKey(m.t))
		check(m.t, err)
		all.Go(func() {
			chain, _, err := m.client.CreateOrderCert(ctx, o.finalize, csr, true)
			if err == nil {
				chains <- pemChain(chain)
				return
			}
			m.refusal(err, "finalize of an order that was "+was)
		})
	}
	all.Wait()
	close(chains)
	got := map[string]bool{}
	for chain := range chains {
		got[chain] = true
	}
	switch {
	case was == acme.StatusReady && len(got) != 1:
		m.fail("%d certificates of %d finalizes of an order that was ready", len(got), times)
	case was == acme.StatusReady:
		for chain := range got {
			o.chain = chain
			m.w.received(m.t, m.me, "machine", openOwner, chain, o.names...)
		}
	case was != acme.StatusValid && len(got) > 0:
		m.fail("a certificate of an order that was %s", was)
	case len(got) > 1 || len(got) == 1 && !got[o.chain]:
		m.fail("another certificate of an order that was valid")
	}
	m.look(ctx, o)
}

// look reads an order and holds it against the model.
func (m *model) look(ctx context.Context, o *modelOrder) {
	m.done["look"]++
	want := m.state(o)
	order, err := m.client.GetOrder(ctx, o.url)
	if err != nil {
		m.fail("an order that must be %s: %v", want, err)
		return
	}
	if order.Status != want {
		m.fail("the order for %v is %s, must be %s: %v", o.names, order.Status, want, order.Error)
	}
	if (order.CertURL != "") != (want == acme.StatusValid) {
		m.fail("an order that is %s has the certificate %q", want, order.CertURL)
	}
	if o.chain == "" || order.CertURL == "" {
		return
	}
	chain, err := m.client.FetchCert(ctx, order.CertURL, true)
	if err != nil || pemChain(chain) != o.chain {
		m.fail("the certificate of a valid order is another, or none: %v", err)
	}
}

func (m *model) lookAtAll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for url, want := range m.authz {
		authz, err := m.client.GetAuthorization(ctx, url)
		if err != nil || authz.Status != want {
			m.fail("after a restart the authorization for %s: %v, %v; want %s", m.names[url], authz, err, want)
		}
	}
	for _, o := range m.orders {
		m.look(ctx, o)
	}
}

// judgeCertificates wants exactly one certificate in the ledger for each order
// that is valid.
func (m *model) judgeCertificates() {
	want := 0
	for _, o := range m.orders {
		if o.chain != "" {
			want++
		}
	}
	list := listAll(context.Background(), m.t, certwrightv1.NewCertificateServiceClient(m.w.socket()), `requester = "acme:`+m.id+`"`)
	if len(list) != want {
		m.fail("%d certificates in the ledger for %d valid orders", len(list), want)
	}
}
