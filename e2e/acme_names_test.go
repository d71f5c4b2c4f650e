package e2e

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/acme"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// maxOrderNames is how many names the orders of these tests have at most.
const maxOrderNames = 6

// namesFor are n names of which the k-th (from 0) lies below a label of its own;
// k -1: none.
func namesFor(label string, n, k int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.names.internal", i)
		if i == k {
			names[i] = fmt.Sprintf("n%d.%s.internal", i, label)
		}
	}
	return names
}

// TestACMEEachName forbids the k-th of N names, for every k and N, at each place
// where a name can be forbidden: no such order leads to a certificate.
func TestACMEEachName(t *testing.T) {
	w := newACMEWorld(t)
	w.limits = noLimits
	w.startACME()
	r := newResponder(t, w, w.address("names"), "")
	for _, label := range []string{"forbidden", "later", "absent"} {
		w.zone.host(label, w.zone.hosts["names"].String())
	}
	client := &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client(), RetryBackoff: briefly}
	_, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
	check(t, err)
	e := &eachName{w, client, r}
	t.Run("none is forbidden", func(t *testing.T) { e.control(t) })
	t.Run("the policy forbids it at newOrder", func(t *testing.T) { eachPlace(t, 1, e.atNewOrder) })
	t.Run("its challenge fails", func(t *testing.T) { eachPlace(t, 2, e.unproven) })
	t.Run("its authorization is deactivated", func(t *testing.T) { eachPlace(t, 1, e.deactivated) })
	t.Run("the CSR leaves it out, or has another", func(t *testing.T) { eachPlace(t, 1, e.otherCSR) })
	t.Run("the policy forbids it before finalize", func(t *testing.T) { e.policyLater(t) })
	list := listAll(t.Context(), t, certwrightv1.NewCertificateServiceClient(w.socket()), "")
	issued := 0
	for _, c := range list {
		if strings.HasPrefix(c.GetRequester(), "acme:") {
			issued++
		}
	}
	if issued != maxOrderNames { // the control's
		t.Errorf("%d certificates were issued, want those %d of the control", issued, maxOrderNames)
	}
}

// eachPlace calls do for every k of every N.
func eachPlace(t *testing.T, from int, do func(t *testing.T, n, k int)) {
	for n := from; n <= maxOrderNames; n++ {
		for k := range n {
			do(t, n, k)
		}
	}
}

type eachName struct {
	w      *acmeWorld
	client *acme.Client
	r      *responder
}

// control shows that the same orders succeed when no name is forbidden.
func (e *eachName) control(t *testing.T) {
	for n := 1; n <= maxOrderNames; n++ {
		chain, err := obtainX(t.Context(), e.client, e.r, newKey(t), "http-01", namesFor("", n, -1)...)
		check(t, err)
		e.w.received(t, "names", "control", openOwner, chain, namesFor("", n, -1)...)
	}
}

func (e *eachName) atNewOrder(t *testing.T, n, k int) {
	names := namesFor("forbidden", n, k)
	_, err := e.client.AuthorizeOrder(t.Context(), acme.DomainIDs(names...))
	var refused *acme.Error
	if !errors.As(err, &refused) || refused.ProblemType != "urn:ietf:params:acme:error:rejectedIdentifier" {
		t.Fatalf("%v: %v, want rejectedIdentifier", names, err)
	}
	if len(refused.Subproblems) != 1 || refused.Subproblems[0].Identifier == nil || refused.Subproblems[0].Identifier.Value != names[k] {
		t.Errorf("%v: the subproblems are %+v, want one for %s", names, refused.Subproblems, names[k])
	}
}

// order makes an order and proves all its names but those that skip says.
func (e *eachName) order(t *testing.T, names []string, skip string) *acme.Order {
	t.Helper()
	order, err := e.client.AuthorizeOrder(t.Context(), acme.DomainIDs(names...))
	check(t, err)
	for _, url := range order.AuthzURLs {
		authz, err := e.client.GetAuthorization(t.Context(), url)
		check(t, err)
		if authz.Identifier.Value != skip {
			check(t, prove(t.Context(), e.client, e.r, url, "http-01"))
		}
	}
	return order
}

// refusedFinalize wants finalize to be refused, and no certificate.
func (e *eachName) refusedFinalize(t *testing.T, order *acme.Order, names []string) {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, newKey(t))
	check(t, err)
	_, _, err = e.client.CreateOrderCert(t.Context(), order.FinalizeURL, csr, false)
	var refused *acme.Error
	if !errors.As(err, &refused) || refused.StatusCode < 400 || refused.StatusCode >= 500 {
		t.Errorf("finalize for %v: %v, want a refusal", names, err)
	}
	after, err := e.client.GetOrder(t.Context(), order.URI)
	check(t, err)
	if after.Status == acme.StatusValid || after.CertURL != "" {
		t.Errorf("the order for %v is %s", names, after.Status)
	}
}

// unproven answers all challenges but the k-th, whose challenge fails.
func (e *eachName) unproven(t *testing.T, n, k int) {
	names := namesFor(fmt.Sprintf("x%d%d.absent", n, k), n, k)
	order := e.order(t, names, names[k])
	for _, url := range order.AuthzURLs {
		authz, err := e.client.GetAuthorization(t.Context(), url)
		check(t, err)
		if authz.Identifier.Value != names[k] {
			continue
		}
		e.refusedFinalize(t, order, names) // pending yet
		i := slices.IndexFunc(authz.Challenges, func(c *acme.Challenge) bool { return c.Type == "http-01" })
		_, err = e.client.Accept(t.Context(), authz.Challenges[i]) // nobody serves its token
		check(t, err)
		if _, err = e.client.WaitAuthorization(t.Context(), url); err == nil {
			t.Errorf("the authorization for %s is valid", names[k])
		}
	}
	e.refusedFinalize(t, order, names)
}

// deactivated proves all names, and deactivates the k-th.
func (e *eachName) deactivated(t *testing.T, n, k int) {
	names := namesFor("names", n, k)
	names[k] = fmt.Sprintf("d%d-%d.names.internal", n, k)
	order := e.order(t, names, "")
	for _, url := range order.AuthzURLs {
		authz, err := e.client.GetAuthorization(t.Context(), url)
		check(t, err)
		if authz.Identifier.Value == names[k] {
			check(t, e.client.RevokeAuthorization(t.Context(), url))
		}
	}
	e.refusedFinalize(t, order, names)
}

// otherCSR asks at finalize for one name less, for another, and for one more.
func (e *eachName) otherCSR(t *testing.T, n, k int) {
	names := namesFor("", n, -1)
	order := e.order(t, names, "")
	other := slices.Clone(names)
	other[k] = "stranger.names.internal"
	for _, csr := range [][]string{slices.Delete(slices.Clone(names), k, k+1), other, append(slices.Clone(names), other[k])} {
		e.refusedFinalize(t, order, csr)
	}
}

// policyLater activates a policy that forbids the k-th name when the order is
// ready.
func (e *eachName) policyLater(t *testing.T) {
	const n = 4
	folder := filepath.Dir(e.w.data)
	apply := func(name, text string) {
		file := filepath.Join(folder, name)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		if r := e.w.run(folder, "policy", "apply", file, "--yes"); r.code != 0 {
			t.Fatal(r.stderr)
		}
	}
	for k := range n {
		names := namesFor("later", n, k)
		order := e.order(t, names, "")
		apply("later.yaml", strings.Replace(acmePolicy, `"*.forbidden.internal"`, `"*.forbidden.internal", "*.later.internal"`, 1))
		e.refusedFinalize(t, order, names)
		apply("before.yaml", acmePolicy)
	}
}
