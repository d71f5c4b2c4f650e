package e2e

import (
	"crypto"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
	"github.com/go-acme/lego/v4/lego"
	legolog "github.com/go-acme/lego/v4/log"
	"github.com/go-acme/lego/v4/registration"
)

// legoUser is lego's registration.User.
type legoUser struct {
	email        string
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (u *legoUser) GetEmail() string                        { return u.email }
func (u *legoUser) GetPrivateKey() crypto.PrivateKey        { return u.key }
func (u *legoUser) GetRegistration() *registration.Resource { return u.registration }

// legoDNS is lego's provider over the zone.
type legoDNS struct{ zone *zone }

func (p legoDNS) Present(domain, _, keyAuth string) error {
	p.zone.set(dnsName(domain), dnsValue(keyAuth))
	return nil
}

func (p legoDNS) CleanUp(domain, _, keyAuth string) error {
	p.zone.clear(dnsName(domain), dnsValue(keyAuth))
	return nil
}

// legoClient is a client of lego's that answers one type of challenge.
func legoClient(t *testing.T, w *acmeWorld, user *legoUser, kind, ip string) *lego.Client {
	t.Helper()
	config := lego.NewConfig(user)
	config.CADirURL, config.Certificate.KeyType = w.directory, certcrypto.EC256
	config.HTTPClient = w.client()
	c, err := lego.NewClient(config)
	check(t, err)
	switch challenge.Type(kind) {
	case challenge.HTTP01:
		err = c.Challenge.SetHTTP01Provider(http01.NewProviderServer(ip, w.httpPort))
	case challenge.TLSALPN01:
		err = c.Challenge.SetTLSALPN01Provider(tlsalpn01.NewProviderServer(ip, w.alpn))
	case challenge.DNS01:
		err = c.Challenge.SetDNS01Provider(legoDNS{w.zone}, dns01.AddRecursiveNameservers([]string{w.zone.addr}),
			dns01.DisableAuthoritativeNssPropagationRequirement(), dns01.WrapPreCheck(func(string, string, string, dns01.PreCheckFunc) (bool, error) { return true, nil }))
	}
	check(t, err)
	return c
}

// client is an HTTP client that trusts the server's root.
func (w *acmeWorld) client() *http.Client {
	return &http.Client{Timeout: clientPatience, Transport: &http.Transport{TLSClientConfig: tlsOf(w.roots()), MaxIdleConnsPerHost: 16}}
}

// legoCells are the library lego v4.
func legoCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "lego"
	legolog.Logger = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	user := &legoUser{email: me + "@ops.internal", key: newKey(t)}
	var first *certificate.Resource
	obtain := func(t *testing.T, user *legoUser, operation, owner, kind, name string) *certificate.Resource {
		t.Helper()
		got, err := legoClient(t, w, user, kind, ip).Certificate.Obtain(certificate.ObtainRequest{Domains: []string{name}, Bundle: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.logTail())
		}
		w.received(t, me, operation, owner, string(got.Certificate), name)
		return got
	}
	issue := func(operation, name, kind string) cell {
		return does(func(t *testing.T) { obtain(t, user, operation, openOwner, kind, name) })
	}
	return map[string]cell{
		"register": does(func(t *testing.T) {
			var err error
			user.registration, err = legoClient(t, w, user, "", ip).Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
			check(t, err)
			w.registered(t, me)
		}),
		"issue": does(func(t *testing.T) { first = obtain(t, user, "issue", openOwner, "http-01", "issue.lego.internal") }),
		"renew": does(func(t *testing.T) {
			c := legoClient(t, w, user, "http-01", ip)
			leaf := leafOf(t, string(first.Certificate))
			info, err := c.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: leaf})
			check(t, err)
			if start := info.SuggestedWindow.Start; !start.After(leaf.NotBefore) || !start.Before(leaf.NotAfter) {
				t.Errorf("the window begins at %v, the certificate is of %v to %v", start, leaf.NotBefore, leaf.NotAfter)
			}
			id, err := certificate.MakeARICertID(leaf)
			check(t, err)
			next, err := c.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"issue.lego.internal"}, Bundle: true, ReplacesCertID: id})
			check(t, err)
			w.received(t, me, "renew", openOwner, string(next.Certificate), "issue.lego.internal")
			different(t, string(first.Certificate), string(next.Certificate))
		}),
		"revoke": does(func(t *testing.T) {
			check(t, legoClient(t, w, user, "", ip).Certificate.Revoke(first.Certificate))
			w.revoked(t, string(first.Certificate))
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			bound := &legoUser{email: me + "@ops.internal", key: newKey(t)}
			var err error
			bound.registration, err = legoClient(t, w, bound, "", ip).Registration.RegisterWithExternalAccountBinding(
				registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: id, HmacEncoded: key})
			check(t, err)
			obtain(t, bound, "EAB", boundOwner, "http-01", "eab.lego.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.lego.internal", "dns-01"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.lego.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.lego.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", net.ParseIP(ip).String(), "tls-alpn-01"),
	}
}
