package server

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/server/config"
)

// podGrants are for the workloads of a provider, whose URL takes the place of ISSUER.
const podGrants = `
  - name: pods
    principals: [{oidc: "ISSUER", claims: {aud: certwright}}]
    profiles: [mtls, server]
    allow:
      dns: ["{claims.kubernetes.io/serviceaccount/name}.{claims.kubernetes.io/namespace}.svc.internal"]
      uri: ["spiffe://internal/ns/{claims.kubernetes.io/namespace}/sa/{claims.kubernetes.io/serviceaccount/name}"]
    owner: "{claims.kubernetes.io/namespace}"
  - name: pods-once
    principals: [{oidc: "ISSUER", claims: {once: true}}]
    profiles: [workload]
    allow: {uri: ["spiffe://internal/once"]}
    owner: once
    single_use: true
`

// believing starts a server that believes a provider, and gives its pods grants.
func believing(t *testing.T) (*running, *oidctest.Provider) {
	t.Helper()
	provider := oidctest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "idp.crt")
	if err := os.WriteFile(file, provider.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, dir, true)
	c.OIDC.Issuers = []config.OIDCIssuer{{URL: provider.URL, Audiences: []string{oidctest.Audience}, CAFile: file}}
	r := start(t, c)
	r.apply(podGrants, provider.URL)
	return r, provider
}

// apply adds grants to the shipped policy.
func (r *running) apply(grants, issuer string) {
	r.t.Helper()
	const before = "\n# Conditions are rules"
	document := strings.Replace(string(policy.Default()), before, strings.ReplaceAll(grants, "ISSUER", issuer)+before, 1)
	conn := r.admin()
	_, err := certwrightv1.NewPolicyServiceClient(conn).ApplyPolicy(r.t.Context(), &certwrightv1.ApplyPolicyRequest{Document: document})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) admin() *grpc.ClientConn {
	r.t.Helper()
	conn, err := client.Dial(r.t.Context(), client.Config{Server: "unix:" + r.Socket})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// workload is a client with a connection of its own.
type workload struct {
	tls  *tls.Config
	conn *grpc.ClientConn
}

// connect makes a workload's connection, with a certificate or without.
func (r *running) connect(cert *tls.Certificate, sessions tls.ClientSessionCache) *workload {
	r.t.Helper()
	w := &workload{tls: &tls.Config{RootCAs: r.roots(), ServerName: "localhost", NextProtos: []string{"h2"}, ClientSessionCache: sessions}}
	if cert != nil {
		// Sent also where the server does not name its issuer: a hostile client does so.
		w.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := grpc.NewClient(r.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(w.tls)))
	if err != nil {
		r.t.Fatal(err)
	}
	w.conn = conn
	r.t.Cleanup(func() { _ = conn.Close() })
	return w
}

func (w *workload) certificates() certwrightv1.CertificateServiceClient {
	return certwrightv1.NewCertificateServiceClient(w.conn)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrFor(t *testing.T, key crypto.Signer, names ...string) string {
	t.Helper()
	text, err := client.CSR(key, client.ParseNames(names))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pair is the certificate with its key, for TLS.
func pair(t *testing.T, key crypto.Signer, c *certwrightv1.Certificate) *tls.Certificate {
	t.Helper()
	out := &tls.Certificate{PrivateKey: key}
	for _, text := range []string{c.GetPem(), c.GetChainPem()} {
		block, _ := pem.Decode([]byte(text))
		out.Certificate = append(out.Certificate, block.Bytes)
	}
	return out
}

func podClaims(namespace, account string) map[string]any {
	return map[string]any{"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account}}}
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// reasonOf is the ErrorInfo's reason.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestWorkload: a workload gets its certificate by a token of its platform, renews
// it by mTLS, and is refused when it is revoked, on the connection that it keeps, on
// a resumed one and on a new one.
func TestWorkload(t *testing.T) {
	r, provider := believing(t)
	ctx := t.Context()
	key := newKey(t)
	const name = "api.web.svc.internal"
	token := provider.Token("system:serviceaccount:web:api", podClaims("web", "api"))
	first, err := r.connect(nil, nil).certificates().SignCertificate(withToken(ctx, token), &certwrightv1.SignCertificateRequest{
		Profile: "mtls", Csr: csrFor(t, key, name, "spiffe://internal/ns/web/sa/api"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if first.GetOwner() != "web" || first.GetGrant() != "pods" || first.GetRequester() != "oidc:"+provider.URL+"#system:serviceaccount:web:api" {
		t.Errorf("%v", first)
	}

	// The same key, then a new one, over one connection that is kept.
	sessions := tls.NewLRUClientSessionCache(4)
	kept := r.connect(pair(t, key, first), sessions)
	second, err := kept.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: first.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if second.GetOwner() != "web" || second.GetGrant() != "pods" || second.GetProfile() != "mtls" || second.GetSpkiSha256() != first.GetSpkiSha256() ||
		second.GetReplaces() == "" || second.GetRequester() != "mtls:"+first.GetId() || strings.Join(second.GetUris(), " ") != "spiffe://internal/ns/web/sa/api" {
		t.Errorf("%v", second)
	}
	another := newKey(t)
	third, err := kept.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{
		Id: first.GetId(), Csr: csrFor(t, another, name, "spiffe://internal/ns/web/sa/api"), RequestId: "r1",
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := kept.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{
		Id: first.GetId(), Csr: csrFor(t, another, name, "spiffe://internal/ns/web/sa/api"), RequestId: "r1",
	})
	if err != nil || again.GetId() != third.GetId() {
		t.Errorf("the same request again: %v %v", again.GetId(), err)
	}
	// A line of renewals goes on under its grant.
	fourth, err := r.connect(pair(t, another, third), nil).certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: third.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	info, err := kept.certificates().GetRenewalInfo(ctx, &certwrightv1.GetRenewalInfoRequest{Id: first.GetId()})
	if err != nil || !info.GetStartTime().AsTime().After(time.Now()) || !info.GetEndTime().AsTime().After(info.GetStartTime().AsTime()) {
		t.Errorf("%v %v", info, err)
	}

	web := r.rest(pair(t, key, first))
	if code := web("/v1/certificates/" + first.GetId()); code != 200 {
		t.Errorf("REST: %d", code)
	}

	// Revoked: the kept connection, a resumed and a new one are refused.
	r.revoke(parsed(t, first), identity.Superseded)
	_, err = kept.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: first.GetId()})
	if status.Code(err) != codes.Unauthenticated || reasonOf(err) != "CERTIFICATE_REVOKED" {
		t.Errorf("on the same connection: %v", err)
	}
	if code := web("/v1/certificates/" + first.GetId()); code != 401 {
		t.Errorf("REST on the same connection: %d", code)
	}
	resumed := r.connect(pair(t, key, first), sessions)
	if _, err := resumed.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: first.GetId()}); err == nil {
		t.Error("a resumed connection is served")
	}
	r.refusesHandshake("resumed", pair(t, key, first), sessions, true)
	r.refusesHandshake("new", pair(t, key, first), nil, false)
	// Its successors are certificates of their own.
	if _, err := r.connect(pair(t, another, fourth), nil).certificates().GetCertificate(ctx, &certwrightv1.GetCertificateRequest{Id: fourth.GetId()}); err != nil {
		t.Error(err)
	}
	if code := r.rest(pair(t, key, first))("/v1/certificates/" + first.GetId()); code != 0 {
		t.Errorf("REST on a new connection: %d", code)
	}
}

func parsed(t *testing.T, c *certwrightv1.Certificate) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(c.GetPem()))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// refusesHandshake expects an alert, if asked for on a session that is resumed.
func (r *running) refusesHandshake(name string, cert *tls.Certificate, sessions tls.ClientSessionCache, resumed bool) {
	r.t.Helper()
	w := r.connect(cert, sessions)
	conn, err := tls.Dial("tcp", r.GRPC, w.tls)
	if err == nil {
		defer conn.Close()
		if conn.ConnectionState().DidResume != resumed {
			r.t.Errorf("%s: resumed: %v", name, conn.ConnectionState().DidResume)
		}
		// In TLS 1.3 the server's answer to the client's certificate comes with the first read.
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err = io.ReadAll(conn)
	}
	if err == nil || !strings.Contains(err.Error(), "bad certificate") {
		r.t.Errorf("%s: %v", name, err)
	}
}

// rest gets paths over one connection that is kept, and answers the status; 0: there
// is no connection.
func (r *running) rest(cert *tls.Certificate) func(path string) int {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }}}
	r.t.Cleanup(transport.CloseIdleConnections)
	requests := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	dials := 0
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > 1 {
			r.t.Error("the connection was not kept")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return func(path string) int {
		answer, err := requests.Get("https://" + r.HTTPS + path)
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
}

// TestRenewalIsBound: a certificate is renewed by its holder, to what it was, while
// its grant is there.
func TestRenewalIsBound(t *testing.T) {
	r, provider := believing(t)
	ctx := t.Context()
	get := func(account string) (*ecdsa.PrivateKey, *certwrightv1.Certificate) {
		key := newKey(t)
		c, err := r.connect(nil, nil).certificates().SignCertificate(withToken(ctx, provider.Token("s", podClaims("web", account))), &certwrightv1.SignCertificateRequest{
			Profile: "mtls", Csr: csrFor(t, key, account+".web.svc.internal"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return key, c
	}
	key, mine := get("api")
	_, theirs := get("db")
	w := r.connect(pair(t, key, mine), nil)
	for name, test := range map[string]struct {
		req    *certwrightv1.RenewCertificateRequest
		reason string
	}{
		"another's":            {&certwrightv1.RenewCertificateRequest{Id: theirs.GetId()}, "NOT_THE_HOLDER"},
		"nobody's":             {&certwrightv1.RenewCertificateRequest{Id: strings.Repeat("0", 64)}, "NOT_THE_HOLDER"},
		"no id":                {&certwrightv1.RenewCertificateRequest{}, "FIELD_INVALID"},
		"other names":          {&certwrightv1.RenewCertificateRequest{Id: mine.GetId(), Csr: csrFor(t, key, "db.web.svc.internal")}, "NAMES_DIFFER"},
		"more names":           {&certwrightv1.RenewCertificateRequest{Id: mine.GetId(), Csr: csrFor(t, key, "api.web.svc.internal", "db.web.svc.internal")}, "NAMES_DIFFER"},
		"no CSR":               {&certwrightv1.RenewCertificateRequest{Id: mine.GetId(), Csr: "nonsense"}, "FIELD_INVALID"},
		"another's by a token": {&certwrightv1.RenewCertificateRequest{Id: mine.GetId()}, "PERMISSION_DENIED"},
	} {
		conn, call := w, ctx
		if strings.HasSuffix(name, "token") {
			// A token is not a certificate: who shows both means the token.
			call = withToken(ctx, provider.Token("s", podClaims("web", "api")))
		}
		_, err := conn.certificates().RenewCertificate(call, test.req)
		if reasonOf(err) != test.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Neither an admin nor a token renews.
	if _, err := certwrightv1.NewCertificateServiceClient(r.admin()).RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: mine.GetId()}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an admin: %v", err)
	}
	if _, err := w.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: mine.GetId()}); err != nil {
		t.Errorf("the holder: %v", err)
	}
	// The grant is gone: the next policy has none for pods.
	r.apply("", "")
	_, err := w.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: mine.GetId()})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(fmt.Sprint(status.Convert(err).Details()), "has no grant") {
		t.Errorf("without its grant: %v", err)
	}
	// It is there again, for another provider.
	r.apply(podGrants, "https://other.example")
	_, err = w.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: mine.GetId()})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(fmt.Sprint(status.Convert(err).Details()), "no longer for who") {
		t.Errorf("with the grant of others: %v", err)
	}
}

// TestServerCertificateRenews: a certificate without client_auth renews and reads
// itself, and asks for nothing else.
func TestServerCertificateRenews(t *testing.T) {
	r, provider := believing(t)
	ctx := t.Context()
	key := newKey(t)
	c, err := r.connect(nil, nil).certificates().SignCertificate(withToken(ctx, provider.Token("s", podClaims("web", "api"))), &certwrightv1.SignCertificateRequest{
		Profile: "server", Csr: csrFor(t, key, "api.web.svc.internal"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := r.connect(pair(t, key, c), nil)
	if _, err := w.certificates().RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: c.GetId()}); err != nil {
		t.Error(err)
	}
	if _, err := w.certificates().GetCertificate(ctx, &certwrightv1.GetCertificateRequest{Id: c.GetId()}); err != nil {
		t.Error(err)
	}
	_, err = w.certificates().SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Profile: "server", Csr: csrFor(t, key, "api.web.svc.internal")})
	if status.Code(err) != codes.PermissionDenied || reasonOf(err) != "PERMISSION_DENIED" || !strings.Contains(err.Error(), "may not call") {
		t.Error(err)
	}
}

// TestTokenOnce: a grant may take each token once; of many at the same time one
// wins.
func TestTokenOnce(t *testing.T) {
	r, provider := believing(t)
	ctx := t.Context()
	w := r.connect(nil, nil)
	key := newKey(t)
	sign := func(token, id string) error {
		_, err := w.certificates().SignCertificate(withToken(ctx, token), &certwrightv1.SignCertificateRequest{
			Profile: "workload", Csr: csrFor(t, key, "spiffe://internal/once"), RequestId: id,
		})
		return err
	}
	token := provider.Token("s", map[string]any{"once": true, "jti": "one"})
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- sign(token, "") }()
	}
	won := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			won++
		case reasonOf(err) != "TOKEN_USED" && reasonOf(err) != "CHANGED_MEANWHILE":
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 requests with one token got a certificate", won)
	}
	kept := provider.Token("s", map[string]any{"once": true, "jti": "kept"})
	for range 2 { // the same request again has the same certificate
		if err := sign(kept, "again"); err != nil {
			t.Error(err)
		}
	}
	if err := sign(token, ""); reasonOf(err) != "TOKEN_USED" {
		t.Error(err)
	}
	if err := sign(provider.Token("s", map[string]any{"once": true, "jti": "two"}), ""); err != nil {
		t.Error(err)
	}
	if err := sign(provider.Token("s", map[string]any{"once": true}), ""); reasonOf(err) != "TOKEN_WITHOUT_ID" {
		t.Error(err)
	}
}
