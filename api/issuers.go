package api

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// issuerService implements certwright.v1.IssuerService.
type issuerService struct {
	certwrightv1.UnimplementedIssuerServiceServer
	*Server
}

// ListIssuers implements certwright.v1.IssuerService.
func (s *issuerService) ListIssuers(_ context.Context, in *certwrightv1.ListIssuersRequest) (*certwrightv1.ListIssuersResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	skip, err := parseOffset(in.GetPageToken(), "issuers")
	if err != nil {
		return nil, err
	}
	page, next := offsetPage(byName(s.config.Authority.Issuers(), func(i ca.IssuerInfo) string { return i.Name }), skip, size, "issuers")
	out := &certwrightv1.ListIssuersResponse{NextPageToken: next}
	for _, issuer := range page {
		out.Issuers = append(out.Issuers, s.issuerMessage(issuer))
	}
	return out, nil
}

// byName sorts a list of one's own by name.
func byName[T any](list []T, name func(T) string) []T {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	return list
}

// GetIssuer implements certwright.v1.IssuerService.
func (s *issuerService) GetIssuer(_ context.Context, in *certwrightv1.GetIssuerRequest) (*certwrightv1.Issuer, error) {
	for _, issuer := range s.config.Authority.Issuers() {
		if issuer.Name == in.GetName() {
			return s.issuerMessage(issuer), nil
		}
	}
	return nil, &problem.Problem{
		Kind: problem.NotFound, Value: in.GetName(), Detail: "there is no such issuer", Help: "List them: certwright issuer list.",
	}
}

func (s *issuerService) issuerMessage(i ca.IssuerInfo) *certwrightv1.Issuer {
	m := &certwrightv1.Issuer{
		Name: i.Name, KeyAlgorithm: i.Algorithm, CertificatePem: pemBlock(i.Certificate.Raw),
		ChainPem: pemCertificates(s.above(i)), NotBefore: timestamp(i.Certificate.NotBefore),
		NotAfter: timestamp(i.Certificate.NotAfter), Profiles: i.Profiles, KeyId: i.KeyID.String(),
	}
	switch i.State {
	case ca.Prepared:
		m.State = certwrightv1.Issuer_PREPARED
	case ca.Active:
		m.State = certwrightv1.Issuer_ACTIVE
	case ca.Tainted:
		m.State = certwrightv1.Issuer_TAINTED
	case ca.Retired:
		m.State = certwrightv1.Issuer_RETIRED
	}
	return m
}

// above are the certificates above an issuer's own, up to the root, inclusive.
func (s *issuerService) above(i ca.IssuerInfo) []*x509.Certificate {
	top := i.Certificate
	var out []*x509.Certificate
	for _, c := range i.Chain {
		if !c.Equal(i.Certificate) {
			out = append(out, c)
			top = c
		}
	}
	for _, root := range s.config.Roots {
		if bytes.Equal(root.RawSubject, top.RawIssuer) && !root.Equal(top) && top.CheckSignatureFrom(root) == nil {
			return append(out, root)
		}
	}
	return out
}
