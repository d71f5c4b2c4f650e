package api_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// login is an ID token for login of a member of a group.
func (a *accessWorld) login(subject, group string) string {
	return a.provider.Token(subject, map[string]any{"aud": loginClient, "groups": []string{group}, "email": subject + "@x.example", "nonce": rand.Text()})
}

func (c *caller) sessions() pb.SessionServiceClient { return pb.NewSessionServiceClient(c.conn) }

// send sends a REST request; white space of the answer, which varies, is left out.
func (c *caller) send(verb, path, body string) (int, string) {
	req, err := http.NewRequestWithContext(c.world.t.Context(), verb, c.world.rest.URL+path, strings.NewReader(body))
	c.world.must(err)
	req.Header.Set("Authorization", c.header)
	answer, err := c.http.Do(req)
	c.world.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	c.world.must(err)
	return answer.StatusCode, strings.ReplaceAll(string(text), " ", "")
}

// loggedIn is a caller by a session of a member of a group.
func (a *accessWorld) loggedIn(subject, group string) (*caller, *pb.CreateSessionResponse) {
	a.t.Helper()
	c := a.caller("Bearer "+a.login(subject, group), nil)
	made, err := c.sessions().CreateSession(c.ctx(), &pb.CreateSessionRequest{})
	a.must(err)
	return a.caller("Bearer "+made.GetToken(), nil), made
}

func TestLogin(t *testing.T) {
	a := newAccessWorld(t)
	admin, made := a.loggedIn("root", "ca-admin")
	if !strings.HasPrefix(made.GetToken(), session.Prefix) || len(made.GetRoles()) != 1 || made.GetRoles()[0].GetRole() != "ca-admin" || made.GetSession().GetName() != "root@x.example" {
		t.Errorf("%v", made)
	}
	rest := a.caller("Bearer "+a.login("rest", "viewer"), nil)
	if code, body := rest.send(http.MethodPost, "/v1/sessions", `{"lifetime": "600s"}`); code != 200 || !strings.Contains(body, `"role":"viewer"`) || !strings.Contains(body, session.Prefix) {
		t.Errorf("REST: %d %s", code, body)
	}
	self, err := admin.sessions().GetSelf(admin.ctx(), &pb.GetSelfRequest{})
	if err != nil || self.GetPrincipal() != "oidc:"+a.provider.URL+"#root" || self.GetSession().GetId() != made.GetSession().GetId() || !self.GetSession().GetCurrent() {
		t.Errorf("%v %v", self, err)
	}
	limited, _ := a.loggedIn("lim", "limited")
	if self, err := limited.sessions().GetSelf(limited.ctx(), &pb.GetSelfRequest{}); err != nil || !strings.Contains(fmt.Sprint(self), `role:"operator"`) || !strings.Contains(fmt.Sprint(self), `owners:"team-a"`) {
		t.Errorf("%v %v", self, err)
	}
	if _, err := pb.NewLedgerServiceClient(admin.conn).GetHead(admin.ctx(), &pb.GetHeadRequest{}); err != nil {
		t.Error(err)
	}

	// One's own, all for who may see all, and one's own to revoke.
	viewer, theirs := a.loggedIn("eve", "viewer")
	count := func(c *caller, filter string) int {
		t.Helper()
		list, err := c.sessions().ListSessions(c.ctx(), &pb.ListSessionsRequest{Filter: filter})
		a.must(err)
		return len(list.GetSessions())
	}
	auditor, _ := a.loggedIn("aud", "auditor")
	for _, test := range []struct {
		c      *caller
		filter string
		want   int
	}{{admin, "", 5}, {auditor, "", 5}, {viewer, "", 1}, {limited, "", 1}, {admin, `principal = "oidc:` + a.provider.URL + `#eve"`, 1}, {admin, `state = "REVOKED"`, 0}} {
		if got := count(test.c, test.filter); got != test.want {
			t.Errorf("%q: %d sessions, want %d", test.filter, got, test.want)
		}
	}
	for _, c := range []*caller{viewer, auditor} {
		if _, err := c.sessions().RevokeSession(c.ctx(), &pb.RevokeSessionRequest{Id: made.GetSession().GetId()}); status.Code(err) != codes.NotFound {
			t.Errorf("another's: %v", err)
		}
	}
	if _, err := admin.sessions().RevokeSession(admin.ctx(), &pb.RevokeSessionRequest{Id: theirs.GetSession().GetId()}); err != nil {
		t.Error(err)
	}
	// Refused at once, on the connection that is kept, over both doors.
	if _, err := viewer.sessions().GetSelf(viewer.ctx(), &pb.GetSelfRequest{}); reason(err) != "SESSION_REVOKED" {
		t.Error(err)
	}
	if code, body, _ := viewer.ask(http.MethodGet, "/v1/self"); code != 401 || !strings.Contains(string(body), "SESSION_REVOKED") {
		t.Errorf("%d %s", code, body)
	}
	if _, err := admin.sessions().RevokeSession(admin.ctx(), &pb.RevokeSessionRequest{Id: made.GetSession().GetId()}); err != nil {
		t.Error(err)
	}
	if _, err := admin.sessions().GetSelf(admin.ctx(), &pb.GetSelfRequest{}); reason(err) != "SESSION_REVOKED" {
		t.Error(err)
	}
}

// TestLoginIsRefused: who opens no session, and why.
func TestLoginIsRefused(t *testing.T) {
	a := newAccessWorld(t)
	used := a.login("root", "ca-admin")
	first := a.caller("Bearer "+used, nil)
	if _, err := first.sessions().CreateSession(first.ctx(), &pb.CreateSessionRequest{}); err != nil {
		t.Fatal(err)
	}
	inSession, _ := a.loggedIn("root", "ca-admin")
	server, _ := a.certificate("server")
	for name, test := range map[string]struct {
		c      *caller
		in     *pb.CreateSessionRequest
		reason string
	}{
		"a token again":                  {first, nil, "TOKEN_USED"},
		"without a role":                 {a.caller("Bearer "+a.login("eve", "nobody"), nil), nil, "NO_ROLE"},
		"a workload's token":             {a.caller("Bearer "+a.provider.Token("root", map[string]any{"groups": []string{"ca-admin"}}), nil), nil, "PERMISSION_DENIED"},
		"in a session":                   {inSession, nil, "PERMISSION_DENIED"},
		"a certificate without a role":   {a.caller("", server), nil, "NO_ROLE"},
		"too long":                       {a.caller("Bearer "+a.login("a", "ca-admin"), nil), &pb.CreateSessionRequest{Lifetime: durationpb.New(2 * time.Hour)}, "MALFORMED"},
		"no time":                        {a.caller("Bearer "+a.login("b", "ca-admin"), nil), &pb.CreateSessionRequest{Lifetime: durationpb.New(0)}, "FIELD_INVALID"},
		"a duration that is none":        {a.caller("Bearer "+a.login("c", "ca-admin"), nil), &pb.CreateSessionRequest{Lifetime: &durationpb.Duration{Seconds: 1 << 62}}, "FIELD_INVALID"},
		"a token for login does no more": {nil, nil, "PERMISSION_DENIED"},
	} {
		if test.c == nil {
			c := a.caller("Bearer "+a.login("d", "ca-admin"), nil)
			if _, err := pb.NewLedgerServiceClient(c.conn).GetHead(c.ctx(), &pb.GetHeadRequest{}); reason(err) != test.reason {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if test.in == nil {
			test.in = &pb.CreateSessionRequest{}
		}
		if _, err := test.c.sessions().CreateSession(test.c.ctx(), test.in); reason(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
	}
	// No token is told to anybody.
	raws, err := a.store.Entries(t.Context(), 0, 1000)
	a.must(err)
	for _, raw := range raws {
		if strings.Contains(string(raw), used[:40]) || strings.Contains(string(raw), strings.TrimPrefix(inSession.header, "Bearer cws_")) || strings.Contains(string(raw), "@x.example") {
			t.Error("an entry holds a token or an address")
		}
	}
}

// TestRoleTakenAway: a session has the roles that the policy gives now.
func TestRoleTakenAway(t *testing.T) {
	a := newAccessWorld(t)
	c, _ := a.loggedIn("eve", "auditor")
	head := func() error {
		_, err := pb.NewLedgerServiceClient(c.conn).GetHead(c.ctx(), &pb.GetHeadRequest{})
		return err
	}
	a.must(head())
	stream := reflectionStream(t, c)
	policies := pb.NewPolicyServiceClient(a.admin)
	_, err := policies.ApplyPolicy(t.Context(), &pb.ApplyPolicyRequest{Document: testPolicy})
	a.must(err)
	if err := head(); status.Code(err) != codes.PermissionDenied || !strings.Contains(details(err), "the role ") {
		t.Error(err)
	}
	if stream != nil {
		t.Error("an auditor reflects")
	}
	self, err := c.sessions().GetSelf(c.ctx(), &pb.GetSelfRequest{})
	if err != nil || len(self.GetRoles()) != 1 {
		t.Errorf("%v %v", self, err)
	}
}

// reflectionStream is a stream that is under way; nil: it was refused.
func reflectionStream(t *testing.T, c *caller) grpc.BidiStreamingClient[reflectionpb.ServerReflectionRequest, reflectionpb.ServerReflectionResponse] {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(c.conn).ServerReflectionInfo(c.ctx())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}) // Recv tells
	if _, err := stream.Recv(); err != nil {
		if status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
		return nil
	}
	return stream
}

// TestStreamIsCut: what is under way by a session that is revoked ends.
func TestStreamIsCut(t *testing.T) {
	a := newAccessWorld(t)
	c, made := a.loggedIn("root", "ca-admin")
	stream := reflectionStream(t, c)
	if stream == nil {
		t.Fatal("refused")
	}
	_, err := a.sessions.Revoke(t.Context(), made.GetSession().GetId(), "x:y")
	a.must(err)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated || reason(err) != "SESSION_REVOKED" {
		t.Errorf("%v", err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestLoginByCertificate: a certificate with a role opens sessions, none of which
// outlives it, and which end with it.
func TestLoginByCertificate(t *testing.T) {
	a := newAccessWorld(t)
	made, secret, err := a.tokens.Create(t.Context(), token.Spec{
		Owner: "team-a", Profiles: []string{"other"}, Names: identity.Names{DNS: []string{"ops.team-a.internal"}}, TTL: time.Hour, Creator: "local_socket:admin",
	})
	a.must(err)
	key := a.world.key()
	cert, err := pb.NewCertificateServiceClient(a.tcp).SignCertificate(bearer(t.Context(), secret), &pb.SignCertificateRequest{Csr: a.csrOf(key, "ops.team-a.internal"), Validity: durationpb.New(30 * time.Minute)})
	a.must(err)
	document := strings.Replace(testPolicy, "conditions:", `roles:
  - {role: auditor, principals: [{mtls: ops.team-a.internal, claims: {grant: "token:`+made.ID+`"}}]}
conditions:`, 1)
	if _, err := pb.NewPolicyServiceClient(a.admin).ApplyPolicy(t.Context(), &pb.ApplyPolicyRequest{Document: document}); err != nil {
		t.Fatal(err)
	}
	byCert := a.caller("", tlsCertificate(cert.GetPem(), key))
	opened, err := byCert.sessions().CreateSession(byCert.ctx(), &pb.CreateSessionRequest{})
	a.must(err)
	if until := opened.GetSession().GetExpireTime().AsTime(); until.After(cert.GetNotAfter().AsTime()) || until.Before(time.Now().Add(20*time.Minute)) {
		t.Errorf("until %s, the certificate until %s", until, cert.GetNotAfter().AsTime())
	}
	// What proves the certificate again is the server's; here the test's.
	a.stillHolds = func(ctx context.Context, p identity.Principal) (identity.Principal, error) {
		row, err := a.store.ByFingerprint(ctx, p.Evidence)
		if err != nil || row.Revocation != nil {
			return p, fmt.Errorf("revoked: %w", err)
		}
		p.Claims = map[string]any{"names": []string{"ops.team-a.internal"}, "grant": row.Intent.Grant}
		return p, nil
	}
	c := a.caller("Bearer "+opened.GetToken(), nil)
	if _, err := pb.NewLedgerServiceClient(c.conn).GetHead(c.ctx(), &pb.GetHeadRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := pb.NewCertificateServiceClient(c.conn).RenewCertificate(c.ctx(), &pb.RenewCertificateRequest{Id: cert.GetId()}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a session renews: %v", err)
	}
	raws, err := a.store.Entries(t.Context(), 0, 1000)
	a.must(err)
	e, err := entry.Parse(raws[len(raws)-1])
	if err != nil || e.Actor != "mtls:"+cert.GetId() {
		t.Errorf("%+v %v", e, err)
	}
}

// TestServersCertificateHasNoRole: what is good for a server only, though a role names
// it, opens no session and reads nothing.
func TestServersCertificateHasNoRole(t *testing.T) {
	a := newAccessWorld(t)
	made, secret, err := a.tokens.Create(t.Context(), token.Spec{
		Owner: "team-a", Profiles: []string{"server"}, Names: identity.Names{DNS: []string{"ops.team-a.internal"}}, TTL: time.Hour, Creator: "local_socket:admin",
	})
	a.must(err)
	key := a.world.key()
	cert, err := pb.NewCertificateServiceClient(a.tcp).SignCertificate(bearer(t.Context(), secret), &pb.SignCertificateRequest{Csr: a.csrOf(key, "ops.team-a.internal")})
	a.must(err)
	document := strings.Replace(testPolicy, "conditions:", `roles:
  - {role: ca-admin, principals: [{mtls: ops.team-a.internal, claims: {grant: "token:`+made.ID+`"}}]}
conditions:`, 1)
	if _, err := pb.NewPolicyServiceClient(a.admin).ApplyPolicy(t.Context(), &pb.ApplyPolicyRequest{Document: document}); err != nil {
		t.Fatal(err)
	}
	c := a.caller("", tlsCertificate(cert.GetPem(), key))
	if _, err := c.sessions().CreateSession(c.ctx(), &pb.CreateSessionRequest{}); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "good for servers only") {
		t.Errorf("a session: %v", err)
	}
	if _, err := pb.NewLedgerServiceClient(c.conn).GetHead(c.ctx(), &pb.GetHeadRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the ledger: %v", err)
	}
}

func TestProvidersAreShown(t *testing.T) {
	w := newWorld(t, func(c *api.Config) {
		c.Providers = []api.Provider{{Issuer: "https://idp.x", ClientID: "cli", Scopes: []string{"openid", "groups"}}}
	})
	code, body, _ := w.request(http.MethodGet, "/v1/providers", "", "")
	if text := strings.ReplaceAll(string(body), " ", ""); code != 200 || text != `{"providers":[{"issuer":"https://idp.x","clientId":"cli","scopes":["openid","groups"]}]}` {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := w.request(http.MethodPost, "/v1/sessions", "", "{}"); code != 401 {
		t.Error(code)
	}
}
