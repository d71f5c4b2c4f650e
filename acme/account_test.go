package acme_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
)

func TestAccount(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Terms = "https://ca.internal/terms" })
	c := w.client(t)
	post := func(payload map[string]any) reply { return c.post("/new-account", payload) }
	if r := post(map[string]any{"onlyReturnExisting": true, "contact": []string{"mailto:a@b.internal"}}); r.problem() != "accountDoesNotExist" {
		t.Errorf("%s", r.body)
	}
	if r := post(map[string]any{}); r.problem() != "userActionRequired" {
		t.Errorf("without agreeing: %s", r.body)
	}
	for contact, want := range map[string]string{
		"tel:+1": "unsupportedContact", "mailto:": "invalidContact", "mailto:a@b,c@d": "invalidContact",
		"mailto:a@b.internal?subject=x": "invalidContact", "nothing": "invalidContact",
	} {
		if r := post(map[string]any{"termsOfServiceAgreed": true, "contact": []string{contact}}); r.problem() != want {
			t.Errorf("%s: %s", contact, r.body)
		}
	}
	r := post(map[string]any{"termsOfServiceAgreed": true, "contact": []string{"mailto:a@b.internal"}})
	url := r.header.Get("Location")
	if r.status != 201 || url == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for _, again := range []map[string]any{{}, {"onlyReturnExisting": true}} {
		if r := post(again); r.status != 200 || r.header.Get("Location") != url {
			t.Errorf("found: %d %s", r.status, r.body)
		}
	}
	c.kid = url
	if r := c.post(url, map[string]any{"contact": []string{}}); r.status != 200 || r.header.Get("Location") != url {
		t.Errorf("update: %d %s", r.status, r.body)
	}
	if r := c.post(url, nil); r.status != 200 || r.header.Get("Location") != url {
		t.Errorf("read: %d %s", r.status, r.body)
	}
	if r := c.post(url, map[string]any{"status": "revoked"}); r.problem() != "malformed" {
		t.Errorf("status revoked: %s", r.body)
	}
	if r := c.post(url, map[string]any{"status": "deactivated"}); r.status != 200 {
		t.Errorf("deactivate: %d %s", r.status, r.body)
	}
	for path, payload := range map[string]any{url: nil, "/new-order": map[string]any{"identifiers": identifiers("a.acme.internal")}} {
		if r := c.post(path, payload); r.status != 403 || r.problem() != "unauthorized" {
			t.Errorf("%s of a deactivated account: %d %s", path, r.status, r.body)
		}
	}
	c.kid = ""
	if r := post(map[string]any{"termsOfServiceAgreed": true}); r.problem() != "unauthorized" {
		t.Errorf("a deactivated account comes back: %d %s", r.status, r.body)
	}
}

// TestParallelAccounts has 16 requests with one new key: one account.
func TestParallelAccounts(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	urls := make([]string, 16)
	created := make([]int, 16)
	var wg sync.WaitGroup
	for i := range urls {
		wg.Go(func() {
			r := c.post("/new-account", map[string]any{})
			urls[i], created[i] = r.header.Get("Location"), r.status
		})
	}
	wg.Wait()
	n := 0
	for i, url := range urls {
		if url != urls[0] || url == "" {
			t.Errorf("two accounts: %s %s", url, urls[0])
		}
		if created[i] == http.StatusCreated {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d were told that they have made it", n)
	}
}

// roll is the payload of a key change: the inner JWS, with a change.
func (c *client) roll(fresh *client, change func(header, payload map[string]any)) map[string]any {
	header := map[string]any{"alg": "ES256", "jwk": fresh.jwk(), "url": c.url("/key-change")}
	payload := map[string]any{"account": c.kid, "oldKey": c.jwk()}
	if change != nil {
		change(header, payload)
	}
	text, err := json.Marshal(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return fresh.jws(header, string(text))
}

func TestKeyChange(t *testing.T) {
	w := newWorld(t)
	c, other := w.registered(t), w.registered(t)
	fresh := w.client(t)
	for name, change := range map[string]func(h, p map[string]any){
		"another account": func(_, p map[string]any) { p["account"] = other.kid },
		"another old key": func(_, p map[string]any) { p["oldKey"] = other.jwk() },
		"another url":     func(h, _ map[string]any) { h["url"] = c.url("/new-order") },
		"kid":             func(h, _ map[string]any) { h["kid"] = c.kid },
		"the old key":     func(h, _ map[string]any) { h["jwk"] = c.jwk() },
	} {
		if r := c.post("/key-change", c.roll(fresh, change)); r.problem() != "malformed" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := c.post("/key-change", c.roll(other, nil)); r.status != 409 || r.header.Get("Location") != other.kid {
		t.Errorf("a key that another account has: %d %s", r.status, r.header)
	}
	o := c.order(w.name("a.acme.internal"))
	if r := c.post("/key-change", c.roll(fresh, nil)); r.status != 200 || r.header.Get("Location") != c.kid {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := c.post(c.kid, nil); r.status == 200 {
		t.Errorf("the old key lives: %s", r.body)
	}
	fresh.kid = c.kid
	if z := fresh.prove(o.Authorizations[0]); z.Status != "valid" {
		t.Errorf("the new key cannot go on with the order: %s", z.Status)
	}
}

// TestParallelKeyChange has 8 key changes from one key: one wins.
func TestParallelKeyChange(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	fresh := make([]*client, 8)
	results := make([]reply, len(fresh))
	var wg sync.WaitGroup
	for i := range fresh {
		fresh[i] = w.client(t)
		wg.Go(func() { results[i] = c.post("/key-change", c.roll(fresh[i], nil)) })
	}
	wg.Wait()
	won := -1
	for i, r := range results {
		if r.status == 200 {
			if won >= 0 {
				t.Error("two have won")
			}
			won = i
		} else if r.status >= 500 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if won < 0 {
		t.Fatal("nobody has won")
	}
	fresh[won].kid = c.kid
	if r := fresh[won].post(c.kid, nil); r.status != 200 {
		t.Errorf("the winner's key is not the account's: %s", r.body)
	}
	if r := c.post(c.kid, nil); r.status == 200 {
		t.Error("the old key lives")
	}
}

// binding is an external account binding, with a change.
func (c *client) binding(id, secret string, change func(header map[string]any, m map[string]any)) map[string]any {
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		c.t.Fatal(err)
	}
	payload, err := json.Marshal(c.jwk())
	if err != nil {
		c.t.Fatal(err)
	}
	header := map[string]any{"alg": "HS256", "kid": id, "url": c.url("/new-account")}
	m := map[string]any{"payload": b64(payload)}
	if change != nil {
		change(header, m)
	}
	protected, err := json.Marshal(header)
	if err != nil {
		c.t.Fatal(err)
	}
	m["protected"] = b64(protected)
	mac := hmac.New(sha256.New, key)
	mac.Write(fmt.Appendf(nil, "%s.%s", m["protected"], m["payload"]))
	m["signature"] = b64(mac.Sum(nil))
	return m
}

func TestEAB(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.EAB = acme.EABRequired })
	ctx := t.Context()
	key, secret, err := w.server.CreateEAB(ctx, enrol.EABSpec{Name: "team-a", Owner: "team-a", Uses: 1, TTL: time.Hour, Creator: "local_socket:admin"})
	w.must(err)
	c := w.client(t)
	join := func(c *client, b any) reply {
		return c.post("/new-account", map[string]any{"externalAccountBinding": b})
	}
	if r := c.post("/new-account", map[string]any{}); r.problem() != "externalAccountRequired" {
		t.Errorf("without: %d %s", r.status, r.body)
	}
	other := w.client(t)
	for name, test := range map[string]struct {
		binding any
		want    string
	}{
		"another key":  {c.binding(key.ID, b64(make([]byte, 32)), nil), "unauthorized"},
		"unknown kid":  {c.binding("000000000000000000000000", secret, nil), "unauthorized"},
		"another url":  {c.binding(key.ID, secret, func(h, _ map[string]any) { h["url"] = c.url("/new-order") }), "malformed"},
		"another alg":  {c.binding(key.ID, secret, func(h, _ map[string]any) { h["alg"] = "HS512" }), "badSignatureAlgorithm"},
		"a nonce":      {c.binding(key.ID, secret, func(h, _ map[string]any) { h["nonce"] = "AAAA" }), "malformed"},
		"another jwk":  {other.binding(key.ID, secret, nil), "malformed"},
		"no jwk":       {c.binding(key.ID, secret, func(_, m map[string]any) { m["payload"] = "" }), "malformed"},
		"not a JWS":    {"x", "malformed"},
		"no signature": {map[string]any{"protected": "", "payload": ""}, "malformed"},
	} {
		if r := join(c, test.binding); r.problem() != test.want {
			t.Errorf("%s: %d %s, want %s", name, r.status, r.body, test.want)
		}
	}

	// One use: of 8 at a time one account is made.
	clients := make([]*client, 8)
	results := make([]reply, len(clients))
	var wg sync.WaitGroup
	for i := range clients {
		clients[i] = w.client(t)
		wg.Go(func() { results[i] = join(clients[i], clients[i].binding(key.ID, secret, nil)) })
	}
	wg.Wait()
	var bound *client
	for i, r := range results {
		switch {
		case r.status == 201 && bound == nil:
			bound = clients[i]
			bound.kid = r.header.Get("Location")
		case r.problem() != "unauthorized":
			t.Errorf("%d: %d %s", i, r.status, r.body)
		}
	}
	if bound == nil {
		t.Fatal("no account was made")
	}

	// Its grant asks for no challenge.
	o := bound.order("x.team-a.internal")
	if o.Status != "ready" || o.Profile != "private" {
		t.Fatalf("%+v", o)
	}
	if r := bound.finalize(o, newKey(t), "x.team-a.internal"); r.status != 200 {
		t.Fatalf("finalize: %d %s", r.status, r.body)
	}
	if r := bound.post("/new-order", map[string]any{"identifiers": identifiers("x.team-b.internal")}); r.problem() != "rejectedIdentifier" {
		t.Errorf("another team's name: %s", r.body)
	}
	page, _, err := w.server.EABKeys(ctx, nil, 10)
	w.must(err)
	if len(page) != 1 || page[0].Used != 1 || page[0].State(time.Now()) != enrol.EABUsedUp {
		t.Errorf("%+v", page)
	}
	revoked, err := w.server.RevokeEAB(ctx, key.ID, "local_socket:admin")
	w.must(err)
	if !revoked.Disabled {
		t.Error("not revoked")
	}
	w.ledgerHas("eab-created", "created", "eab-revoked")
}

// ledgerHas checks that the ledger has events of accounts in this order, and no
// contact in clear.
func (w *world) ledgerHas(events ...string) {
	w.t.Helper()
	raw, err := w.store.Entries(w.t.Context(), 0, 1000)
	w.must(err)
	var got []string
	for _, data := range raw {
		e, err := entry.Parse(data)
		w.must(err)
		if e.Kind != entry.AccountEvent {
			continue
		}
		a, err := entry.ParseAccountEvent(e.Draft)
		w.must(err)
		got = append(got, a.Event)
	}
	if fmt.Sprint(got) != fmt.Sprint(events) {
		w.t.Errorf("the ledger has %v, want %v", got, events)
	}
}

// TestSealedEAB has secrets encrypted in the store; a server with another key for
// that takes none of them.
func TestSealedEAB(t *testing.T) {
	sealer := func(b byte) cipher.AEAD {
		block, err := aes.NewCipher(bytes.Repeat([]byte{b}, 32))
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			t.Fatal(err)
		}
		return aead
	}
	w := newWorld(t, func(c *acme.Config) { c.Seal, c.Logger = sealer(1), slog.New(slog.DiscardHandler) })
	key, secret, err := w.server.CreateEAB(t.Context(), specNamed("team-a"))
	w.must(err)
	stored, err := w.store.Record(t.Context(), "acme-eab", key.ID)
	w.must(err)
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	w.must(err)
	if bytes.Contains(stored.Body, raw) || bytes.Contains(stored.Body, []byte(base64.StdEncoding.EncodeToString(raw))) {
		t.Error("the secret stands in the store")
	}
	join := func() int {
		c := w.client(t)
		return c.post("/new-account", map[string]any{"externalAccountBinding": c.binding(key.ID, secret, nil)}).status
	}
	if status := join(); status != http.StatusCreated {
		t.Errorf("%d", status)
	}
	w.config.Seal = sealer(2)
	w.restart()
	if status := join(); status != http.StatusForbidden {
		t.Errorf("with another key: %d", status)
	}
}

// TestBound has an EAB key carry a grant of its own.
func TestBound(t *testing.T) {
	w := newWorld(t)
	spec := enrol.EABSpec{
		Name: "boxes", Owner: "ops", Creator: "local_socket:admin",
		Bound: &identity.Bound{Profiles: []string{"server"}, Allow: identity.Names{DNS: []string{"*.boxes.internal"}}},
	}
	key, secret, err := w.server.CreateEAB(t.Context(), spec)
	w.must(err)
	c := w.client(t)
	r := c.post("/new-account", map[string]any{"externalAccountBinding": c.binding(key.ID, secret, nil)})
	if r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c.kid = r.header.Get("Location")
	if r := c.post("/new-order", map[string]any{"identifiers": identifiers("a.acme.internal")}); r.problem() != "rejectedIdentifier" {
		t.Errorf("a name of another grant: %s", r.body)
	}
	c.issue("a.boxes.internal")
	for _, bad := range []enrol.EABSpec{{}, {Name: "a b"}, {Name: "a", Owner: "\n"}, {Name: "a", TTL: -1}, {Name: "a", Owner: "x", Bound: &identity.Bound{}}} {
		if _, _, err := w.server.CreateEAB(t.Context(), bad); problem.KindOf(err) != problem.Malformed {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestAdmin(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.registered(t)
	c.issue("a.acme.internal")
	accounts, next, err := w.server.Accounts(ctx, nil, 10)
	w.must(err)
	if len(accounts) != 1 || next != nil {
		t.Fatalf("%+v", accounts)
	}
	orders, _, err := w.server.Orders(ctx, accounts[0].ID, nil, 10)
	w.must(err)
	if len(orders) != 1 || orders[0].RequestKey == nil {
		t.Fatalf("%+v", orders)
	}
	o, err := w.server.OrderOf(ctx, *orders[0].RequestKey)
	w.must(err)
	if o.Status != "valid" || len(o.Authorizations) != 1 || len(o.Authorizations[0].Challenges[0].Hops) == 0 {
		t.Errorf("%+v", o)
	}
	if _, err := w.server.Order(ctx, "000000000000000000000000"); problem.KindOf(err) != problem.NotFound {
		t.Error(err)
	}
	if _, err := w.server.Account(ctx, "../x"); problem.KindOf(err) != problem.NotFound {
		t.Error(err)
	}
	a, err := w.server.DeactivateAccount(ctx, accounts[0].ID, "local_socket:admin")
	w.must(err)
	if a.Status != "deactivated" {
		t.Error(a.Status)
	}
	if r := c.post(c.kid, nil); r.problem() != "unauthorized" {
		t.Errorf("%s", r.body)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *acme.Config) { c.Limits = acme.Limits{Accounts: 2, Orders: 4, OrdersPerName: 2, Failures: 1} })
	c := w.registered(t)
	limited := func(r reply) {
		t.Helper()
		if r.status != 429 || r.problem() != "rateLimited" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	order := func(name string) reply { return c.post("/new-order", map[string]any{"identifiers": identifiers(name)}) }
	w.name("a.acme.internal")
	o, early := c.order("a.acme.internal"), c.order("a.acme.internal")
	z := c.authz(o.Authorizations[0])
	c.post(z.Challenges[0].URL, map[string]any{})
	c.settled(o.Authorizations[0])
	limited(order("a.acme.internal")) // after a failed validation
	second := c.authz(early.Authorizations[0])
	limited(c.post(second.Challenges[0].URL, map[string]any{})) // also for an order that was made before
	if second = c.authz(early.Authorizations[0]); second.Status != "pending" || second.Challenges[0].Status != "pending" {
		t.Errorf("%+v", second)
	}
	c.order("b.acme.internal")
	limited(order("d.acme.internal")) // the account's orders
	w.registered(t)
	limited(w.client(t).post("/new-account", map[string]any{}))
}
