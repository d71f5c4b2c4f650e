package api_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/identity"
	problems "github.com/certwright/certwright/problem"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// prover proves as it says at that time.
type prover func(ctx context.Context, since time.Duration) (identity.Principal, error)

type proverAt struct {
	began time.Time
	prove prover
}

func (p proverAt) Authenticate(ctx context.Context, _ auth.Credentials) (identity.Principal, error) {
	return p.prove(ctx, time.Since(p.began))
}

// TestStreamLivesWithItsCaller: within five seconds of the end of what its caller may
// do, a stream has ended, and says why.
func TestStreamLivesWithItsCaller(t *testing.T) {
	auditor := identity.Principal{Method: identity.MTLS, ID: "aa", Roles: []identity.Role{identity.RoleAuditor}}
	viewer := identity.Principal{Method: identity.MTLS, ID: "aa", Roles: []identity.Role{identity.RoleViewer}}
	const change = 10*time.Second + time.Millisecond
	after := func(p identity.Principal, err error) prover {
		return func(_ context.Context, since time.Duration) (identity.Principal, error) {
			if since >= change {
				return p, err
			}
			return auditor, nil
		}
	}
	refused := func(reason string) error {
		return &problems.Problem{Kind: problems.Unauthenticated, Reason: reason, Detail: "no"}
	}
	for name, test := range map[string]struct {
		prove  prover
		reason string // empty: it goes on
	}{
		"nothing":              {after(auditor, nil), ""},
		"revoked":              {after(auditor, refused("SESSION_REVOKED")), "SESSION_REVOKED"},
		"session expired":      {after(auditor, refused("SESSION_EXPIRED")), "SESSION_EXPIRED"},
		"certificate expired":  {after(auditor, refused("CERTIFICATE_EXPIRED")), "CERTIFICATE_EXPIRED"},
		"token expired":        {after(auditor, refused("TOKEN_EXPIRED")), "TOKEN_EXPIRED"},
		"role taken away":      {after(viewer, nil), "PERMISSION_DENIED"},
		"of no known sort":     {after(viewer, auth.ErrNotMine), "CREDENTIALS_NOT_KNOWN"},
		"the store is broken":  {after(auditor, errors.New("broken")), "CALLER_NOT_PROVEN"},
		"keys are unavailable": {after(auditor, problems.New(problems.Unavailable, "no keys")), "CALLER_NOT_PROVEN"},
		"it panics": {func(_ context.Context, since time.Duration) (identity.Principal, error) {
			if since >= change {
				panic("here")
			}
			return auditor, nil
		}, "CALLER_NOT_PROVEN"},
		"it hangs": {func(ctx context.Context, since time.Duration) (identity.Principal, error) {
			if since >= change {
				<-ctx.Done()
				return auditor, ctx.Err()
			}
			return auditor, nil
		}, "CALLER_NOT_PROVEN"},
		"a short fault": {func(_ context.Context, since time.Duration) (identity.Principal, error) {
			if since >= change && since < change+2*time.Second {
				return auditor, errors.New("broken")
			}
			return auditor, nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := api.Attended(t.Context(), proverAt{began, test.prove}, func(ctx context.Context) (any, error) {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(time.Hour):
						return nil, nil
					}
				}, identity.RoleAuditor, identity.RoleAdmin)
				took := time.Since(began)
				var p *problems.Problem
				switch {
				case test.reason == "" && (err != nil || took != time.Hour):
					t.Errorf("after %s: %v", took, err)
				case test.reason != "" && (!errors.As(err, &p) || p.Code() != test.reason || p.Detail == "" || took < change || took > change+5*time.Second):
					t.Errorf("after %s: %v, want %s", took, err, test.reason)
				}
				synctest.Wait()
			})
		})
	}
}

// TestStreamEndsWithItsSession: the same at the real door, by a session that expires.
func TestStreamEndsWithItsSession(t *testing.T) {
	a := newAccessWorld(t)
	_, text, err := a.sessions.Open(t.Context(), session.Wish{
		Principal: identity.Principal{Method: identity.OIDC, ID: a.provider.URL + "#s", Claims: map[string]any{"iss": a.provider.URL, "groups": []any{"ca-admin"}}},
		Until:     time.Now().Add(30 * time.Second),
	})
	a.must(err)
	c := a.caller("Bearer "+text, nil)
	stream := reflectionStream(t, c)
	if stream == nil {
		t.Fatal("refused")
	}
	// It expires now: the session is looked at by the sessions' clock.
	a.pass(time.Hour)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated || reason(err) != "SESSION_EXPIRED" {
		t.Errorf("%v", err)
	}
	if _, err := c.sessions().GetSelf(c.ctx(), &pb.GetSelfRequest{}); reason(err) != "SESSION_EXPIRED" {
		t.Error(err)
	}
}
