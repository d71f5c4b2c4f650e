package acme_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/storage"
)

// certificates counts what was issued.
func (w *world) certificates() int {
	w.t.Helper()
	page, err := w.store.Certificates(w.t.Context(), storage.Query{Order: storage.ByIndex, Limit: 1000})
	w.must(err)
	n := 0
	for _, c := range page.Certificates {
		if c.State == storage.Issued {
			n++
		}
	}
	return n
}

// TestParallelFinalize has 64 finalizes of one order at a time: one certificate.
func TestParallelFinalize(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.ready("a.acme.internal", "b.acme.internal")
	key, other := newKey(t), newKey(t)
	csr, foreign := csrOf(t, key, "a.acme.internal", "b.acme.internal"), csrOf(t, other, "a.acme.internal", "b.acme.internal")
	results := make([]reply, 64)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			use := csr
			if i%4 == 3 {
				use = foreign
			}
			results[i] = c.post(o.Finalize, map[string]any{"csr": use})
		})
	}
	wg.Wait()
	if n := w.certificates(); n != 1 {
		t.Fatalf("%d certificates", n)
	}
	good := map[int]int{}
	for i, r := range results {
		switch {
		case r.status == 200 && r.header.Get("Location") == o.url:
			var v orderView
			r.into(t, &v)
			if v.Status != "valid" || v.Certificate == "" {
				t.Errorf("%d: %s", i, r.body)
			}
			good[i%4/3]++
		case r.problem() == "orderNotReady":
		default:
			t.Errorf("%d: %d %s", i, r.status, r.body)
		}
	}
	if good[0] > 0 && good[1] > 0 || good[0]+good[1] == 0 {
		t.Errorf("answers with a certificate, by key: %v", good)
	}
	if r := c.post(c.getOrder(o.url).Certificate, nil); r.header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("certificate: %d %v", r.status, r.header)
	}
}

// TestEveryName forbids each name of an order in turn: at the order, at the
// validation, and after it.
func TestEveryName(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	names := []string{"n0.acme.internal", "n1.acme.internal", "n2.acme.internal", "n3.acme.internal"}
	for k := range names {
		bad := append([]string{}, names...)
		bad[k] = "forbidden.acme.internal"
		r := c.post("/new-order", map[string]any{"identifiers": identifiers(bad...)})
		var doc acme.Document
		r.into(t, &doc)
		if r.problem() != "rejectedIdentifier" || len(doc.Subproblems) != 1 || doc.Subproblems[0].Identifier.Value != bad[k] {
			t.Errorf("%d: %s", k, r.body)
		}
		unproven := append([]string{}, names...)
		unproven[k] = fmt.Sprintf("unproven%d.acme.internal", k)
		for _, name := range unproven {
			w.name(name)
		}
		o := c.order(unproven...)
		for _, url := range o.Authorizations {
			z := c.authz(url)
			if z.Identifier.Value != unproven[k] && z.Status == "pending" {
				c.prove(url)
			}
		}
		if r := c.finalize(o, newKey(t), unproven...); r.problem() != "orderNotReady" || r.status != 403 {
			t.Errorf("%d: finalize: %d %s", k, r.status, r.body)
		}
		o = c.ready(names...)
		if r := c.post(o.Authorizations[k], map[string]any{"status": "deactivated"}); r.status != 200 {
			t.Errorf("%d: deactivate: %d %s", k, r.status, r.body)
		}
		if r := c.finalize(o, newKey(t), names...); r.problem() != "orderNotReady" || !strings.Contains(string(r.body), names[k]) {
			t.Errorf("%d: finalize: %d %s", k, r.status, r.body)
		}
	}
	if n := w.certificates(); n != 0 {
		t.Errorf("%d certificates", n)
	}
}

func TestNewOrder(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	post := func(payload string) reply { return c.send("/new-order", c.jws(c.header("/new-order"), payload)) }
	dns := func(value string) string {
		text, _ := json.Marshal(value)
		return fmt.Sprintf(`{"identifiers":[{"type":"dns","value":%s}]}`, text)
	}
	for payload, want := range map[string]string{
		`{}`:                   "malformed",
		`{"identifiers":[]}`:   "malformed",
		`{"identifiers":null}`: "malformed",
		`{"identifiers":[{"type":"uri","value":"spiffe://a/b"}]}`:                 "unsupportedIdentifier",
		`{"identifiers":[{"type":"","value":"a.acme.internal"}]}`:                 "unsupportedIdentifier",
		`{"identifiers":[{"type":"uri","value":"x"},{"type":"dns","value":"*"}]}`: "compound",
		dns(""):                                                 "rejectedIdentifier",
		dns("a.acme.internal."):                                 "rejectedIdentifier",
		dns("a..acme.internal"):                                 "rejectedIdentifier",
		dns("a.*.acme.internal"):                                "rejectedIdentifier",
		dns("*.*.acme.internal"):                                "rejectedIdentifier",
		dns("127.0.0.1"):                                        "rejectedIdentifier",
		dns("a_b.acme.internal"):                                "rejectedIdentifier",
		dns("bücher.acme.internal"):                             "rejectedIdentifier",
		dns("a.acme.internal\x00.evil"):                         "rejectedIdentifier",
		dns(strings.Repeat("a", 64) + ".acme.internal"):         "rejectedIdentifier",
		dns(strings.Repeat("a.", 2000)):                         "rejectedIdentifier",
		dns("elsewhere.example"):                                "rejectedIdentifier",
		`{"identifiers":[{"type":"ip","value":"10.0.0.1"}]}`:    "rejectedIdentifier",
		`{"identifiers":[{"type":"ip","value":"127.0.0.1/8"}]}`: "rejectedIdentifier",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"profile":"none"}`:                                                        "invalidProfile",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"profile":"private"}`:                                                     "invalidProfile",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"notAfter":"2000-01-01T00:00:00Z"}`:                                       "malformed",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"notAfter":"2999-01-01T00:00:00Z"}`:                                       "malformed",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"notBefore":"yesterday"}`:                                                 "malformed",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"replaces":"x"}`:                                                          "malformed",
		`{"identifiers":[{"type":"dns","value":"a.acme.internal"}],"replaces":"AAAA.AAAA"}`:                                                  "malformed",
		`{"identifiers":[` + strings.Repeat(`{"type":"dns","value":"a.acme.internal"},`, 300) + `{"type":"dns","value":"a.acme.internal"}]}`: "malformed",
	} {
		if r := post(payload); r.problem() != want || r.status >= 500 {
			t.Errorf("%.100s: %d %s, want %s", payload, r.status, r.body, want)
		}
	}
	w.name("a.acme.internal")
	o := c.order("A.Acme.Internal", "a.acme.internal", "127.0.0.1", "a.acme.internal")
	if len(o.Identifiers) != 2 || len(o.Authorizations) != 2 || o.Profile != "server" {
		t.Errorf("duplicates are not merged: %+v", o)
	}
	o = c.order("*.a.acme.internal")
	if z := c.authz(o.Authorizations[0]); !z.Wildcard || z.Identifier.Value != "a.acme.internal" || len(z.Challenges) == 0 {
		t.Errorf("wildcard: %+v", z)
	} else {
		for _, ch := range z.Challenges {
			if !strings.HasPrefix(ch.Type, "dns-") {
				t.Errorf("a wildcard is offered %s", ch.Type)
			}
			if (ch.Token == "") != (ch.Type == "dns-persist-01") {
				t.Errorf("%s has the token %q", ch.Type, ch.Token)
			}
		}
		if last := z.Challenges[len(z.Challenges)-1].Type; last != "dns-persist-01" {
			t.Errorf("the last challenge is %s", last)
		}
	}
}

// TestCSR tries CSRs that do not say what the order says.
func TestCSR(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.ready("a.acme.internal", "b.acme.internal")
	key := newKey(t)
	names := []string{"a.acme.internal", "b.acme.internal"}
	for name, csr := range map[string]string{
		"one name less":     csrOf(t, key, names[0]),
		"one name more":     csrOf(t, key, names[0], names[1], "c.acme.internal"),
		"another name":      csrOf(t, key, names[0], "c.acme.internal"),
		"an IP address too": csrOf(t, key, names[0], names[1], "127.0.0.1"),
		"the account's key": csrOf(t, c.key, names...),
		"no CSR":            b64([]byte("0")),
		"PEM":               b64([]byte("-----BEGIN CERTIFICATE REQUEST-----")),
	} {
		if r := c.post(o.Finalize, map[string]any{"csr": csr}); r.problem() != "badCSR" || r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, csr := range map[string]any{"empty": "", "not base64url": "a+b", "a number": 1, "padded": csrOf(t, key, names...) + "="} {
		if r := c.post(o.Finalize, map[string]any{"csr": csr}); r.problem() != "malformed" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if o := c.getOrder(o.url); o.Status != "ready" {
		t.Errorf("the order is %s", o.Status)
	}
	if r := c.finalize(o, key, names...); r.status != 200 {
		t.Errorf("finalize: %d %s", r.status, r.body)
	}
	if r := c.finalize(o, key, names...); r.status != 200 {
		t.Errorf("the same again: %d %s", r.status, r.body)
	}
	if r := c.finalize(o, newKey(t), names...); r.problem() != "orderNotReady" {
		t.Errorf("with another key: %d %s", r.status, r.body)
	}
}

// TestForeign has one account ask for what is another's.
func TestForeign(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.registered(t), w.registered(t)
	o := alice.ready("a.acme.internal")
	key := newKey(t)
	z := alice.authz(o.Authorizations[0])
	try := func(path string, payload any) {
		t.Helper()
		if r := bob.post(path, payload); r.status != 403 || r.problem() != "unauthorized" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	try(o.url, nil)
	try(o.Finalize, map[string]any{"csr": csrOf(t, key, "a.acme.internal")})
	try(o.Authorizations[0], nil)
	try(o.Authorizations[0], map[string]any{"status": "deactivated"})
	try(z.Challenges[0].URL, map[string]any{})
	try(alice.kid, nil)
	try(alice.kid, map[string]any{"status": "deactivated"})
	try(alice.kid+"/orders", nil)
	r := alice.finalize(o, key, "a.acme.internal")
	r.into(t, &o)
	try(o.Certificate, nil)
	block, _ := pem.Decode(alice.post(o.Certificate, nil).body)
	try("/revoke-cert", map[string]any{"certificate": b64(block.Bytes)})
	if fresh := bob.order("a.acme.internal"); fresh.Status != "pending" {
		t.Errorf("an authorization is reused across accounts")
	}
}

// TestReuse has an authorization reused, and not once it is deactivated.
func TestReuse(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	first := c.ready("a.acme.internal")
	again := c.order("a.acme.internal")
	if again.Status != "ready" || again.Authorizations[0] != first.Authorizations[0] {
		t.Fatalf("not reused: %+v", again)
	}
	if wild := c.order("*.a.acme.internal"); wild.Status != "pending" {
		t.Error("reused for the wildcard")
	}
	if r := c.post(first.Authorizations[0], map[string]any{"status": "deactivated"}); r.status != 200 {
		t.Fatalf("deactivate: %d %s", r.status, r.body)
	}
	if o := c.getOrder(again.url); o.Status != "invalid" {
		t.Errorf("an order on a deactivated authorization is %s", o.Status)
	}
	if r := c.finalize(again, newKey(t), "a.acme.internal"); r.problem() != "orderNotReady" {
		t.Errorf("finalize: %d %s", r.status, r.body)
	}
	if o := c.order("a.acme.internal"); o.Status != "pending" {
		t.Errorf("reused after its deactivation")
	}
	if r := c.post("/new-authz", map[string]any{"identifier": identifiers("b.acme.internal")[0]}); r.status != 201 || r.header.Get("Location") == "" {
		t.Errorf("newAuthz: %d %s", r.status, r.body)
	} else {
		w.name("b.acme.internal")
		c.prove(r.header.Get("Location"))
		if o := c.order("b.acme.internal"); o.Status != "ready" {
			t.Errorf("the pre-authorization is not used")
		}
	}
	if r := c.post("/new-authz", map[string]any{"identifier": identifiers("*.b.acme.internal")[0]}); r.problem() != "malformed" {
		t.Errorf("newAuthz of a wildcard: %s", r.body)
	}
}

// TestFailedValidation has a challenge fail: the order says why.
func TestFailedValidation(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.order(w.name("a.acme.internal"))
	z := c.authz(o.Authorizations[0])
	if r := c.post(z.Challenges[0].URL, map[string]any{}); r.status != 200 || !strings.Contains(strings.Join(r.header.Values("Link"), " "), `rel="up"`) {
		t.Fatalf("challenge: %d %v", r.status, r.header)
	}
	if z = c.settled(o.Authorizations[0]); z.Status != "invalid" || len(z.Challenges) != 1 {
		t.Fatalf("authorization: %+v", z)
	}
	o = c.getOrder(o.url)
	if o.Status != "invalid" || o.Error == nil || !strings.Contains(o.Error.Detail, "127.0.0.1") || !strings.Contains(o.Error.Detail, "a.acme.internal") {
		t.Errorf("order: %+v %+v", o, o.Error)
	}
}

// TestRestart has the server end while challenges are in processing, and while a
// certificate is being signed.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	o := c.order(w.name("a.acme.internal"))
	z := c.authz(o.Authorizations[0])
	stopped := w.server
	w.stop()
	w.start()
	if w.server == stopped {
		t.Fatal("it is the same server")
	}
	w.present(z.Challenges[0].Token, c.keyAuthorization(z.Challenges[0].Token))
	if r := c.post(z.Challenges[0].URL, map[string]any{}); r.status != 200 {
		t.Fatalf("challenge: %d %s", r.status, r.body)
	}
	w.restart()
	if z = c.settled(o.Authorizations[0]); z.Status != "valid" {
		t.Fatalf("authorization is %s", z.Status)
	}

	died := errors.New("the server has died")
	w.mu.Lock()
	w.fault = func(p ca.Point) error {
		if p == ca.PointSigned {
			return died
		}
		return nil
	}
	w.mu.Unlock()
	body, err := json.Marshal(c.jws(c.header(o.Finalize), fmt.Sprintf(`{"csr":%q}`, csrOf(t, newKey(t), "a.acme.internal"))))
	w.must(err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.Finalize, strings.NewReader(string(body)))
	w.must(err)
	req.Header.Set("Content-Type", "application/jose+json")
	res, err := c.ht.Do(req)
	w.must(err)
	res.Body.Close()
	if got := c.getOrder(o.url); got.Status != "processing" {
		t.Fatalf("the order is %s", got.Status)
	}
	w.mu.Lock()
	w.fault = nil
	w.mu.Unlock()
	w.restart()
	if got := c.getOrder(o.url); got.Status != "invalid" || got.Error == nil {
		t.Errorf("the order of a dead server is %s", got.Status)
	}
	if again := c.order("a.acme.internal"); again.Status != "ready" {
		t.Errorf("the authorization is lost: %s", again.Status)
	} else if r := c.finalize(again, newKey(t), "a.acme.internal"); r.status != 200 {
		t.Errorf("finalize: %d %s", r.status, r.body)
	}
}

// TestOrders pages through the list of orders.
func TestOrders(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	w.name("a.acme.internal")
	for range 105 {
		c.order("a.acme.internal")
	}
	seen := map[string]bool{}
	pages := 0
	for next := c.kid + "/orders"; next != ""; pages++ {
		r := c.post(next, nil)
		var list struct{ Orders []string }
		r.into(t, &list)
		for _, url := range list.Orders {
			seen[url] = true
		}
		next = ""
		for _, link := range r.header.Values("Link") {
			if url, ok := strings.CutSuffix(link, `>;rel="next"`); ok {
				next = strings.TrimPrefix(url, "<")
			}
		}
	}
	if len(seen) != 105 || pages != 2 {
		t.Errorf("%d orders on %d pages", len(seen), pages)
	}
	if r := c.post(c.kid+"/orders?cursor=AAAA", nil); r.problem() != "malformed" {
		t.Errorf("cursor: %s", r.body)
	}
}

// TestValidity asks for a validity within the profile's: the certificate has it. One
// that the profile does not allow is refused when it is ordered, in part too.
func TestValidity(t *testing.T) {
	w := newWorld(t)
	c := w.registered(t)
	c.ready("a.acme.internal")
	from := time.Now().UTC().Truncate(time.Second)
	order := func(from, to time.Time) reply {
		return c.post("/new-order", map[string]any{"identifiers": identifiers("a.acme.internal"), "notBefore": from, "notAfter": to})
	}
	r := order(from, from.Add(48*time.Hour))
	var o orderView
	if r.into(t, &o); r.status != 201 || !strings.Contains(string(r.body), `"notAfter":"`+from.Add(48*time.Hour).Format(time.RFC3339)) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := c.finalize(o, newKey(t), "a.acme.internal"); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	} else {
		r.into(t, &o)
	}
	block, _ := pem.Decode(c.post(o.Certificate, nil).body)
	cert, err := x509.ParseCertificate(block.Bytes)
	w.must(err)
	if !cert.NotBefore.Equal(from) || !cert.NotAfter.Equal(from.Add(48*time.Hour)) {
		t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	for name, r := range map[string]reply{
		"longer than the profile": order(from, from.Add(2161*time.Hour)), "backdated": order(from.Add(-time.Hour), from.Add(time.Hour)),
		"ends before it begins": order(from, from.Add(-time.Second)), "long past": order(from.AddDate(-1, 0, 0), from.AddDate(-1, 0, 1)),
	} {
		if r.status != 400 || r.problem() != "malformed" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}
