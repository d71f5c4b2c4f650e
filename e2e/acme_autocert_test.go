package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// autocertCells are golang.org/x/crypto/acme/autocert: a TLS server that gets its
// certificates when somebody asks for them.
func autocertCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "autocert"
	manager := func(folder string, eab *acme.ExternalAccountBinding) *autocert.Manager {
		return &autocert.Manager{
			Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(folder), Email: me + "@ops.internal", ExternalAccountBinding: eab,
			Client: &acme.Client{DirectoryURL: w.directory, HTTPClient: w.client()},
		}
	}
	// get asks as a TLS client would. With http-01 only the HTTP port is served, with
	// tls-alpn-01 only the TLS port: autocert tries both.
	get := func(t *testing.T, m *autocert.Manager, operation, owner, kind, name string) string {
		t.Helper()
		if kind == "http-01" {
			server := &http.Server{Handler: m.HTTPHandler(nil)}
			defer server.Close()
			serveOn(t, server, w.httpAddr(ip))
		} else {
			l, err := tls.Listen("tcp", w.alpnAddr(ip), m.TLSConfig())
			check(t, err)
			defer l.Close()
			go shakeHands(l)
		}
		chain := ""
		// It tries the challenges one after the other and forgets a failed order.
		if !eventually(clientPatience, func() bool {
			c, err := m.GetCertificate(hello(name))
			if err == nil {
				chain = pemChain(c.Certificate)
			}
			return err == nil
		}) {
			t.Fatalf("autocert has no certificate\n%s", w.logTail())
		}
		w.received(t, me, operation, owner, chain, name)
		return chain
	}
	home := t.TempDir()
	issue := func(operation, name, kind string) cell {
		return does(func(t *testing.T) { get(t, manager(home, nil), operation, openOwner, kind, name) })
	}
	first := ""
	return map[string]cell{
		"register": does(func(t *testing.T) { // it registers when it first needs to
			first = get(t, manager(home, nil), "register", openOwner, "http-01", "issue.autocert.internal")
			w.registered(t, me)
		}),
		"issue": issue("issue", "more.autocert.internal", "http-01"),
		"renew": does(func(t *testing.T) {
			m := manager(home, nil)
			m.RenewBefore = 30 * 24 * time.Hour // longer than the lifetime: due at once, and again and again
			enough := &gate{RoundTripper: m.Client.HTTPClient.Transport}
			m.Client.HTTPClient.Transport = enough
			defer enough.shut.Store(true)
			server := &http.Server{Handler: m.HTTPHandler(nil)}
			defer server.Close()
			serveOn(t, server, w.httpAddr(ip))
			name, chain := "issue.autocert.internal", ""
			if !eventually(clientPatience, func() bool {
				c, err := m.GetCertificate(hello(name))
				if err == nil {
					chain = pemChain(c.Certificate)
				}
				return err == nil && chain != first
			}) {
				t.Fatalf("autocert has not renewed\n%s", w.logTail())
			}
			w.received(t, me, "renew", openOwner, chain, name)
		}),
		"revoke": cannot("autocert does not revoke"),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			secret, err := base64.RawURLEncoding.DecodeString(key)
			check(t, err)
			m := manager(t.TempDir(), &acme.ExternalAccountBinding{KID: id, Key: secret})
			get(t, m, "EAB", boundOwner, "http-01", "eab.autocert.internal")
		}),
		"wildcard":    cannot("autocert has no dns-01"),
		"IP":          cannot("autocert finds certificates by the server name that TLS clients send, which is no IP address"),
		"http-01":     issue("http-01", "http.autocert.internal", "http-01"),
		"dns-01":      cannot("autocert has no dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.autocert.internal", "tls-alpn-01"),
	}
}

// hello is that of a client that takes ECDSA.
func hello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedVersions: []uint16{tls.VersionTLS13},
	}
}

// gate lets requests through until it is shut.
type gate struct {
	http.RoundTripper
	shut atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.shut.Load() {
		return nil, errors.New("the test is over")
	}
	return g.RoundTripper.RoundTrip(r)
}

// serveOn serves until the server is closed.
func serveOn(t *testing.T, server *http.Server, address string) {
	t.Helper()
	l, err := listenTCP(t.Context(), address)
	check(t, err)
	go func() { _ = server.Serve(l) }()
}
