package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"testing"

	"golang.org/x/crypto/acme"
)

// pemChain is DER certificates as PEM.
func pemChain(ders [][]byte) string {
	var b bytes.Buffer
	for _, der := range ders {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.String()
}

// identifiersOf are a name's authorizations and CSR template.
func identifiersOf(names ...string) ([]acme.AuthzID, *x509.CertificateRequest) {
	var ids []acme.AuthzID
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if addr := net.ParseIP(name); addr != nil {
			ids = append(ids, acme.IPIDs(name)...)
			template.IPAddresses = append(template.IPAddresses, addr)
			continue
		}
		ids = append(ids, acme.DomainIDs(name)...)
		template.DNSNames = append(template.DNSNames, name)
	}
	return ids, template
}

// prove answers one authorization by a challenge type.
func prove(ctx context.Context, c *acme.Client, r *responder, url, kind string) error {
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil || authz.Status == acme.StatusValid {
		return err
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type != kind {
			continue
		}
		keyAuth, err := c.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		switch kind {
		case "http-01":
			err = r.Present("", challenge.Token, keyAuth)
		case "dns-01":
			r.zone.set(dnsName(authz.Identifier.Value), dnsValue(keyAuth))
		default:
			err = r.alpn(authz.Identifier.Value, keyAuth)
		}
		if err != nil {
			return err
		}
		if _, err := c.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = c.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("no challenge of type " + kind)
}

// obtainX does a whole order with x/crypto/acme.
func obtainX(ctx context.Context, c *acme.Client, r *responder, key crypto.Signer, kind string, names ...string) (string, error) {
	ids, template := identifiersOf(names...)
	order, err := c.AuthorizeOrder(ctx, ids)
	if err != nil {
		return "", err
	}
	for _, url := range order.AuthzURLs {
		if err := prove(ctx, c, r, url, kind); err != nil {
			return "", err
		}
	}
	if order, err = c.WaitOrder(ctx, order.URI); err != nil {
		return "", err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", err
	}
	chain, _, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	return pemChain(chain), err
}

// xcryptoCells are golang.org/x/crypto/acme.
func xcryptoCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "xcrypto"
	r := newResponder(t, w, ip, "")
	client := &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client()}
	contact := []string{"mailto:" + me + "@ops.internal"}
	obtain := func(t *testing.T, c *acme.Client, operation, owner, kind, name string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), clientPatience)
		defer cancel()
		chain, err := obtainX(ctx, c, r, newKey(t), kind, name)
		if err != nil {
			t.Fatalf("%v\n%s", err, w.logTail())
		}
		w.received(t, me, operation, owner, chain, name)
		return chain
	}
	issue := func(operation, name, kind string) cell {
		return does(func(t *testing.T) { obtain(t, client, operation, openOwner, kind, name) })
	}
	first := ""
	return map[string]cell{
		"register": does(func(t *testing.T) {
			_, err := client.Register(t.Context(), &acme.Account{Contact: contact}, acme.AcceptTOS)
			check(t, err)
			w.registered(t, me)
		}),
		"issue": does(func(t *testing.T) { first = obtain(t, client, "issue", openOwner, "http-01", "issue.xcrypto.internal") }),
		"renew": does(func(t *testing.T) {
			different(t, first, obtain(t, client, "renew", openOwner, "http-01", "issue.xcrypto.internal"))
		}),
		"revoke": does(func(t *testing.T) {
			check(t, client.RevokeCert(t.Context(), nil, leafOf(t, first).Raw, acme.CRLReasonSuperseded))
			w.revoked(t, first)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			secret, err := base64.RawURLEncoding.DecodeString(key)
			check(t, err)
			bound := &acme.Client{Key: newKey(t), DirectoryURL: w.directory, HTTPClient: w.client()}
			_, err = bound.Register(t.Context(), &acme.Account{Contact: contact, ExternalAccountBinding: &acme.ExternalAccountBinding{KID: id, Key: secret}}, acme.AcceptTOS)
			check(t, err)
			obtain(t, bound, "EAB", boundOwner, "http-01", "eab.xcrypto.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.xcrypto.internal", "dns-01"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.xcrypto.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.xcrypto.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.xcrypto.internal", "tls-alpn-01"),
	}
}

// tlsOf is a client's TLS configuration that trusts these roots.
func tlsOf(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}
