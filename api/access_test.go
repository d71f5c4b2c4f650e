package api_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/local"
	"github.com/certwright/certwright/auth/mtls"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// accessLine is one line of testdata/access.txt.
type accessLine struct {
	verb, path string
	public     bool            // allowed to anybody
	allowed    map[string]bool // by caller
}

// accessTable is the table that is written by hand, by the methods' full names.
func accessTable(t *testing.T) map[string]accessLine {
	t.Helper()
	file, err := os.Open("testdata/access.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table := map[string]accessLine{}
	var callers []string
	ids := strings.NewReplacer("ID64", someID, "ID32", someID[:32], "ID24", someID[:24])
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 || fields[0] == "#":
			continue
		case callers == nil:
			callers = fields[3:]
			continue
		case len(fields) != 3+len(callers):
			t.Fatalf("%q", lines.Text())
		}
		line := accessLine{verb: fields[1], path: ids.Replace(fields[2]), public: fields[3] == "*", allowed: map[string]bool{}}
		for i, caller := range callers {
			if mark := fields[3+i]; mark != "+" && mark != "-" && mark != "*" || (mark == "*") != line.public {
				t.Fatalf("%q", lines.Text())
			}
			line.allowed[caller] = fields[3+i] != "-"
		}
		table["/certwright.v1."+fields[0]] = line
	}
	return table
}

// TestEveryMethodSaysWhoMayCall: every method has an annotation and a line.
func TestEveryMethodSaysWhoMayCall(t *testing.T) {
	table := accessTable(t)
	seen := 0
	eachOurs(func(name string, m protoreflect.MethodDescriptor) {
		seen++
		a, ok := proto.GetExtension(m.Options(), certwrightv1.E_Authorization).(*certwrightv1.Authorization)
		line, known := table[name]
		if !proto.HasExtension(m.Options(), certwrightv1.E_Authorization) || !ok || a.GetPublic() != line.public || line.public != (len(a.GetRoles()) == 0) {
			t.Errorf("%s: authorization %v", name, a)
		}
		if line.public {
			return
		}
		if !known {
			t.Errorf("%s has no line in testdata/access.txt", name)
		}
		for caller, role := range map[string]certwrightv1.Role{
			"token": certwrightv1.Role_ROLE_REQUESTER, "holder": certwrightv1.Role_ROLE_HOLDER, "ca-admin": certwrightv1.Role_ROLE_CA_ADMIN,
			"login": certwrightv1.Role_ROLE_LOGIN,
		} {
			if slices.Contains(a.GetRoles(), role) != line.allowed[caller] {
				t.Errorf("%s: the annotation has %v, the table %v for %s", name, a.GetRoles(), line.allowed[caller], caller)
			}
		}
	})
	if seen != len(table) {
		t.Errorf("%d methods, %d lines", seen, len(table))
	}
}

// accessPolicy is what comes to the tests' policy: grants and roles of a provider,
// whose URL takes the place of ISSUER.
const accessPolicy = `  - name: people
    principals: [{oidc: "ISSUER"}, {device: factory}]
    profiles: [server, other]
    allow: {dns: ["*.people.internal"]}
    owners: ["*"]
roles:
  - {role: viewer, principals: [{oidc: "ISSUER", claims: {groups: viewer}}]}
  - {role: auditor, principals: [{oidc: "ISSUER", claims: {groups: auditor}}]}
  - {role: operator, principals: [{oidc: "ISSUER", claims: {groups: operator}}]}
  - {role: policy-admin, principals: [{oidc: "ISSUER", claims: {groups: policy-admin}}]}
  - {role: ca-admin, principals: [{oidc: "ISSUER", claims: {groups: ca-admin}}]}
  - {role: viewer, principals: [{oidc: "ISSUER", claims: {groups: limited}}], owners: [team-a]}
  - {role: auditor, principals: [{oidc: "ISSUER", claims: {groups: limited}}], owners: [team-a]}
  - {role: operator, principals: [{oidc: "ISSUER", claims: {groups: limited}}], owners: [team-a]}
  - {role: policy-admin, principals: [{oidc: "ISSUER", claims: {groups: limited}}], owners: [team-a]}
`

// loginClient is the client at which people log in.
const loginClient = "certwright-cli"

// accessWorld is a world that believes a provider, and whose listeners ask for
// client certificates. They take any: what proves nobody is refused call by call.
type accessWorld struct {
	*world
	provider *oidctest.Provider
	factory  *x509.Certificate // CA of devices
	key      crypto.Signer     // of the factory
	rest     *httptest.Server
	grpc     string
}

func newAccessWorld(t *testing.T) *accessWorld {
	t.Helper()
	a := &accessWorld{provider: oidctest.New(t)}
	var err error
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.factory, err = x509cert.Root(x509cert.CAConfig{CommonName: "Factory", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}, key)
	if err != nil {
		t.Fatal(err)
	}
	a.world = newWorld(t, func(c *api.Config) {
		client, err := egress.New(egress.Config{Ports: []int{a.provider.Port()}, MaxBytes: oidc.MaxBytes, MaxRedirects: -1})
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := oidc.New(oidc.Config{Egress: client, Issuers: []oidc.Issuer{{URL: a.provider.URL, Audiences: []string{oidctest.Audience}, TLS: a.provider.TLS(), Login: oidc.Login{ClientID: loginClient}}}})
		if err != nil {
			t.Fatal(err)
		}
		certificates, err := mtls.New(mtls.Config{Store: c.Store, Devices: []mtls.DeviceCA{{
			Name: "factory", Roots: []*x509.Certificate{a.factory}, Names: identity.Names{DNS: []string{"*.devices.internal"}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		c.Authenticators = []api.Authenticator{c.Tokens, c.Sessions, tokens, certificates, local.New(local.Config{})}
		c.Issuers, c.DeviceCAs = []string{a.provider.URL}, []string{"factory"}
		withAuditors(t)(c)
	})
	document := strings.Replace(testPolicy, "conditions:", strings.ReplaceAll(accessPolicy, "ISSUER", a.provider.URL)+"conditions:", 1)
	_, err = certwrightv1.NewPolicyServiceClient(a.admin).ApplyPolicy(t.Context(), &certwrightv1.ApplyPolicyRequest{Document: document})
	a.must(err)
	a.listen()
	return a
}

// listen serves both doors to any client certificate.
func (a *accessWorld) listen() {
	handler, err := a.server.Handler()
	a.must(err)
	a.rest = httptest.NewUnstartedServer(handler)
	a.rest.EnableHTTP2 = true
	a.rest.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	a.rest.StartTLS()
	a.t.Cleanup(a.rest.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	a.must(err)
	a.grpc = l.Addr().String()
	a.serve(a.server.GRPC(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: a.rest.TLS.Certificates, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
	}))), l)
}

// caller is somebody who shows one credential at both doors.
type caller struct {
	world  *accessWorld
	header string
	conn   *grpc.ClientConn
	http   *http.Client
}

func (a *accessWorld) caller(header string, cert *tls.Certificate) *caller {
	config := a.tls()
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	a.t.Cleanup(transport.CloseIdleConnections)
	return &caller{world: a, header: header, conn: a.dial(a.grpc, credentials.NewTLS(config)), http: &http.Client{Transport: transport}}
}

func (c *caller) ctx() context.Context {
	if c.header == "" {
		return c.world.t.Context()
	}
	return metadata.AppendToOutgoingContext(c.world.t.Context(), "authorization", c.header)
}

// ask sends a REST request whose body is broken: who may not call never learns that.
func (c *caller) ask(verb, path string) (int, []byte, http.Header) {
	req, err := http.NewRequestWithContext(c.world.t.Context(), verb, c.world.rest.URL+path, strings.NewReader("{"))
	c.world.must(err)
	if c.header != "" {
		req.Header.Set("Authorization", c.header)
	}
	answer, err := c.http.Do(req)
	c.world.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	c.world.must(err)
	return answer.StatusCode, body, answer.Header
}

// certificate has a certificate issued by a join token and gives it with its key.
func (a *accessWorld) certificate(profile string) (*tls.Certificate, *certwrightv1.Certificate) {
	made, secret, err := a.tokens.Create(a.t.Context(), token.Spec{
		Owner: "team-a", Profiles: []string{profile}, Names: identity.Names{DNS: []string{"*.team-a.internal"}}, TTL: time.Hour, Creator: "local_socket:admin",
	})
	a.must(err)
	key := a.world.key()
	c, err := certwrightv1.NewCertificateServiceClient(a.tcp).SignCertificate(bearer(a.t.Context(), secret), &certwrightv1.SignCertificateRequest{
		Csr: a.csrOf(key, "x"+made.ID[:8]+".team-a.internal"),
	})
	a.must(err)
	return tlsCertificate(c.GetPem(), key), c
}

func tlsCertificate(text string, key crypto.Signer) *tls.Certificate {
	block, _ := pem.Decode([]byte(text))
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

// by is a certificate for a name by some CA's key.
func (a *accessWorld) by(issuer *x509.Certificate, signer crypto.Signer, change func(*x509.Certificate), names ...string) *tls.Certificate {
	key := a.world.key()
	serial := identity.NewSerial(time.Now())
	template := &x509.Certificate{
		SerialNumber: serial.Big(), DNSNames: names, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	a.must(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// credentialCase is one credential, and who it makes the caller in the table; empty:
// nobody.
type credentialCase struct {
	name   string
	header string
	cert   *tls.Certificate
	as     string
}

func (a *accessWorld) credentialCases() []credentialCase {
	return slices.Concat(a.tokenCases(), a.identityCases(), a.sessionCases(), a.certificateCases())
}

// tokenCases are join tokens in every state.
func (a *accessWorld) tokenCases() []credentialCase {
	ctx := a.t.Context()
	_, good := a.token(3)
	revokedID, revoked := a.token(1)
	_, err := a.tokens.Revoke(ctx, revokedID, "local_socket:admin")
	a.must(err)
	// A token that expired an hour ago, by a clock that is behind.
	past := token.New(token.Config{Store: a.store, Check: func(identity.Bound) error { return nil }, Now: func() time.Time { return time.Now().Add(-2 * time.Hour) }})
	_, expired, err := past.Create(ctx, token.Spec{Owner: "team-a", Profiles: []string{"server"}, Names: identity.Names{DNS: []string{"a"}}, TTL: time.Hour, Creator: "local_socket:admin"})
	a.must(err)
	_, spent := a.token(1)
	_, err = certwrightv1.NewCertificateServiceClient(a.tcp).SignCertificate(bearer(ctx, spent), &certwrightv1.SignCertificateRequest{Csr: a.csr("x.team-a.internal")})
	a.must(err)
	flipped := []byte(good)
	flipped[len(flipped)-2] ^= 1
	return []credentialCase{
		{name: "none"},
		{name: "garbage", header: "Bearer garbage"},
		{name: "another scheme", header: "Basic YWRtaW46YWRtaW4="},
		{name: "empty bearer", header: "Bearer "},
		{name: "one bit wrong", header: "Bearer " + string(flipped)},
		{name: "expired", header: "Bearer " + expired},
		{name: "revoked", header: "Bearer " + revoked},
		{name: "spent", header: "Bearer " + spent, as: "token"},
		{name: "token", header: "Bearer " + good, as: "token"},
		{name: "reader of the published ledger", header: "Bearer " + auditorToken, as: "reader"},
	}
}

// identityCases are identity tokens, good and bad, and those of each role.
func (a *accessWorld) identityCases() []credentialCase {
	p := a.provider
	key, kid, _ := p.Key()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	a.must(err)
	good := p.Token("s", nil)
	_, rest, _ := strings.Cut(good, ".")
	admin := map[string]any{"groups": []string{"ca-admin"}}
	with := func(more map[string]any) string {
		claims := maps.Clone(admin)
		maps.Copy(claims, more)
		return p.Token("s", claims)
	}
	cases := []credentialCase{
		{name: "identity token", header: good, as: "identity"},
		{name: "alg none", header: base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + rest},
		{name: "HS256 by the public key", header: oidctest.SignWith(a.t, public, jose.HS256, map[string]any{"kid": kid}, p.Claims("s", admin))},
		{name: "a stranger's key", header: oidctest.SignWith(a.t, a.world.key(), jose.ES256, map[string]any{"kid": kid}, p.Claims("s", admin))},
		{name: "another issuer", header: with(map[string]any{"iss": "https://evil.example"})},
		{name: "another audience", header: with(map[string]any{"aud": "other"})},
		{name: "expired identity token", header: with(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})},
		{name: "token for login", header: with(map[string]any{"aud": loginClient}), as: "login"},
		{name: "token for login of another client", header: with(map[string]any{"aud": loginClient, "azp": "other"})},
		{name: "old token for login", header: with(map[string]any{"aud": loginClient, "iat": time.Now().Add(-time.Hour).Unix()})},
		{name: "identity token of tomorrow", header: with(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})},
	}
	for _, role := range []string{"viewer", "auditor", "operator", "policy-admin", "ca-admin", "limited"} {
		cases = append(cases, credentialCase{name: role, header: p.Token("s", map[string]any{"groups": []string{role}}), as: role})
	}
	for i := range cases {
		cases[i].header = "Bearer " + cases[i].header
	}
	return cases
}

// sessionCases are sessions: of each role, which call what the role may call, and in
// every state in which they prove nobody.
func (a *accessWorld) sessionCases() []credentialCase {
	open := func(w session.Wish) (session.Session, string) {
		w.Principal.Method, w.Principal.ID = identity.OIDC, a.provider.URL+"#s"
		opened, text, err := a.sessions.Open(a.t.Context(), w)
		a.must(err)
		return opened, text
	}
	of := func(group string) session.Wish {
		return session.Wish{Principal: identity.Principal{Claims: map[string]any{"iss": a.provider.URL, "groups": []any{group}}}}
	}
	var cases []credentialCase
	for _, role := range []string{"viewer", "auditor", "operator", "policy-admin", "ca-admin", "limited"} {
		_, text := open(of(role))
		cases = append(cases, credentialCase{name: "session of " + role, header: text, as: role})
	}
	_, none := open(of("nobody"))
	gone, revoked := open(of("ca-admin"))
	_, err := a.sessions.Revoke(a.t.Context(), gone.ID, "x:y")
	a.must(err)
	past := of("ca-admin")
	past.Until = time.Now()
	_, expired := open(past)
	flipped := []byte(none)
	flipped[len(flipped)-2] ^= 1
	cases = append(cases,
		// Whoever has lost all roles can still end the session, and no more than others without a role.
		credentialCase{name: "session without a role", header: none, as: "identity"},
		credentialCase{name: "revoked session", header: revoked}, credentialCase{name: "expired session", header: expired},
		credentialCase{name: "session, one bit wrong", header: string(flipped)},
		credentialCase{name: "session as a join token", header: "cwt_" + none[4:]},
	)
	for i := range cases {
		cases[i].header = "Bearer " + cases[i].header
	}
	return cases
}

// certificateCases are client certificates, good and bad.
func (a *accessWorld) certificateCases() []credentialCase {
	server, _ := a.certificate("server")
	good, ours := a.certificate("other")
	revoked, gone := a.certificate("other")
	_, err := a.certificates().RevokeCertificate(a.t.Context(), &certwrightv1.RevokeCertificateRequest{Id: gone.GetId()})
	a.must(err)
	stranger := a.world.key()
	strange, err := x509cert.Root(x509cert.CAConfig{CommonName: "Issuing", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}, stranger)
	a.must(err)
	return []credentialCase{
		{name: "server's certificate", cert: server, as: "holder"},
		{name: "client's certificate", cert: good, as: "client"},
		{name: "certificate and garbage", cert: good, header: "Bearer garbage"},
		{name: "certificate and a token", cert: good, header: "Bearer " + a.provider.Token("s", nil), as: "identity"},
		{name: "revoked certificate", cert: revoked},
		{name: "certificate of a CA with the same name", cert: a.by(strange, stranger, nil, ours.GetDnsNames()...)},
		{name: "device's certificate", cert: a.by(a.factory, a.key, nil, "d1.devices.internal"), as: "identity"},
		{name: "device with another name", cert: a.by(a.factory, a.key, nil, "d1.people.internal")},
		{name: "device with one more name", cert: a.by(a.factory, a.key, nil, "d1.devices.internal", "d1.people.internal")},
		{name: "device without a name", cert: a.by(a.factory, a.key, nil)},
		{name: "device that has expired", cert: a.by(a.factory, a.key, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, "d1.devices.internal")},
		{name: "device that is a server", cert: a.by(a.factory, a.key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "d1.devices.internal")},
	}
}

// details are an error's details as text.
func details(err error) string { return fmt.Sprint(status.Convert(err).Details()) }

// TestAccess: every credential × every method, at both doors.
func TestAccess(t *testing.T) {
	a := newAccessWorld(t)
	table := accessTable(t)
	for _, credential := range a.credentialCases() {
		c := a.caller(credential.header, credential.cert)
		eachOurs(func(name string, m protoreflect.MethodDescriptor) {
			line := table[name]
			want := codes.PermissionDenied
			switch {
			case line.public:
				want = codes.OK
			case credential.as == "":
				want = codes.Unauthenticated
			case line.allowed[credential.as], credential.as == "client" && (line.allowed["holder"] || line.allowed["token"]):
				want = codes.OK
			}
			err := call(c.ctx(), c.conn, name, m)
			if got := refusal(err); got != want {
				t.Errorf("gRPC %s with %s: %v, want %v", name, credential.name, err, want)
			}
			if want == codes.PermissionDenied && reason(err) != "LIMITED_TO_OWNERS" && !strings.Contains(details(err), "the role ") {
				t.Errorf("gRPC %s with %s does not say which role is needed: %v", name, credential.name, details(err))
			}
			if line.verb == "-" { // gRPC only
				return
			}
			code, body, header := c.ask(line.verb, line.path)
			switch {
			case want == codes.Unauthenticated && (code != 401 || header.Get("WWW-Authenticate") == ""),
				want == codes.PermissionDenied && code != 403,
				want == codes.OK && (code == 401 || code == 403 || code >= 500):
				t.Errorf("REST %s %s with %s: %d %s", line.verb, line.path, credential.name, code, body)
			}
			if code >= 400 {
				a.problem(body, header)
			}
		})
	}
	if stats := a.server.Stats(); stats.Failed != 0 || stats.Panics != 0 {
		t.Errorf("%+v", stats)
	}
}
