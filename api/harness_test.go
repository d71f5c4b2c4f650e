package api_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/local"
	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/crl"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/inventory/bulk"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
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
    max_names: 20
  - name: other
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 1h, backdate: 1m}
    ext_key_usage: [client_auth]
grants:
  - name: local-admin
    principals: [{local_socket: admin}]
    profiles: [server]
    allow: {dns: ["*.internal"]}
    owner: platform
conditions:
  - name: no-forbidden-label
    require: "!('forbidden' in request.labels)"
    message: "the label forbidden is not allowed"
`

// world is a whole CA behind the API, on real storage, with real listeners.
type world struct {
	t      testing.TB
	server *api.Server
	tokens *token.Tokens
	// sessions are for principals of any sort, until stillHolds says otherwise.
	sessions   *session.Sessions
	stillHolds func(context.Context, identity.Principal) (identity.Principal, error)
	passed     atomic.Int64 // by which the sessions' clock is ahead
	store      *bolt.Store
	log        *ledger.Log

	admin *grpc.ClientConn // over the socket
	tcp   *grpc.ClientConn // over TLS, without credentials of its own
	rest  *httptest.Server
	addr  string
	roots *x509.CertPool
}

func newWorld(t testing.TB, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t}
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	w.must(bolt.Create(path))
	var err error
	w.store, err = bolt.Open(ctx, bolt.Config{Path: path})
	w.must(err)
	t.Cleanup(func() { w.must(w.store.Close()) })

	rootKey, issuingKey := w.key(), w.key()
	now := time.Now()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), MaxPathLen: 1}, rootKey)
	w.must(err)
	issuing, err := x509cert.Intermediate(x509cert.CAConfig{CommonName: "Issuing", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0)}, issuingKey.Public(), root, rootKey)
	w.must(err)
	w.roots = x509.NewCertPool()
	w.roots.AddCert(root)

	_, checkpointKey, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	log, err := ledger.Open(ctx, ledger.Config{Store: w.store, Origin: "test.internal/ledger", Signer: checkpointKey, Lock: filepath.Join(dir, "ledger.lock"), Interval: 20 * time.Millisecond})
	w.must(err)
	w.log = log
	keyID, err := identity.KeyIDOf(issuing.PublicKey)
	w.must(err)
	policies, err := ca.OpenPolicies(ctx, ca.PoliciesConfig{
		Store: w.store, First: []byte(testPolicy), File: "policy.yaml",
		Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: issuing.NotAfter, Certificate: issuing}},
	})
	w.must(err)
	refusals := ca.NewRefusals(ca.RefusalsConfig{Store: w.store})
	authority, err := ca.New(ca.Config{
		Store: w.store, Policy: policies.Engine, Refusals: refusals, HTTPBase: "http://localhost:8080", Shards: 2,
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: issuing, Signer: issuingKey}},
	})
	w.must(err)
	w.tokens = token.New(token.Config{Store: w.store, Check: func(b identity.Bound) error { return policies.Engine().CheckBound(b) }})
	w.stillHolds = func(_ context.Context, p identity.Principal) (identity.Principal, error) { return p, nil }
	w.sessions = session.New(session.Config{Store: w.store, Now: w.clock, Still: func(ctx context.Context, p identity.Principal) (identity.Principal, error) {
		return w.stillHolds(ctx, p)
	}})
	inv, err := inventory.New(inventory.Config{Store: w.store, Ledger: w.store, Issuers: []inventory.Issuer{{Name: "issuing", KeyID: keyID}}})
	w.must(err)
	crls, err := crl.Open(ctx, crl.Config{Store: w.store, Signers: authority.CRLSigners()})
	w.must(err)
	operations, err := bulk.New(bulk.Config{Store: w.store, Authority: authority, Inventory: inv, Step: 2})
	w.must(err)
	orders, err := acme.New(acme.Config{Authority: authority, Policy: policies.Engine, Store: w.store, Base: "https://localhost:8443"})
	w.must(err)
	config := api.Config{
		ACME: &api.ACME{Accounts: orders, EABKeys: orders, Orders: orders, Directory: orders.Directory()},
		CRLs: crls, Bulk: operations,
		Authority: authority, Policies: policies, Refusals: refusals, Ledger: log, Store: w.store, Tokens: w.tokens, Sessions: w.sessions, Inventory: inv,
		Authenticators: []api.Authenticator{w.tokens, w.sessions, local.New(local.Config{})},
		Renewals: renewal.New(renewal.Config{
			Store: w.store, Tokens: w.tokens, Policy: policies.Engine, Labels: inv.Labels, Grace: time.Hour,
		}),
		Roots: []*x509.Certificate{root}, LedgerLock: filepath.Join(dir, "ledger.lock"),
	}
	for _, c := range change {
		c(&config)
	}
	w.server, err = api.New(config)
	w.must(err)
	w.run(log.Run)
	w.run(refusals.Run)
	w.run(operations.Run)
	w.listen(dir)
	return w
}

func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) }

// pass lets time pass for the sessions.
func (w *world) pass(d time.Duration) { w.passed.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs a room's loop until the test ends.
func (w *world) run(loop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	})
}

// listen serves gRPC over TLS on loopback and over a socket, and REST over TLS.
func (w *world) listen(dir string) {
	handler, err := w.server.Handler()
	w.must(err)
	w.rest = httptest.NewUnstartedServer(handler)
	w.rest.EnableHTTP2 = true
	w.rest.StartTLS()
	w.t.Cleanup(w.rest.Close)

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.addr = tcp.Addr().String()
	// The TLS certificate is httptest's own: the transport's is not what is tested here.
	w.serve(w.server.GRPC(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: w.rest.TLS.Certificates, MinVersion: tls.VersionTLS12}))), tcp)
	w.tcp = w.dial(w.addr, credentials.NewTLS(w.tls()))

	socket := filepath.Join(dir, "admin.sock")
	unix, err := net.Listen("unix", socket)
	w.must(err)
	w.serve(w.server.GRPC(grpc.Creds(api.SocketCredentials())), unix)
	w.admin = w.dial("unix:"+socket, api.SocketCredentials())
}

func (w *world) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.rest.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: "example.com", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
}

func (w *world) serve(g *grpc.Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	w.t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) dial(target string, creds credentials.TransportCredentials) *grpc.ClientConn {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	w.must(err)
	w.t.Cleanup(func() { w.must(conn.Close()) })
	return conn
}

func (w *world) key() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return key
}

// csr is a CSR in PEM for DNS names, with a new key.
func (w *world) csr(names ...string) string { return w.csrOf(w.key(), names...) }

func (w *world) csrOf(key crypto.Signer, names ...string) string {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key)
	w.must(err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// token makes a join token for *.team-a.internal.
func (w *world) token(uses uint32) (string, string) {
	made, secret, err := w.tokens.Create(w.t.Context(), token.Spec{
		Owner: "team-a", Profiles: []string{"server"}, Names: identity.Names{DNS: []string{"*.team-a.internal"}},
		TTL: time.Hour, Uses: uses, Creator: "local_socket:admin",
	})
	w.must(err)
	return made.ID, secret
}

// adminTokens proves the holder of any join token to be an admin: the routes for
// admins have no credentials over REST yet.
type adminTokens struct{ *token.Tokens }

func (a adminTokens) Authenticate(ctx context.Context, c api.Credentials) (identity.Principal, error) {
	p, err := a.Tokens.Authenticate(ctx, c)
	p.Roles = []identity.Role{identity.RoleAdmin}
	return p, err
}

func admitTokensAsAdmins(c *api.Config) {
	c.Authenticators = []api.Authenticator{adminTokens{c.Tokens}}
}

func bearer(ctx context.Context, secret string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
}

func (w *world) certificates() certwrightv1.CertificateServiceClient {
	return certwrightv1.NewCertificateServiceClient(w.admin)
}

// request sends a REST request and answers status, body and headers.
func (w *world) request(verb, path, secret, body string, headers ...string) (int, []byte, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), verb, w.rest.URL+path, bytes.NewReader([]byte(body)))
	w.must(err)
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := w.rest.Client().Do(req)
	w.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, answer, resp.Header
}

// problem is the fields of a problem+json that tests look at.
type problem struct {
	Type, Title, Detail, Reason, Allowed, Help, RequestID string
	Status                                                int
	Violations                                            []map[string]string
}

func (w *world) problem(body []byte, header http.Header) problem {
	w.t.Helper()
	if got := header.Get("Content-Type"); got != "application/problem+json" {
		w.t.Errorf("Content-Type %q: %.200s", got, body)
	}
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		w.t.Errorf("%v: %.200s", err, body)
	}
	if p.RequestID == "" || p.RequestID != header.Get("X-Request-Id") {
		w.t.Errorf("request ID %q in the body, %q in the header", p.RequestID, header.Get("X-Request-Id"))
	}
	return p
}
