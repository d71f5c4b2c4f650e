package api

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/inventory/ari"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// RenewCertificate implements certwright.v1.CertificateService.
func (s *certificateService) RenewCertificate(ctx context.Context, in *certwrightv1.RenewCertificateRequest) (*certwrightv1.Certificate, error) {
	call := callOf(ctx)
	if err := s.strikes.check(call, s.config.Now()); err != nil {
		return nil, err
	}
	out, err := s.renew(ctx, in)
	if err != nil {
		s.strikes.count(call, err, s.config.Now())
	}
	return out, err
}

func (s *certificateService) renew(ctx context.Context, in *certwrightv1.RenewCertificateRequest) (*certwrightv1.Certificate, error) {
	if err := checkID(in.GetId()); err != nil {
		return nil, err
	}
	if err := checkRequestID(in.GetRequestId()); err != nil {
		return nil, err
	}
	if in.GetCsr() != "" {
		if err := checkCSRText(in.GetCsr()); err != nil {
			return nil, err
		}
	}
	wish, err := validity(in.GetValidity())
	if err != nil {
		return nil, err
	}
	call := callOf(ctx)
	w := renewal.Wish{ID: in.GetId(), CSR: in.GetCsr(), Validity: wish}
	if state := call.credentials.TLS; state != nil && len(state.PeerCertificates) > 0 {
		w.Leaf = state.PeerCertificates[0]
	}
	req, attach, err := s.config.Renewals.Request(ctx, call.principal, w)
	req.ID, req.Call = in.GetRequestId(), call.requestID
	if err != nil {
		s.noteMalformed(req, err)
		return nil, err
	}
	return s.issue(ctx, req, attach)
}

// GetRenewalInfo implements certwright.v1.CertificateService.
func (s *certificateService) GetRenewalInfo(ctx context.Context, in *certwrightv1.GetRenewalInfoRequest) (*certwrightv1.RenewalInfo, error) {
	c, err := s.byID(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	w, err := ari.Of(ctx, s.config.Store, c, s.config.Now())
	if err != nil {
		return nil, err
	}
	return &certwrightv1.RenewalInfo{
		StartTime: timestamp(w.Start), EndTime: timestamp(w.End), ExplanationUrl: clean(w.Explanation), RetryAfter: durationpb.New(w.AskAgain),
	}, nil
}
