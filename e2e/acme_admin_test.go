package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/acme"
)

// adminWorld is a server with one client, for what admins do about ACME.
type adminWorld struct {
	*acmeWorld
	r *responder
}

// TestACMEAdmin does at the command line what admins do about accounts, keys,
// orders and windows, and sees what the clients make of it.
func TestACMEAdmin(t *testing.T) {
	w := &adminWorld{acmeWorld: newACMEWorld(t)}
	w.startACME()
	w.r = newResponder(t, w.acmeWorld, w.address("admin"), "")
	for _, each := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"explain", w.explain}, {"explain what failed", w.explainFailed}, {"deactivate", w.deactivate}, {"EAB keys end", w.endOfEAB},
		{"no challenges", w.noChallenges}, {"replace-by", w.replaceBy}, {"dns-01 follows a CNAME", w.alias},
		{"dns-account-01", w.dnsAccount}, {"dns-persist-01", w.dnsPersist},
	} {
		t.Run(each.name, each.do)
	}
	w.compareACME(t)
}

// account is a client with a new account.
func (w *adminWorld) account(t *testing.T, eab *acme.ExternalAccountBinding) (*acme.Client, string, error) {
	t.Helper()
	c := &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client(), RetryBackoff: briefly}
	a, err := c.Register(t.Context(), &acme.Account{ExternalAccountBinding: eab}, acme.AcceptTOS)
	if err != nil {
		return nil, "", err
	}
	return c, a.URI[strings.LastIndexByte(a.URI, '/')+1:], nil
}

func (w *adminWorld) say(t *testing.T, args ...string) string {
	t.Helper()
	r := w.run(t.TempDir(), args...)
	if r.code != 0 {
		t.Fatalf("certwright %s: exit %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func (w *adminWorld) obtain(t *testing.T, c *acme.Client, owner, kind, name string) string {
	t.Helper()
	chain, err := obtainX(t.Context(), c, w.r, newKey(t), kind, name)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.logTail())
	}
	w.received(t, "admin", kind, owner, chain, name)
	return chain
}

func (w *adminWorld) explain(t *testing.T) {
	c, id, err := w.account(t, nil)
	check(t, err)
	chain := w.obtain(t, c, openOwner, "http-01", "explain.admin.internal")
	serial := fmt.Sprintf("%032x", leafOf(t, chain).SerialNumber)
	story := w.say(t, "cert", "explain", serial)
	contains(t, story, id, "dns:explain.admin.internal", "http-01", "port "+w.httpPort+" at 127.77.1.1", serial, "acme-open", openOwner, "Ledger index")
	var order struct{ ID, LedgerIndex string }
	check(t, json.Unmarshal([]byte(w.say(t, "cert", "explain", serial, "-o", "json")), &order))
	contains(t, w.say(t, "cert", "explain", order.ID), serial)
	contains(t, w.say(t, "ledger", "show", order.LedgerIndex), "explain.admin.internal")
	contains(t, w.say(t, "account", "show", id), id, "valid")
}

func (w *adminWorld) explainFailed(t *testing.T) {
	c, _, err := w.account(t, nil)
	check(t, err)
	order, err := c.AuthorizeOrder(t.Context(), acme.DomainIDs("failed.admin.internal"))
	check(t, err)
	authz, err := c.GetAuthorization(t.Context(), order.AuthzURLs[0])
	check(t, err)
	for _, challenge := range authz.Challenges {
		if challenge.Type == "http-01" {
			_, err = c.Accept(t.Context(), challenge)
			check(t, err)
		}
	}
	if _, err := c.WaitAuthorization(t.Context(), order.AuthzURLs[0]); err == nil {
		t.Fatal("the authorization is valid")
	}
	wants := []string{"failed.admin.internal", "127.77.1.1", "port " + w.httpPort, "status 404, expected 200"}
	contains(t, w.say(t, "cert", "explain", "--failed"), wants...)
	contains(t, w.say(t, "cert", "explain", order.URI), append(wants, "invalid", "http-01")...)
}

func (w *adminWorld) deactivate(t *testing.T) {
	c, id, err := w.account(t, nil)
	check(t, err)
	chain := w.obtain(t, c, openOwner, "http-01", "deactivate.admin.internal")
	contains(t, w.say(t, "account", "deactivate", id, "--dry-run"), "valid")
	contains(t, w.say(t, "account", "deactivate", id, "--yes"), "deactivated")
	_, err = c.AuthorizeOrder(t.Context(), acme.DomainIDs("deactivate.admin.internal"))
	unauthorized(t, err)
	unauthorized(t, c.RevokeCert(t.Context(), nil, leafOf(t, chain).Raw, acme.CRLReasonSuperseded))
}

// unauthorized wants that ACME error.
func unauthorized(t *testing.T, err error) {
	t.Helper()
	var refused *acme.Error
	if !errors.As(err, &refused) || refused.ProblemType != "urn:ietf:params:acme:error:unauthorized" {
		t.Errorf("%v, want unauthorized", err)
	}
}

// binding is an EAB key made with these flags.
func (w *adminWorld) binding(t *testing.T, flags ...string) *acme.ExternalAccountBinding {
	t.Helper()
	id, key := w.createEAB(t, append([]string{"--owner", boundOwner, "--grant", "bound"}, flags...)...)
	secret, err := base64.RawURLEncoding.DecodeString(key)
	check(t, err)
	return &acme.ExternalAccountBinding{KID: id, Key: secret}
}

func (w *adminWorld) endOfEAB(t *testing.T) {
	used := w.binding(t, "--uses", "1")
	_, _, err := w.account(t, used)
	check(t, err)
	_, _, err = w.account(t, used)
	unauthorized(t, err)
	revoked := w.binding(t)
	w.say(t, "eab", "revoke", revoked.KID)
	_, _, err = w.account(t, revoked)
	unauthorized(t, err)
	wrong := w.binding(t)
	wrong.Key[0] ^= 1
	_, _, err = w.account(t, wrong)
	unauthorized(t, err)
	expired := w.binding(t, "--expires", "1s")
	if !eventually(10*time.Second, func() bool {
		return strings.Contains(w.say(t, "eab", "list", "--filter", "state = EXPIRED", "-o", "name"), expired.KID)
	}) {
		t.Fatal("the key does not expire")
	}
	_, _, err = w.account(t, expired)
	unauthorized(t, err)
}

// noChallenges has names by the EAB key's own grant alone, and others not at all.
func (w *adminWorld) noChallenges(t *testing.T) {
	id, key := w.createEAB(t, "--owner", "team-trusted", "--profile", "server", "--dns", "*.trusted.internal", "--no-challenges")
	secret, err := base64.RawURLEncoding.DecodeString(key)
	check(t, err)
	c, _, err := w.account(t, &acme.ExternalAccountBinding{KID: id, Key: secret})
	check(t, err)
	order, err := c.AuthorizeOrder(t.Context(), acme.DomainIDs("a.trusted.internal"))
	check(t, err)
	if order.Status != acme.StatusReady {
		t.Fatalf("the order is %s, want ready", order.Status)
	}
	chain := w.obtain(t, c, "team-trusted", "none", "b.trusted.internal")
	contains(t, w.say(t, "cert", "explain", fmt.Sprintf("%032x", leafOf(t, chain).SerialNumber)), "by the grant eab:"+id, "team-trusted")
	order, err = c.AuthorizeOrder(t.Context(), acme.DomainIDs("other.admin.internal"))
	if err == nil && order.Status == acme.StatusReady {
		t.Error("a name outside of the grant needs no challenge")
	}
}

// replaceBy pulls a window forward; the client sees it.
func (w *adminWorld) replaceBy(t *testing.T) {
	c, _, err := w.account(t, nil)
	check(t, err)
	leaf := leafOf(t, w.obtain(t, c, openOwner, "http-01", "replace.admin.internal"))
	client := &acmezacme.Client{Directory: w.directory, HTTPClient: w.client()}
	before, err := client.GetRenewalInfo(t.Context(), leaf)
	check(t, err)
	contains(t, w.say(t, "cert", "replace-by", `name:"replace.admin.internal"`, "--before", "12h", "--dry-run"), "replace.admin.internal")
	if r := w.run(t.TempDir(), "cert", "replace-by", `name:"replace.admin.internal"`, "--before", "12h"); r.code != 6 || !strings.Contains(r.stderr, "Selected: 1 certificate. Type 1 to go on") {
		t.Errorf("nobody answers: %d %s", r.code, r.stderr)
	}
	w.say(t, "cert", "replace-by", `name:"replace.admin.internal"`, "--before", "12h", "--explanation", "https://wiki.internal/7", "--yes")
	after, err := client.GetRenewalInfo(t.Context(), leaf)
	check(t, err)
	latest := time.Now().Add(12*time.Hour + time.Minute)
	if !after.SuggestedWindow.End.Before(latest) || !after.SuggestedWindow.End.Before(before.SuggestedWindow.Start) || after.ExplanationURL != "https://wiki.internal/7" {
		t.Errorf("the window was %+v and is %+v, %q", before.SuggestedWindow, after.SuggestedWindow, after.ExplanationURL)
	}
}

func (w *adminWorld) alias(t *testing.T) {
	w.zone.alias("_acme-challenge.alias.admin.internal", "elsewhere.admin.internal")
	c, _, err := w.account(t, nil)
	check(t, err)
	order, err := c.AuthorizeOrder(t.Context(), acme.DomainIDs("alias.admin.internal"))
	check(t, err)
	authz, err := c.GetAuthorization(t.Context(), order.AuthzURLs[0])
	check(t, err)
	for _, challenge := range authz.Challenges {
		if challenge.Type != "dns-01" {
			continue
		}
		value, err := c.DNS01ChallengeRecord(challenge.Token)
		check(t, err)
		w.zone.set("elsewhere.admin.internal", value)
		_, err = c.Accept(t.Context(), challenge)
		check(t, err)
	}
	if _, err := c.WaitAuthorization(t.Context(), order.AuthzURLs[0]); err != nil {
		t.Errorf("%v\n%s", err, w.logTail())
	}
}

// dnsSolver sets the record of dns-account-01 or dns-persist-01.
type dnsSolver struct {
	zone    *zone
	account *acmezacme.Account
}

func (s dnsSolver) Present(_ context.Context, c acmezacme.Challenge) error {
	if c.Type == "dns-account-01" {
		s.zone.set(c.DNSAccount01TXTRecordName(*s.account), c.DNS01KeyAuthorization())
		return nil
	}
	s.zone.set(c.DNSPersist01TXTRecordName(), c.DNSPersist01TXTRecordValue(*s.account, c.IssuerDomainNames[0], true))
	return nil
}

func (dnsSolver) CleanUp(context.Context, acmezacme.Challenge) error { return nil }

func (w *adminWorld) byRecord(t *testing.T, kind string, names ...string) {
	t.Helper()
	account := acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: newKey(t)}
	client := &acmez.Client{
		Client:           &acmezacme.Client{Directory: w.directory, HTTPClient: w.client()},
		ChallengeSolvers: map[string]acmez.Solver{kind: dnsSolver{w.zone, &account}},
	}
	var err error
	account, err = client.NewAccount(t.Context(), account)
	check(t, err)
	for _, name := range names {
		got, err := client.ObtainCertificateForSANs(t.Context(), account, newKey(t), []string{name})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.logTail())
		}
		w.received(t, "admin", kind, openOwner, string(got[0].ChainPEM), name)
	}
}

func (w *adminWorld) dnsAccount(t *testing.T) {
	w.byRecord(t, "dns-account-01", "account.admin.internal", "*.account.admin.internal")
}

func (w *adminWorld) dnsPersist(t *testing.T) {
	w.byRecord(t, "dns-persist-01", "persist.admin.internal", "*.persist.admin.internal")
}
