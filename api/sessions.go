package api

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// Provider is an identity provider at which people log in.
type Provider struct {
	Issuer, ClientID string
	Scopes           []string
}

// sessionService implements certwright.v1.SessionService.
type sessionService struct {
	certwrightv1.UnimplementedSessionServiceServer
	*Server
	strikes *strikes
}

// ListProviders implements certwright.v1.SessionService.
func (s *sessionService) ListProviders(context.Context, *certwrightv1.ListProvidersRequest) (*certwrightv1.ListProvidersResponse, error) {
	out := &certwrightv1.ListProvidersResponse{}
	for _, p := range s.config.Providers {
		out.Providers = append(out.Providers, &certwrightv1.Provider{Issuer: p.Issuer, ClientId: p.ClientID, Scopes: p.Scopes})
	}
	return out, nil
}

// CreateSession implements certwright.v1.SessionService.
func (s *sessionService) CreateSession(ctx context.Context, in *certwrightv1.CreateSessionRequest) (*certwrightv1.CreateSessionResponse, error) {
	call := callOf(ctx)
	if err := s.strikes.check(call, s.config.Now()); err != nil {
		return nil, err
	}
	out, err := s.open(ctx, call, in)
	if problem.KindOf(err) == problem.RateLimited { // too many sessions: that was read from the store
		s.strikes.take(call, s.config.Now())
	} else if err != nil {
		s.strikes.count(call, err, s.config.Now())
	}
	return out, err
}

func (s *sessionService) open(ctx context.Context, c *call, in *certwrightv1.CreateSessionRequest) (*certwrightv1.CreateSessionResponse, error) {
	held := s.config.Policies.Engine().WithRoles(c.principal)
	if !isAdmin(held) {
		return nil, noRole(held)
	}
	wish := session.Wish{Principal: c.principal, Address: hostOf(c.credentials.RemoteAddr)}
	if in.Lifetime != nil {
		if in.GetLifetime().CheckValid() != nil {
			return nil, invalid("lifetime", "", "the lifetime is not a duration", "")
		}
		if wish.Lifetime = in.GetLifetime().AsDuration(); wish.Lifetime == 0 {
			return nil, invalid("lifetime", "0s", "a session of no time is none", "leave it out for the longest")
		}
	}
	if err := provenOnce(c, &wish); err != nil {
		return nil, err
	}
	opened, token, err := s.config.Sessions.Open(ctx, wish)
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.CreateSessionResponse{Session: s.sessionMessage(opened, ""), Token: token}
	for _, r := range rolesHeld(held) {
		if slices.Contains(identity.AdminRoles(), identity.Role(r.GetRole())) {
			out.Roles = append(out.Roles, r)
		}
	}
	return out, nil
}

// provenOnce bounds the session by what it is opened with.
func provenOnce(c *call, wish *session.Wish) error {
	switch c.principal.Method {
	case identity.OIDC:
		token, _ := auth.Bearer(c.credentials.Authorization)
		once, err := oidc.LoginOnce(c.principal, token)
		wish.Once = &once
		return err
	case identity.MTLS, identity.Device:
		wish.Name = nameOf(c.principal)
		if wish.Until = c.principal.Until; wish.Until.IsZero() {
			return fmt.Errorf("a certificate that never ends")
		}
		return nil
	}
	return problem.New(problem.PermissionDenied, "credentials of this sort open no session")
}

// isCertificate tells whether a certificate was shown, and no session.
func isCertificate(p identity.Principal) bool {
	return (p.Method == identity.MTLS || p.Method == identity.Device) && p.Session == ""
}

// noRole refuses a login for which there is no role.
func noRole(p identity.Principal) error {
	it := &problem.Problem{
		Kind: problem.PermissionDenied, Reason: "NO_ROLE", Rule: "roles", Value: p.String(),
		Detail: "the policy gives you no role, so there is nothing to log in for",
		Help:   "ask a CA admin for a role: roles are given in the policy file, and certwright policy simulate --claim shows which one gets",
	}
	if isCertificate(p) {
		it.Allowed = "a certificate for clients to which the policy gives the role of an admin"
	}
	switch {
	case p.Method == identity.MTLS && p.Session == "" && !p.Has(identity.RoleRequester):
		it.Detail = fmt.Sprintf("the policy gives this certificate no role (%.200s): it is good for servers only", p)
		it.Help = "log in with one that is for clients; see certwright role list"
	case isCertificate(p):
		it.Detail = fmt.Sprintf("the policy gives this certificate no role (%.200s)", p)
		it.Help = "see certwright role list; a role for certificates names the grant under which they are issued"
	}
	return it
}

func isAdmin(p identity.Principal) bool { return slices.ContainsFunc(identity.AdminRoles(), p.Has) }

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}

// GetSelf implements certwright.v1.SessionService.
func (s *sessionService) GetSelf(ctx context.Context, _ *certwrightv1.GetSelfRequest) (*certwrightv1.Self, error) {
	p := callOf(ctx).principal
	out := &certwrightv1.Self{Principal: p.String(), Name: nameOf(p), Roles: rolesHeld(p)}
	if p.Session != "" {
		own, err := s.config.Sessions.Get(ctx, p.Session)
		if err != nil {
			return nil, err
		}
		out.Session = s.sessionMessage(own, p.Session)
	}
	return out, nil
}

// RevokeSession implements certwright.v1.SessionService.
func (s *sessionService) RevokeSession(ctx context.Context, in *certwrightv1.RevokeSessionRequest) (*certwrightv1.Session, error) {
	p := callOf(ctx).principal
	found, err := s.config.Sessions.Get(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	if found.Principal.String() != p.String() && !p.Has(identity.RoleAdmin) {
		return nil, session.NotFound(in.GetId())
	}
	revoked, err := s.config.Sessions.Revoke(ctx, in.GetId(), p.String())
	if err != nil {
		return nil, err
	}
	return s.sessionMessage(revoked, p.Session), nil
}

func sessionFields() []filter.Field {
	return []filter.Field{
		{Name: "id", Type: filter.Text},
		{Name: "principal", Type: filter.Text},
		{Name: "state", Type: filter.Text, Values: []string{string(session.Active), string(session.Expired), string(session.Revoked)}},
		{Name: "create_time", Type: filter.Time},
		{Name: "expire_time", Type: filter.Time},
	}
}

// maxSessionScan is how many sessions are read for one page.
const maxSessionScan = 5000

// ListSessions implements certwright.v1.SessionService.
func (s *sessionService) ListSessions(ctx context.Context, in *certwrightv1.ListSessionsRequest) (*certwrightv1.ListSessionsResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	f, err := filter.Compile(in.GetFilter(), sessionFields())
	if err != nil {
		return nil, err
	}
	after, err := filter.ParsePageToken(in.GetPageToken(), "sessions", in.GetFilter())
	if err != nil {
		return nil, err
	}
	p := callOf(ctx).principal
	whose := p.String()
	if _, limited := p.Limits[identity.RoleAuditor]; p.Has(identity.RoleAdmin) || p.Has(identity.RoleAuditor) && !limited {
		whose = ""
	}
	out := &certwrightv1.ListSessionsResponse{}
	for scanned := 0; ; {
		// No more than there is room for: the place to go on from is the store's.
		page, err := s.config.Sessions.List(ctx, whose, after, size-len(out.GetSessions()))
		if err != nil {
			return nil, err
		}
		for _, each := range page.Sessions {
			if m := s.sessionMessage(each, p.Session); f.Match(sessionRow(m)) {
				out.Sessions = append(out.Sessions, m)
			}
		}
		scanned += len(page.Sessions)
		after = page.Next
		if after == nil || len(out.GetSessions()) == size || scanned >= maxSessionScan {
			out.NextPageToken = filter.PageToken(after, "sessions", in.GetFilter())
			return out, nil
		}
	}
}

func sessionRow(m *certwrightv1.Session) filter.Row {
	return func(field string) any {
		switch field {
		case "id":
			return m.GetId()
		case "principal":
			return m.GetPrincipal()
		case "state":
			return m.GetState().String()
		case "create_time":
			return m.GetCreateTime().AsTime()
		case "expire_time":
			return m.GetExpireTime().AsTime()
		}
		return nil
	}
}

// sessionMessage is a session as it is shown to who calls by the session current.
func (s *sessionService) sessionMessage(each session.Session, current string) *certwrightv1.Session {
	return &certwrightv1.Session{
		Id: each.ID, Principal: each.Principal.String(), Name: cmp.Or(each.Name, nameOf(each.Principal)), Address: each.Address,
		State:      certwrightv1.Session_State(certwrightv1.Session_State_value[string(each.State(s.config.Now()))]),
		CreateTime: timestamp(each.Created), ExpireTime: timestamp(each.Expires), RevokeTime: timestamp(each.Revoked),
		Current: each.ID == current,
	}
}

// rolesHeld are the principal's roles with their limits.
func rolesHeld(p identity.Principal) []*certwrightv1.RoleHeld {
	var out []*certwrightv1.RoleHeld
	for _, role := range p.Roles {
		out = append(out, &certwrightv1.RoleHeld{Role: string(role), Owners: p.Limits[role]})
	}
	return out
}

// nameOf is what people call the principal, if anything proven says so.
func nameOf(p identity.Principal) string {
	if p.Method == identity.MTLS || p.Method == identity.Device {
		return certificateName(p.Claims)
	}
	for _, claim := range []string{"preferred_username", "email", "name", "common_name"} {
		if text, ok := p.Claims[claim].(string); ok && text != "" && len(text) <= 256 {
			return text
		}
	}
	return ""
}

// certificateName is a certificate's SPIFFE ID, else its first DNS name, else its common
// name, else its first name of another sort, with its serial number.
func certificateName(claims map[string]any) string {
	name := first(claims, "uri", func(uri string) bool { return strings.HasPrefix(uri, "spiffe://") })
	for _, claim := range []string{"dns", "common_name", "name"} {
		if name == "" {
			name = first(claims, claim, func(string) bool { return true })
		}
	}
	if serial, _ := claims["serial"].(string); serial != "" {
		return strings.TrimSpace(name + " (serial " + serial + ")")
	}
	return name
}

// first is the first value of a claim, which may be a list, that is good and not too
// long to be shown; "": there is none.
func first(claims map[string]any, claim string, good func(string) bool) string {
	var values []any
	switch v := claims[claim].(type) {
	case string:
		values = []any{v}
	case []string:
		for _, each := range v {
			values = append(values, each)
		}
	case []any:
		values = v
	}
	for _, each := range values {
		if text, ok := each.(string); ok && len(text) <= 256 && good(text) {
			return text
		}
	}
	return ""
}
