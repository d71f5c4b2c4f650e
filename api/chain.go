package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// requestIDHeader names the call to its caller: in gRPC's header, in REST's
// response header and, in both, in every error.
const requestIDHeader = "x-request-id"

// call is what the chain knows of one call. REST makes it before the route's
// handler runs; it travels in the context.
type call struct {
	requestID     string
	rest          bool
	credentials   auth.Credentials
	authenticated bool
	principal     identity.Principal
	view          view // of the method that is called
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf is the call under way; the chain has put it there.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

func newRequestID() string {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// chain runs one call of a method through everything that every call goes
// through. do receives the request and calls enter before it begins to work: only
// then does the call take a place, so that who sends nothing holds none. The error
// is a *failure.
func (s *Server) chain(ctx context.Context, method string, stream bool, do func(ctx context.Context, enter func() error) (any, error)) (answer any, err error) {
	// 1. A name for the call.
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		c = &call{requestID: newRequestID()}
		ctx = withCall(ctx, c)
		// It fails where there is no transport to tell: then nobody listens.
		_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDHeader, c.requestID))
	}
	s.counters.calls.Add(1)
	// 2. Whatever goes wrong below becomes a failure, panics included.
	defer func() {
		if p := recover(); p != nil {
			s.counters.panics.Add(1)
			s.config.Logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("method", method),
				slog.String("request", c.requestID), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			answer, err = nil, problem.New(problem.Internal, "panic")
		}
		if err != nil {
			answer, err = nil, s.fail(ctx, method, c, err)
		}
	}()
	// 3. Who calls, and may they?
	if err := s.admit(ctx, c, method); err != nil {
		return nil, err
	}
	if !stream {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.Limits.Timeout)
		defer cancel()
	}
	// 4. The request, then a place, then the method.
	e := entrance{room: s.places.of(method, s.methods[method], c, stream), who: c.principal.String()}
	if !stream {
		defer e.leave()
		return do(ctx, e.enter)
	}
	return s.attend(ctx, c, method, func(ctx context.Context) (any, error) {
		defer e.leave()
		return do(ctx, e.enter)
	})
}

// admit authenticates the call, once, and authorizes it for the method.
func (s *Server) admit(ctx context.Context, c *call, method string) error {
	access, known := s.methods[method]
	var err error
	if !c.rest {
		c.credentials, err = grpcCredentials(ctx)
	}
	if access.public {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.authenticated {
		principal, err := s.authenticate(ctx, c.credentials)
		if err != nil {
			return err
		}
		c.principal, c.authenticated = principal, true
	}
	if !known { // there is no such method, which is said later
		return nil
	}
	c.view, err = access.view(method, c.principal)
	return err
}

// authenticate asks the authenticators in their order. The policy gives roles.
func (s *Server) authenticate(ctx context.Context, c auth.Credentials) (identity.Principal, error) {
	if c.Empty() {
		return identity.Principal{}, unauthenticated("NO_CREDENTIALS", "the call shows no credentials")
	}
	for _, a := range s.config.Authenticators {
		principal, err := a.Authenticate(ctx, c)
		if errors.Is(err, auth.ErrNotMine) {
			continue
		}
		if err == nil && (principal.Method == "" || principal.ID == "") {
			err = errors.New("an authenticator proved nobody")
		}
		if err != nil {
			return identity.Principal{}, err
		}
		return s.withRoles(principal), nil
	}
	return identity.Principal{}, unauthenticated("CREDENTIALS_NOT_KNOWN", "the credentials are of no known sort")
}

// withRoles is the principal with the roles that the policy gives it. A token for
// login has none by itself: it opens a session. So does a certificate that has some.
func (s *Server) withRoles(p identity.Principal) identity.Principal {
	if p.Has(identity.RoleLogin) && !p.Has(identity.RoleRequester) {
		return p
	}
	if p.Method == identity.MTLS && p.Session == "" && !p.Has(identity.RoleRequester) {
		return p // not a client's certificate: good for its own renewal
	}
	p = s.config.Policies.Engine().WithRoles(p)
	if (p.Method == identity.MTLS || p.Method == identity.Device) && p.Session == "" && isAdmin(p) {
		p.Roles = append(slices.Clip(p.Roles), identity.RoleLogin)
	}
	return p
}

func unauthenticated(reason, detail string) *problem.Problem {
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: reason, Detail: detail,
		Help: "Log in (certwright login), or send a join token (cwt_…) or an identity provider's token as Authorization: Bearer, show a client certificate, or use the admin socket of the server.",
	}
}

// grpcCredentials are those of a call that came over gRPC: the transport's own,
// and the one authorization value of the metadata.
func grpcCredentials(ctx context.Context) (auth.Credentials, error) {
	var c auth.Credentials
	switch values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) {
	case 0:
	case 1:
		c.Authorization = values[0]
	default:
		return c, unauthenticated("CREDENTIALS_TWICE", "the call shows more than one authorization")
	}
	if p, ok := peer.FromContext(ctx); ok {
		switch info := p.AuthInfo.(type) {
		case socketInfo:
			c.Peer = &info.peer
			return c, nil
		case credentials.TLSInfo:
			c.TLS = &info.State
		}
		c.RemoteAddr = p.Addr.String()
	}
	return c, nil
}
