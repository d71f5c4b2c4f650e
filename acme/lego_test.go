package acme_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	legochallenge "github.com/go-acme/lego/v4/challenge"
	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/registration"
)

// legoUser is an account as lego keeps it.
type legoUser struct {
	key crypto.PrivateKey
	reg *registration.Resource
}

func (u *legoUser) GetEmail() string                        { return "admin@example.com" }
func (u *legoUser) GetRegistration() *registration.Resource { return u.reg }
func (u *legoUser) GetPrivateKey() crypto.PrivateKey        { return u.key }

// presenter hands challenges to the world's network.
type presenter struct{ w *world }

func (p presenter) Present(_, token, keyAuth string) error {
	p.w.present(token, keyAuth)
	return nil
}

func (p presenter) CleanUp(_, _, _ string) error { return nil }

// dnsPresenter puts TXT records into the world's DNS.
type dnsPresenter struct{ w *world }

func (p dnsPresenter) Present(domain, _, keyAuth string) error {
	info := legodns01.GetChallengeInfo(domain, keyAuth)
	p.w.dns.Set(p.w.t, info.FQDN, `TXT "`+info.Value+`"`)
	return nil
}

func (p dnsPresenter) CleanUp(_, _, _ string) error { return nil }

func (w *world) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
}

// legoClient is lego's library as an agent uses it.
func (w *world) legoClient(t *testing.T, user *legoUser, provider legochallenge.Provider) *lego.Client {
	t.Helper()
	config := lego.NewConfig(user)
	config.CADirURL = w.server.Directory()
	config.HTTPClient = w.httpClient()
	config.Certificate.KeyType = certcrypto.EC256
	client, err := lego.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Challenge.SetHTTP01Provider(provider); err != nil {
		t.Fatal(err)
	}
	return client
}

func verifyChain(t *testing.T, bundle []byte, names ...string) *x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, c)
	}
	if len(certs) != 2 {
		t.Fatalf("the chain has %d certificates", len(certs))
	}
	if err := certs[0].CheckSignatureFrom(certs[1]); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := certs[0].VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	return certs[0]
}

func TestLego(t *testing.T) {
	w := newWorld(t)
	user := &legoUser{key: newKey(t)}
	client := w.legoClient(t, user, presenter{w})
	var err error
	user.reg, err = client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	domains := []string{w.name("a.acme.internal"), w.name("b.acme.internal")}
	res, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: domains, Bundle: true})
	if err != nil {
		t.Fatal(err)
	}
	leaf := verifyChain(t, res.Certificate, domains...)

	info, err := client.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: leaf})
	if err != nil {
		t.Fatal(err)
	}
	if s := info.SuggestedWindow; !s.Start.After(time.Now()) || !s.End.Before(leaf.NotAfter) || info.RetryAfter == 0 {
		t.Errorf("renewal info: %+v", info)
	}
	id, err := certificate.MakeARICertID(leaf)
	if err != nil {
		t.Fatal(err)
	}
	again, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: domains, Bundle: true, ReplacesCertID: id, Profile: "short"})
	if err != nil {
		t.Fatal(err)
	}
	if renewed := verifyChain(t, again.Certificate, domains...); renewed.NotAfter.Sub(renewed.NotBefore) > time.Hour {
		t.Error("the profile short was not taken")
	}
	if _, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: domains, Bundle: true, ReplacesCertID: id}); err != nil {
		t.Logf("a second replacement: %v", err) // lego itself tries again without replaces
	}
	if err := client.Certificate.Revoke(res.Certificate); err != nil {
		t.Fatal(err)
	}
	if err := client.Certificate.Revoke(res.Certificate); err == nil {
		t.Error("it can be revoked twice")
	}
}

func TestLegoWildcard(t *testing.T) {
	w := newWorld(t)
	user := &legoUser{key: newKey(t)}
	client := w.legoClient(t, user, presenter{w})
	client.Challenge.Remove(legochallenge.HTTP01)
	err := client.Challenge.SetDNS01Provider(dnsPresenter{w}, legodns01.AddRecursiveNameservers([]string{w.dns.Addr}),
		legodns01.DisableAuthoritativeNssPropagationRequirement())
	if err != nil {
		t.Fatal(err)
	}
	if user.reg, err = client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true}); err != nil {
		t.Fatal(err)
	}
	res, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"*.wild.acme.internal"}, Bundle: true})
	if err != nil {
		t.Fatal(err)
	}
	verifyChain(t, res.Certificate, "x.wild.acme.internal")
}
