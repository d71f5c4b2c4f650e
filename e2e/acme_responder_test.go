package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
)

// serveHTTP serves plain HTTP until the test ends, and returns where.
func serveHTTP(t *testing.T, address string, handler http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	check(t, err)
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// responder answers challenges on a client's address: for libraries that leave
// that to their user, and for clients that put files into a folder.
type responder struct {
	zone *zone

	mu    sync.Mutex
	http  map[string]string           // token → key authorization
	certs map[string]*tls.Certificate // server name → tls-alpn-01 certificate
}

// newResponder listens on the client's address at the ports of http-01 and
// tls-alpn-01. Files of webroot, if there is one, are served too.
func newResponder(t *testing.T, w *acmeWorld, ip, webroot string) *responder {
	t.Helper()
	r := &responder{zone: w.zone, http: map[string]string{}, certs: map[string]*tls.Certificate{}}
	serveHTTP(t, w.httpAddr(ip), http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		token := filepath.Base(req.URL.Path)
		r.mu.Lock()
		text, ok := r.http[token]
		r.mu.Unlock()
		if !ok && webroot != "" {
			data, err := os.ReadFile(filepath.Join(webroot, token))
			text, ok = string(data), err == nil
		}
		if !ok || !strings.HasPrefix(req.URL.Path, "/.well-known/acme-challenge/") {
			out.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = out.Write([]byte(text))
	}))
	serveALPN(t, w.alpnAddr(ip), func(name string) *tls.Certificate {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.certs[name]
	})
	return r
}

// serveALPN answers handshakes of acme-tls/1 with the certificates that find has.
func serveALPN(t *testing.T, address string, find func(name string) *tls.Certificate) {
	t.Helper()
	l, err := tls.Listen("tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{tlsalpn01.ACMETLS1Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := find(hello.ServerName); c != nil {
				return c, nil
			}
			return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
		},
	})
	check(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				_ = conn.Close()
			}()
		}
	}()
}

// Present and CleanUp are lego's challenge.Provider for http-01.
func (r *responder) Present(_, token, keyAuth string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.http[token] = keyAuth
	return nil
}

func (r *responder) CleanUp(_, token, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.http, token)
	return nil
}

// alpn shows the tls-alpn-01 certificate of an identifier.
func (r *responder) alpn(identifier, keyAuth string) error {
	c, err := tlsalpn01.ChallengeCert(identifier, keyAuth)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.certs[serverNameOf(identifier)] = c
	return nil
}

// serverNameOf is what a validator asks for (RFC 8738 §6).
func serverNameOf(identifier string) string {
	ip := net.ParseIP(identifier).To4()
	if ip == nil {
		return identifier
	}
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", ip[3], ip[2], ip[1], ip[0])
}

// dnsValue is the TXT record of a key authorization (RFC 8555 §8.4).
func dnsValue(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// dnsName is where the TXT record of an identifier stands.
func dnsName(identifier string) string {
	return "_acme-challenge." + strings.TrimPrefix(identifier, "*.")
}
