package api

import (
	"context"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/inventory/filter"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// eabService implements certwright.v1.EABService.
type eabService struct {
	certwrightv1.UnimplementedEABServiceServer
	*Server
}

// CreateEABKey implements certwright.v1.EABService.
func (s *eabService) CreateEABKey(ctx context.Context, in *certwrightv1.CreateEABKeyRequest) (*certwrightv1.CreateEABKeyResponse, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	spec, err := eabSpec(in, callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	key, hmac, err := acme.EABKeys.CreateEAB(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &certwrightv1.CreateEABKeyResponse{Key: s.eabMessage(key), HmacKey: hmac, Directory: acme.Directory}, nil
}

// eabSpec is the request in the ACME server's terms. The form of name and owner is
// the ACME server's to check.
func eabSpec(in *certwrightv1.CreateEABKeyRequest, creator string) (enrol.EABSpec, error) {
	spec := enrol.EABSpec{Name: in.GetName(), Owner: in.GetOwner(), TTL: in.GetTtl().AsDuration(), Creator: creator}
	if spec.Name == "" {
		spec.Name = spec.Owner
	}
	switch {
	case spec.Name == "":
		return spec, invalid("name", "", "an EAB key has a name or an owner: grants know its accounts by it", "a name")
	case in.GetTtl() != nil && (in.GetTtl().CheckValid() != nil || spec.TTL <= 0):
		return spec, invalid("ttl", "", "the lifetime is not a positive duration", "60s and more; none for no end")
	case in.GetUses() < -1:
		return spec, invalid("uses", "", "the number of uses is negative", "1 and more; 0 is 1, -1 any number")
	}
	switch uses := in.GetUses(); {
	case uses == 0:
		spec.Uses = 1
	case uses > 0:
		spec.Uses = uint32(uses)
	}
	var err error
	spec.Bound, err = eabGrant(in)
	return spec, err
}

// eabGrant is the grant of the key's own; nil if there is none.
func eabGrant(in *certwrightv1.CreateEABKeyRequest) (*identity.Bound, error) {
	patterns := len(in.GetDnsPatterns()) + len(in.GetIpPatterns())
	switch {
	case len(in.GetProfiles()) == 0 && (patterns > 0 || in.GetNoChallenges()):
		return nil, invalid("profiles", "", "names are for a grant of the key's own, which needs profiles", "profiles of the active policy")
	case len(in.GetProfiles()) == 0:
		return nil, nil
	case patterns == 0 || in.GetOwner() == "":
		return nil, invalid("dns_patterns", "", "a grant of the key's own needs names and an owner", "patterns of the policy")
	}
	return &identity.Bound{
		Name: "eab", Profiles: in.GetProfiles(), Owner: in.GetOwner(), NoChallenges: in.GetNoChallenges(),
		Allow: identity.Names{DNS: in.GetDnsPatterns(), IP: in.GetIpPatterns()},
	}, nil
}

// RevokeEABKey implements certwright.v1.EABService.
func (s *eabService) RevokeEABKey(ctx context.Context, in *certwrightv1.RevokeEABKeyRequest) (*certwrightv1.EABKey, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	key, err := acme.EABKeys.RevokeEAB(ctx, in.GetId(), callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	return s.eabMessage(key), nil
}

// ListEABKeys implements certwright.v1.EABService.
func (s *eabService) ListEABKeys(ctx context.Context, in *certwrightv1.ListEABKeysRequest) (*certwrightv1.ListEABKeysResponse, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.ListEABKeysResponse{}
	out.EabKeys, out.NextPageToken, err = scan(ctx, listing{in.GetPageSize(), in.GetPageToken(), in.GetFilter(), "eabKeys"}, eabFields(),
		acme.EABKeys.EABKeys, s.eabMessage, ofOwner(ctx, eabRow, (*certwrightv1.EABKey).GetOwner))
	return out, err
}

func eabFields() []filter.Field {
	return []filter.Field{
		{Name: "id", Type: filter.Text},
		{Name: "name", Type: filter.Text},
		{Name: "owner", Type: filter.Text},
		{Name: "creator", Type: filter.Text},
		{Name: "state", Type: filter.Text, Values: []string{
			string(enrol.EABActive), string(enrol.EABUsedUp), string(enrol.EABExpired), string(enrol.EABRevoked)}},
		{Name: "create_time", Type: filter.Time},
		{Name: "expire_time", Type: filter.Time},
	}
}

func (s *eabService) eabMessage(k enrol.EABKey) *certwrightv1.EABKey {
	m := &certwrightv1.EABKey{
		Id: k.ID, Name: k.Name, Owner: k.Owner, Uses: int32(k.Uses), Used: int32(k.Used), Creator: k.Creator,
		State:      certwrightv1.EABKey_State(certwrightv1.EABKey_State_value[string(k.State(s.config.Now()))]),
		CreateTime: timestamp(k.Created), ExpireTime: timestamp(k.Expires),
	}
	if b := k.Bound; b != nil {
		m.Profiles, m.DnsPatterns, m.IpPatterns, m.NoChallenges = b.Profiles, b.Allow.DNS, b.Allow.IP, b.NoChallenges
	}
	return m
}

func eabRow(m *certwrightv1.EABKey) filter.Row {
	return func(field string) any {
		switch field {
		case "id":
			return m.GetId()
		case "name":
			return m.GetName()
		case "owner":
			return m.GetOwner()
		case "creator":
			return m.GetCreator()
		case "state":
			return m.GetState().String()
		case "create_time":
			return m.GetCreateTime().AsTime()
		case "expire_time":
			if m.GetExpireTime() != nil {
				return m.GetExpireTime().AsTime()
			}
		}
		return nil
	}
}
