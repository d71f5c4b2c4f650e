package api_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestLimitedToOwners: who is limited to owners finds and changes nothing of
// others, and cannot tell it from what is not there.
func TestLimitedToOwners(t *testing.T) {
	a := newAccessWorld(t)
	ctx := t.Context()
	limited := a.caller("Bearer "+a.provider.Token("s", map[string]any{"groups": []string{"limited"}}), nil)
	certificates := certwrightv1.NewCertificateServiceClient(limited.conn)
	_, mine := a.certificate("other") // of team-a
	_, secret, err := a.tokens.Create(ctx, token.Spec{
		Owner: "team-b", Profiles: []string{"server"}, Names: identity.Names{DNS: []string{"*.team-b.internal"}}, TTL: time.Hour, Uses: 9, Creator: "local_socket:admin",
	})
	a.must(err)
	sign := certwrightv1.NewCertificateServiceClient(a.tcp)
	theirs, err := sign.SignCertificate(bearer(ctx, secret), &certwrightv1.SignCertificateRequest{Csr: a.csr("x.team-b.internal")})
	a.must(err)
	_, err = sign.SignCertificate(bearer(ctx, secret), &certwrightv1.SignCertificateRequest{Csr: a.csr("x.elsewhere.internal"), Owner: "team-b"})
	if err == nil {
		t.Fatal("no refusal to list")
	}

	for _, filter := range []string{"", `owner = "team-b"`, `owner = "team-b" OR owner = "team-a"`, `NOT owner = "team-a" OR state = ISSUED`, `serial = "` + theirs.GetSerial() + `"`} {
		list, err := certificates.ListCertificates(limited.ctx(), &certwrightv1.ListCertificatesRequest{Filter: filter, PageSize: 1000})
		a.must(err)
		for _, c := range list.GetCertificates() {
			if c.GetOwner() != "team-a" {
				t.Errorf("%q shows %s of %s", filter, c.GetSerial(), c.GetOwner())
			}
		}
		replaced, err := certificates.ReplaceCertificates(limited.ctx(), &certwrightv1.ReplaceCertificatesRequest{
			Filter: orAll(filter), Before: timestamppb.New(time.Now().Add(time.Hour)), ValidateOnly: true,
		})
		a.must(err)
		for _, c := range replaced.GetCertificates() {
			if c.GetOwner() != "team-a" {
				t.Errorf("%q would replace one of %s", filter, c.GetOwner())
			}
		}
	}
	for name, call := range map[string]func() error{
		"get": func() error {
			_, err := certificates.GetCertificate(limited.ctx(), &certwrightv1.GetCertificateRequest{Id: theirs.GetId()})
			return err
		},
		"renewal info": func() error {
			_, err := certificates.GetRenewalInfo(limited.ctx(), &certwrightv1.GetRenewalInfoRequest{Id: theirs.GetId()})
			return err
		},
		"revoke": func() error {
			_, err := certificates.RevokeCertificate(limited.ctx(), &certwrightv1.RevokeCertificateRequest{Id: theirs.GetId()})
			return err
		},
		"revoke a token": func() error {
			_, err := certwrightv1.NewTokenServiceClient(limited.conn).RevokeToken(limited.ctx(), &certwrightv1.RevokeTokenRequest{Id: theirs.GetRequester()[len("token:"):]})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	tokens, err := certwrightv1.NewTokenServiceClient(limited.conn).ListTokens(limited.ctx(), &certwrightv1.ListTokensRequest{})
	if err != nil || len(tokens.GetTokens()) != 1 || tokens.GetTokens()[0].GetOwner() != "team-a" {
		t.Errorf("%v %v", tokens, err)
	}
	refusals, err := certificates.ListRefusals(limited.ctx(), &certwrightv1.ListRefusalsRequest{})
	if err != nil || len(refusals.GetRefusals()) != 0 {
		t.Errorf("%v %v", refusals, err)
	}
	a.limitedBulk(limited, mine, theirs)
}

func orAll(filter string) string {
	if filter == "" {
		return `owner:"*"`
	}
	return filter
}

// limitedBulk revokes everything that the limited caller can: that is its owners'.
func (a *accessWorld) limitedBulk(limited *caller, mine, theirs *certwrightv1.Certificate) {
	t := a.t
	certificates := certwrightv1.NewCertificateServiceClient(limited.conn)
	everything := &certwrightv1.BulkRevokeCertificatesRequest{Filter: `owner:"*" OR owner = "team-b"`, ValidateOnly: true}
	preview, err := certificates.BulkRevokeCertificates(limited.ctx(), everything)
	if err != nil || preview.GetBulkRevocation().GetTotal() != 1 || len(preview.GetBulkRevocation().GetOwners()) != 1 {
		t.Errorf("%v %v", preview, err)
	}
	// Another's operation is not there.
	other, err := a.certificates().BulkRevokeCertificates(t.Context(), &certwrightv1.BulkRevokeCertificatesRequest{Filter: `owner = "nobody"`})
	a.must(err)
	operations := certwrightv1.NewOperationServiceClient(limited.conn)
	if _, err := operations.GetOperation(limited.ctx(), &certwrightv1.GetOperationRequest{Id: other.GetId()}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	everything.ValidateOnly = false
	operation, err := certificates.BulkRevokeCertificates(limited.ctx(), everything)
	a.must(err)
	for deadline := time.Now().Add(30 * time.Second); !operation.GetDone() && time.Now().Before(deadline); {
		<-time.After(5 * time.Millisecond)
		operation, err = operations.GetOperation(limited.ctx(), &certwrightv1.GetOperationRequest{Id: operation.GetId()})
		a.must(err)
	}
	if operation.GetBulkRevocation().GetRevoked() != 1 {
		t.Errorf("%v", operation)
	}
	for c, want := range map[*certwrightv1.Certificate]certwrightv1.Certificate_State{
		mine: certwrightv1.Certificate_REVOKED, theirs: certwrightv1.Certificate_ISSUED,
	} {
		now, err := a.certificates().GetCertificate(t.Context(), &certwrightv1.GetCertificateRequest{Id: c.GetId()})
		if err != nil || now.GetState() != want {
			t.Errorf("of %s: %v %v", c.GetOwner(), now.GetState(), err)
		}
	}
}

// TestPolicyAdminChangesNoRoles: who may change the policy cannot make itself more.
func TestPolicyAdminChangesNoRoles(t *testing.T) {
	a := newAccessWorld(t)
	who := a.caller("Bearer "+a.provider.Token("s", map[string]any{"groups": []string{"policy-admin"}}), nil)
	client := certwrightv1.NewPolicyServiceClient(who.conn)
	active, err := client.GetPolicy(who.ctx(), &certwrightv1.GetPolicyRequest{})
	a.must(err)
	_, err = client.ApplyPolicy(who.ctx(), &certwrightv1.ApplyPolicyRequest{Document: active.GetDocument() + "# changed\n"})
	a.must(err)
	more := active.GetDocument() + "  - {name: more, require: 'true', message: more}\n"
	_, err = client.ApplyPolicy(who.ctx(), &certwrightv1.ApplyPolicyRequest{Document: more})
	a.must(err)
	for name, document := range map[string]string{
		"another role": "roles: [{role: ca-admin, principals: [{oidc: 'https://evil.example', claims: {a: b}}]}]\n" + testPolicy,
		"no roles":     testPolicy,
	} {
		_, err := client.ApplyPolicy(who.ctx(), &certwrightv1.ApplyPolicyRequest{Document: document})
		if status.Code(err) != codes.PermissionDenied || reason(err) != "ROLES_CHANGED" {
			t.Errorf("%s: %v", name, err)
		}
	}
	admin := certwrightv1.NewPolicyServiceClient(a.admin)
	_, err = admin.ApplyPolicy(t.Context(), &certwrightv1.ApplyPolicyRequest{Document: testPolicy})
	a.must(err)
	// From then on the token gives no role any more.
	if _, err := client.GetPolicy(who.ctx(), &certwrightv1.GetPolicyRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}
