package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// policyService implements certwright.v1.PolicyService.
type policyService struct {
	certwrightv1.UnimplementedPolicyServiceServer
	*Server
}

// GetPolicy implements certwright.v1.PolicyService.
func (s *policyService) GetPolicy(ctx context.Context, in *certwrightv1.GetPolicyRequest) (*certwrightv1.PolicyVersion, error) {
	hash := s.config.Policies.Engine().Hash()
	if in.GetSha256() != "" {
		raw, err := hex.DecodeString(in.GetSha256())
		if err != nil || len(raw) != len(hash) {
			return nil, invalid("sha256", in.GetSha256(), "the version is not a SHA-256", "64 lower-case hexadecimal digits")
		}
		hash = [32]byte(raw)
	}
	version, err := s.config.Policies.Version(ctx, hash)
	if err != nil {
		return nil, err
	}
	m := versionMessage(version)
	m.Document = string(version.Document)
	return m, nil
}

// CheckPolicy implements certwright.v1.PolicyService.
func (s *policyService) CheckPolicy(_ context.Context, in *certwrightv1.CheckPolicyRequest) (*certwrightv1.CheckPolicyResponse, error) {
	hash := sha256.Sum256([]byte(in.GetDocument()))
	out := &certwrightv1.CheckPolicyResponse{Sha256: hex.EncodeToString(hash[:])}
	err := s.config.Policies.Check([]byte(in.GetDocument()))
	if err == nil {
		return out, nil
	}
	p, _ := visible(err)
	if p.Kind != problem.Malformed {
		return nil, err
	}
	for _, v := range p.Violations {
		out.Findings = append(out.Findings, findingMessage(v))
	}
	if len(out.GetFindings()) == 0 {
		out.Findings = append(out.Findings, findingMessage(problem.Violation{Detail: p.Detail, Rule: p.Rule, Help: p.Help}))
	}
	return out, nil
}

// position is the place in a document that a fault of it names: "FILE:LINE: KEY".
var position = regexp.MustCompile(`^(?:[^:]*):(\d+)(?:: ?(.*))?$`)

// findingMessage is a fault of a document.
func findingMessage(v problem.Violation) *certwrightv1.CheckPolicyResponse_Finding {
	m := &certwrightv1.CheckPolicyResponse_Finding{Key: clean(v.Rule), Detail: clean(v.Detail), Help: clean(v.Help)}
	if match := position.FindStringSubmatch(v.Rule); match != nil {
		if line, err := strconv.ParseInt(match[1], 10, 32); err == nil {
			m.Line, m.Key = int32(line), clean(match[2])
		}
	}
	return m
}

// ApplyPolicy implements certwright.v1.PolicyService.
func (s *policyService) ApplyPolicy(ctx context.Context, in *certwrightv1.ApplyPolicyRequest) (*certwrightv1.PolicyVersion, error) {
	if in.GetDocument() == "" {
		return nil, invalid("document", "", "there is no document", "a policy document in YAML")
	}
	if err := s.checkRoles(ctx, []byte(in.GetDocument())); err != nil {
		return nil, err
	}
	version, err := s.config.Policies.Apply(ctx, []byte(in.GetDocument()), callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	return versionMessage(version), nil
}

// checkRoles refuses a document that changes who has which role to whoever is not
// a ca-admin: a policy-admin could make itself one. What cannot be read is refused by
// its faults.
func (s *policyService) checkRoles(ctx context.Context, document []byte) error {
	p := callOf(ctx).principal
	if p.Has(identity.RoleAdmin) {
		return nil
	}
	next, err := policy.New(policy.Config{File: "the document", Data: document, WithoutIssuers: true})
	if err != nil {
		return err
	}
	if next.SameRoles(s.config.Policies.Engine()) {
		return nil
	}
	return &problem.Problem{
		Kind: problem.PermissionDenied, Reason: "ROLES_CHANGED", Rule: "roles", Value: p.String(),
		Detail: "the document changes who has which role", Allowed: "the roles of the policy in force, or the role ca-admin",
		Help: "leave the section roles as it is, or ask a ca-admin",
	}
}

// ListPolicyVersions implements certwright.v1.PolicyService.
func (s *policyService) ListPolicyVersions(ctx context.Context, in *certwrightv1.ListPolicyVersionsRequest) (*certwrightv1.ListPolicyVersionsResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	after, err := filter.ParsePageToken(in.GetPageToken(), "policy versions")
	if err != nil {
		return nil, err
	}
	versions, next, err := s.config.Policies.Versions(ctx, after, size)
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.ListPolicyVersionsResponse{NextPageToken: filter.PageToken(next, "policy versions")}
	for _, version := range versions {
		out.Versions = append(out.Versions, versionMessage(version))
	}
	return out, nil
}

func versionMessage(v ca.Version) *certwrightv1.PolicyVersion {
	return &certwrightv1.PolicyVersion{
		Number: int32(v.Number), Sha256: hex.EncodeToString(v.Hash[:]), ActivateTime: timestamp(v.Time),
		Actor: v.Actor, LedgerIndex: v.Entry, Active: v.Active,
	}
}

// ListProfiles implements certwright.v1.PolicyService.
func (s *policyService) ListProfiles(_ context.Context, in *certwrightv1.ListProfilesRequest) (*certwrightv1.ListProfilesResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	engine := s.config.Policies.Engine()
	// The token is bound to the policy: its list is another one.
	question := fmt.Sprintf("profiles of %x", engine.Hash())
	skip, err := parseOffset(in.GetPageToken(), question)
	if err != nil {
		return nil, err
	}
	page, next := offsetPage(byName(engine.Profiles(), func(p policy.Profile) string { return p.Name }), skip, size, question)
	out := &certwrightv1.ListProfilesResponse{NextPageToken: next}
	for _, profile := range page {
		out.Profiles = append(out.Profiles, profileMessage(profile))
	}
	return out, nil
}

// GetProfile implements certwright.v1.PolicyService.
func (s *policyService) GetProfile(_ context.Context, in *certwrightv1.GetProfileRequest) (*certwrightv1.Profile, error) {
	profile, ok := s.config.Policies.Engine().Profile(in.GetName())
	if !ok {
		return nil, &problem.Problem{
			Kind: problem.NotFound, Value: in.GetName(), Detail: "the active policy has no such profile",
			Help: "List them: certwright profile list.",
		}
	}
	return profileMessage(profile), nil
}

func profileMessage(p policy.Profile) *certwrightv1.Profile {
	return &certwrightv1.Profile{
		Name: p.Name, Kind: string(p.Kind), Issuer: p.Issuer, Keys: p.Keys,
		DefaultValidity: durationpb.New(time.Duration(p.Validity.Default)),
		MaxValidity:     durationpb.New(time.Duration(p.Validity.Max)),
		Backdate:        durationpb.New(time.Duration(p.Validity.Backdate)),
		KeyUsages:       p.KeyUsage, ExtKeyUsages: p.ExtKeyUsage, Wildcards: p.Wildcards, MaxNames: int32(p.MaxNames), Lints: p.Lints,
	}
}
