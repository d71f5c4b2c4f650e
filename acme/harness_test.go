package acme_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/acme/dns01"
	"github.com/certwright/certwright/acme/http01"
	"github.com/certwright/certwright/acme/tlsalpn01"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage/bolt"
)

const testPolicy = `version: 1
issuers:
  - {name: issuing, key: "file:issuing.key", certificate: issuing.crt}
profiles:
  - name: server
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256, rsa-2048]
    validity: {default: 720h, max: 2160h, backdate: 1m}
    ext_key_usage: [server_auth]
    wildcards: true
    max_names: 20
  - name: short
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 1h, backdate: 1m}
    ext_key_usage: [server_auth]
  - name: private
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 1h, backdate: 1m}
    ext_key_usage: [server_auth]
grants:
  - name: acme-open
    principals: [{acme: any}]
    profiles: [server, short]
    allow: {dns: [".acme.internal"], ip: [127.0.0.0/8]}
    deny: {dns: ["forbidden.acme.internal"]}
    owner: unassigned
  - name: team-a
    principals: [{eab: team-a}]
    profiles: [private]
    allow: {dns: [".team-a.internal"]}
    owner: "{claims.owner}"
    challenges: none
`

// world is an ACME server on real storage with a real CA and real listeners, and
// the network that it validates: names that all lead to this machine.
type world struct {
	t         testing.TB
	dir       string
	store     *bolt.Store
	authority *ca.Authority
	policies  *ca.Policies
	server    *acme.Server
	http      *httptest.Server
	roots     *x509.CertPool
	dns       *egresstest.DNS
	httpPort  int
	alpnPort  int
	config    acme.Config
	stop      func()
	issuers   []ca.IssuerConfig
	fault     func(ca.Point) error

	mu     sync.Mutex
	tokens map[string]string // token → key authorization, served for http-01
}

func newWorld(t testing.TB, change ...func(*acme.Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), tokens: map[string]string{}}
	w.must(bolt.Create(filepath.Join(w.dir, "ledger.db")))
	w.makeIssuer()
	w.dns = egresstest.NewDNS(t)
	w.httpPort = w.serveHTTP01()
	w.alpnPort = freePort(t)
	client, err := egress.New(egress.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []int{w.httpPort, w.alpnPort},
		Resolver: w.dns.Addr, Timeout: 3 * time.Second,
	})
	w.must(err)
	w.config = acme.Config{
		Validators: []challenge.Validator{
			http01.New(http01.Config{Egress: client, Port: w.httpPort}), dns01.New(client),
			tlsalpn01.New(tlsalpn01.Config{Egress: client, Port: w.alpnPort}), dns01.NewAccount(client),
			dns01.NewPersist(dns01.PersistConfig{Egress: client, IssuerDomains: []string{"ca.internal"}}),
		},
		Retries: []time.Duration{10 * time.Millisecond}, Server: [8]byte{7},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, c := range change {
		c(&w.config)
	}
	w.http = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		server := w.server
		w.mu.Unlock()
		server.Handler().ServeHTTP(rw, r)
	}))
	w.http.EnableHTTP2 = true
	w.start()
	w.http.StartTLS()
	t.Cleanup(w.http.Close)
	t.Cleanup(func() { w.stop() })
	w.roots = x509.NewCertPool()
	w.roots.AddCert(w.http.Certificate())
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *world) makeIssuer() {
	rootKey, issuingKey := newKey(w.t), newKey(w.t)
	now := time.Now()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), MaxPathLen: 1}, rootKey)
	w.must(err)
	issuing, err := x509cert.Intermediate(x509cert.CAConfig{CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0)}, issuingKey.Public(), root, rootKey)
	w.must(err)
	w.issuers = []ca.IssuerConfig{{Name: "issuing", Certificate: issuing, Signer: crypto.Signer(issuingKey)}}
}

// start opens the store and everything above it, as the server's start does.
func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	var err error
	w.store, err = bolt.Open(ctx, bolt.Config{Path: filepath.Join(w.dir, "ledger.db")})
	w.must(err)
	cert := w.issuers[0].Certificate
	keyID, err := identity.KeyIDOf(cert.PublicKey)
	w.must(err)
	w.policies, err = ca.OpenPolicies(ctx, ca.PoliciesConfig{
		Store: w.store, First: []byte(testPolicy), File: "policy.yaml",
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: cert.NotAfter, Certificate: cert}},
	})
	w.must(err)
	w.authority, err = ca.New(ca.Config{
		Store: w.store, Policy: w.policies.Engine, HTTPBase: "http://localhost:8080", Issuers: w.issuers, Server: w.config.Server,
		Abandoned: acme.Abandoned(w.store), Logger: w.config.Logger, Fault: func(p ca.Point) error {
			w.mu.Lock()
			fault := w.fault
			w.mu.Unlock()
			if fault == nil {
				return nil
			}
			return fault(p)
		},
	})
	w.must(err)
	_, err = w.authority.Settle(ctx)
	w.must(err)
	config := w.config
	config.Authority, config.Policy, config.Store = w.authority, w.policies.Engine, w.store
	if config.Base == "" {
		config.Base = "https://" + w.http.Listener.Addr().String()
	}
	server, err := acme.New(config)
	w.must(err)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	store := w.store
	w.mu.Lock()
	w.server = server
	w.mu.Unlock()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		w.must(store.Close())
	}
}

// restart ends the server and starts it again on what is stored.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// serveHTTP01 answers http-01 challenges with what present has been given.
func (w *world) serveHTTP01() int {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.URL.Path, "/.well-known/acme-challenge/")
		w.mu.Lock()
		auth := w.tokens[token]
		w.mu.Unlock()
		if !ok || auth == "" {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write([]byte(auth))
	}))
	w.t.Cleanup(s.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	n, err := strconv.Atoi(port)
	w.must(err)
	return n
}

// name makes a DNS name lead to this machine.
func (w *world) name(name string) string {
	w.dns.Set(w.t, strings.TrimPrefix(name, "*."), "A 127.0.0.1")
	return name
}

func (w *world) present(token, keyAuthorization string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[token] = keyAuthorization
}
