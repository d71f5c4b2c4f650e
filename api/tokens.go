package api

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/filter"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// tokenService implements certwright.v1.TokenService.
type tokenService struct {
	certwrightv1.UnimplementedTokenServiceServer
	*Server
}

// CreateToken implements certwright.v1.TokenService.
func (s *tokenService) CreateToken(ctx context.Context, in *certwrightv1.CreateTokenRequest) (*certwrightv1.CreateTokenResponse, error) {
	if err := checkRequestID(in.GetRequestId()); err != nil {
		return nil, err
	}
	if in.GetTtl().CheckValid() != nil {
		return nil, invalid("ttl", "", "the lifetime is missing or not a duration", "60s to 2592000s")
	}
	if in.GetUses() < 0 {
		return nil, invalid("uses", "", "the number of uses is negative", "1 to 10000; 0 is 1")
	}
	made, secret, err := s.config.Tokens.Create(ctx, token.Spec{
		Owner: in.GetOwner(), Profiles: in.GetProfiles(), TTL: in.GetTtl().AsDuration(), Uses: uint32(in.GetUses()),
		Names: identity.Names{
			DNS: in.GetDnsPatterns(), IP: in.GetIpPatterns(), URI: in.GetUriPatterns(), Email: in.GetEmailPatterns(),
		},
		Creator: callOf(ctx).principal.String(), RequestID: in.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.CreateTokenResponse{Token: s.tokenMessage(made), Secret: secret, Server: s.config.GRPCBase}
	if len(s.config.Roots) > 0 {
		out.RootFingerprint = fmt.Sprintf("sha256:%x", sha256.Sum256(s.config.Roots[0].Raw))
	}
	return out, nil
}

// RevokeToken implements certwright.v1.TokenService.
func (s *tokenService) RevokeToken(ctx context.Context, in *certwrightv1.RevokeTokenRequest) (*certwrightv1.Token, error) {
	if v := callOf(ctx).view; v.owners != nil {
		made, err := s.config.Tokens.Get(ctx, in.GetId())
		if err != nil {
			return nil, err
		}
		if !v.sees(made.Owner) {
			return nil, token.NotFound(in.GetId())
		}
	}
	revoked, err := s.config.Tokens.Revoke(ctx, in.GetId(), callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	return s.tokenMessage(revoked), nil
}

func tokenFields() []filter.Field {
	return []filter.Field{
		{Name: "id", Type: filter.Text},
		{Name: "owner", Type: filter.Text},
		{Name: "creator", Type: filter.Text},
		{Name: "state", Type: filter.Text, Values: []string{
			string(token.Active), string(token.UsedUp), string(token.Expired), string(token.Revoked)}},
		{Name: "create_time", Type: filter.Time},
		{Name: "expire_time", Type: filter.Time},
	}
}

// maxTokenScan is how many tokens are read for one page.
const maxTokenScan = 5000

// ListTokens implements certwright.v1.TokenService.
func (s *tokenService) ListTokens(ctx context.Context, in *certwrightv1.ListTokensRequest) (*certwrightv1.ListTokensResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	f, err := filter.Compile(in.GetFilter(), tokenFields())
	if err != nil {
		return nil, err
	}
	after, err := filter.ParsePageToken(in.GetPageToken(), "tokens", in.GetFilter())
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.ListTokensResponse{}
	for scanned := 0; ; {
		// No more than there is room for: the place to go on from is the store's.
		page, err := s.config.Tokens.List(ctx, after, size-len(out.GetTokens()))
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tokens {
			if m := s.tokenMessage(t); f.Match(tokenRow(m)) && callOf(ctx).view.sees(t.Owner) {
				out.Tokens = append(out.Tokens, m)
			}
		}
		scanned += len(page.Tokens)
		after = page.Next
		if after == nil || len(out.GetTokens()) == size || scanned >= maxTokenScan {
			out.NextPageToken = filter.PageToken(after, "tokens", in.GetFilter())
			return out, nil
		}
	}
}

func tokenRow(m *certwrightv1.Token) filter.Row {
	return func(field string) any {
		switch field {
		case "id":
			return m.GetId()
		case "owner":
			return m.GetOwner()
		case "creator":
			return m.GetCreator()
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

func (s *tokenService) tokenMessage(t token.Token) *certwrightv1.Token {
	return &certwrightv1.Token{
		Id: t.ID, Owner: t.Owner, Profiles: t.Profiles,
		DnsPatterns: t.Names.DNS, IpPatterns: t.Names.IP, UriPatterns: t.Names.URI, EmailPatterns: t.Names.Email,
		Uses: int32(t.Uses), Used: int32(t.Used),
		State:      certwrightv1.Token_State(certwrightv1.Token_State_value[string(t.State(s.config.Now()))]),
		CreateTime: timestamp(t.Created), ExpireTime: timestamp(t.Expires), RevokeTime: timestamp(t.Revoked), Creator: t.Creator,
	}
}
