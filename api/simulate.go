package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// SimulatePolicy implements certwright.v1.PolicyService: the request goes the way
// of SignCertificate up to the signature (ca.Authority.Preview), with a sample key,
// and the token that would pay for it is looked at.
func (s *policyService) SimulatePolicy(ctx context.Context, in *certwrightv1.SimulatePolicyRequest) (*certwrightv1.SimulatePolicyResponse, error) {
	req, err := s.simulated(ctx, in)
	if err != nil {
		return nil, err
	}
	hash := s.config.Policies.Engine().Hash()
	out := &certwrightv1.SimulatePolicyResponse{
		PolicyVersion: hex.EncodeToString(hash[:]), Principal: req.Principal.String(), Roles: rolesHeld(req.Principal),
	}
	if in.GetPrincipal() != "" && len(req.Identifiers) == 0 {
		return out, nil
	}
	spent, err := s.unusable(ctx, req.Principal)
	if err != nil {
		return nil, err
	}
	preview, err := s.config.Authority.Preview(ctx, req)
	if err != nil {
		p, _ := visible(err)
		if p.Kind != problem.Denied {
			return nil, err
		}
		out.Violations = violations(append(spent, p.Violations...))
		return out, nil
	}
	decision := preview.Decision // the request has no ID, so it repeats none
	out.PolicyVersion = hex.EncodeToString(decision.Policy[:])
	if len(spent) > 0 {
		out.Violations = violations(spent)
		return out, nil
	}
	out.Allowed, out.Grant = true, decision.Grant
	out.Bounds = boundsMessage(decision, s.config.Now())
	return out, nil
}

// unusable is why the principal's token pays for nothing any more.
func (s *policyService) unusable(ctx context.Context, principal identity.Principal) ([]problem.Violation, error) {
	err := s.config.Tokens.Available(ctx, principal)
	var p *problem.Problem
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &p) && (p.Kind == problem.Unauthenticated || p.Kind == problem.PermissionDenied):
		return []problem.Violation{{Reason: p.Code(), Rule: principal.String(), Value: principal.ID, Detail: p.Detail, Help: p.Help}}, nil
	}
	return nil, err
}

// boundsMessage is a decision as it was taken right before now.
func boundsMessage(d policy.Decision, now time.Time) *certwrightv1.SimulatePolicyResponse_Bounds {
	return &certwrightv1.SimulatePolicyResponse_Bounds{
		Issuer: d.Issuer, Owner: d.Owner,
		// From now to the last second, inclusive; the decision is in whole seconds.
		Validity:    durationpb.New(d.NotAfter.Sub(now.Truncate(time.Second)) + time.Second),
		MaxValidity: durationpb.New(time.Duration(d.Profile.Validity.Max)),
		Backdate:    durationpb.New(time.Duration(d.Profile.Validity.Backdate)),
		KeyUsages:   d.Profile.KeyUsage, ExtKeyUsages: d.Profile.ExtKeyUsage,
	}
}

// simulated is the request that a SimulatePolicyRequest describes.
func (s *policyService) simulated(ctx context.Context, in *certwrightv1.SimulatePolicyRequest) (identity.Request, error) {
	req := identity.Request{
		Kind: identity.X509, Profile: in.GetProfile(), Owner: in.GetOwner(), Labels: in.GetLabels(),
	}
	if err := checkAsked(in.GetProfile(), in.GetOwner(), in.GetLabels()); err != nil {
		return req, err
	}
	var err error
	if req.Validity, err = validity(in.GetValidity()); err != nil {
		return req, err
	}
	if req.Principal, err = s.principal(ctx, in.GetPrincipal()); err != nil {
		return req, err
	}
	if err = addClaims(&req.Principal, in.GetClaims()); err != nil {
		return req, err
	}
	if in.GetPrincipal() != "" {
		req.Principal = s.config.Policies.Engine().WithRoles(req.Principal)
	}
	if req.Profile == "" {
		req.Profile = s.onlyProfile(req.Principal)
	}
	if in.GetPrincipal() != "" && len(in.GetDnsNames())+len(in.GetIpAddresses())+len(in.GetUris())+len(in.GetEmails()) == 0 {
		return req, nil // its roles are all that is asked
	}
	if req.Identifiers, err = identifiers(in); err != nil {
		return req, err
	}
	key := in.GetKey()
	if key == "" {
		key = "ecdsa-p256"
	}
	if req.PublicKey, err = policy.SamplePublicKey(key); err != nil {
		return req, invalid("key", in.GetKey(), err.Error(), "")
	}
	return req, nil
}

// The bounds of claims in a simulation.
const (
	maxClaims     = 100
	maxClaimValue = 1024
)

// addClaims gives the principal claims; those of one name are a list.
func addClaims(p *identity.Principal, claims []*certwrightv1.Claim) error {
	switch {
	case len(claims) == 0:
		return nil
	case len(claims) > maxClaims:
		return invalid("claims", fmt.Sprint(len(claims)), "there are too many claims", fmt.Sprintf("at most %d", maxClaims))
	case p.Method != identity.OIDC && p.Method != identity.MTLS && p.Method != identity.Device:
		return invalid("claims", p.String(), "principals of this sort have no claims", "a principal by oidc, mtls or device")
	}
	all := map[string]any{}
	for _, c := range claims {
		if c.GetName() == "" || c.GetValue() == "" || len(c.GetName()) > maxClaimValue || len(c.GetValue()) > maxClaimValue {
			return invalid("claims", c.GetName(), "a claim has a name and a value", fmt.Sprintf("at most %d octets each", maxClaimValue))
		}
		switch before := all[c.GetName()].(type) {
		case nil:
			all[c.GetName()] = c.GetValue()
		case string:
			all[c.GetName()] = []any{before, c.GetValue()}
		case []any:
			all[c.GetName()] = append(before, c.GetValue())
		}
	}
	for name, value := range p.Claims { // what its name says stands
		all[name] = value
	}
	p.Claims = all
	return nil
}

func identifiers(in *certwrightv1.SimulatePolicyRequest) ([]identity.Identifier, error) {
	var all []identity.Identifier
	add := func(kind identity.IdentifierType, values []string) {
		for _, value := range values {
			all = append(all, identity.Identifier{Type: kind, Value: value})
		}
	}
	add(identity.DNS, in.GetDnsNames())
	add(identity.IP, in.GetIpAddresses())
	add(identity.URI, in.GetUris())
	add(identity.Email, in.GetEmails())
	if len(all) > 100 {
		return nil, invalid("dns_names", fmt.Sprint(len(all)), "there are too many names", "at most 100")
	}
	set, err := identity.CanonicalSet(all)
	if err != nil {
		return nil, &problem.Problem{Kind: problem.RejectedIdentifier, Rule: "canonical names", Detail: err.Error()}
	}
	return set, nil
}

// principal is who a simulation is for: the caller, a token by its ID, or a
// principal by its method and ID, with the role that such a principal has.
func (s *policyService) principal(ctx context.Context, text string) (identity.Principal, error) {
	caller := callOf(ctx).principal
	if text == "" || text == caller.String() {
		return caller, nil
	}
	method, id, ok := strings.Cut(text, ":")
	p := identity.Principal{Method: identity.Method(method), ID: id}
	switch {
	case !ok || id == "" || len(id) > 255:
	case p.Method == identity.Token:
		token, err := s.config.Tokens.Get(ctx, id)
		if err != nil {
			return p, err
		}
		return token.Principal(), nil
	case p.Method == identity.LocalSocket:
		p.Roles = []identity.Role{identity.RoleAdmin}
		return p, nil
	case p.Method == identity.System:
		return p, nil
	case p.Method == identity.OIDC: // ISSUER#SUBJECT
		issuer, subject, _ := strings.Cut(id, "#")
		if err := configured("identity provider", "oidc.issuers", issuer, s.config.Issuers); err != nil {
			return p, err
		}
		p.Roles, p.Claims = []identity.Role{identity.RoleRequester}, map[string]any{"iss": issuer, "sub": subject}
		return p, nil
	case p.Method == identity.Device: // CA/FINGERPRINT
		ca, _, _ := strings.Cut(id, "/")
		if err := configured("CA of devices", "mtls.device_cas", ca, s.config.DeviceCAs); err != nil {
			return p, err
		}
		p.Roles, p.Claims = []identity.Role{identity.RoleRequester}, map[string]any{"ca": ca}
		return p, nil
	case p.Method == identity.ACME, p.Method == identity.MTLS:
		p.Roles = []identity.Role{identity.RoleRequester}
		return p, nil
	}
	return p, invalid("principal", text, "the principal cannot be read", "method:ID, for example token:ID or local_socket:admin")
}

// configured refuses what is not configured under this name, letter by letter: nobody of
// it can come, whatever the policy says of it.
func configured(what, setting, name string, all []string) error {
	if slices.Contains(all, name) {
		return nil
	}
	p := &problem.Problem{
		Kind: problem.NotFound, Reason: "NOT_CONFIGURED", Rule: setting, Value: name,
		Detail: fmt.Sprintf("no %s %.256q is configured here", what, name), Allowed: strings.Join(all, ", "),
		Help: "write its name letter by letter, or configure it first: " + setting,
	}
	if len(all) == 0 {
		p.Detail, p.Help = fmt.Sprintf("no %s is configured here, so not %.256q either", what, name), "configure it first: "+setting
	}
	return p
}
