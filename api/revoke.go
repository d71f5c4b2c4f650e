package api

import (
	"context"
	"strconv"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/bulk"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// RevokeCertificate implements certwright.v1.CertificateService.
func (s *certificateService) RevokeCertificate(ctx context.Context, in *certwrightv1.RevokeCertificateRequest) (*certwrightv1.Certificate, error) {
	reason, err := revocationReason(in.GetReason())
	if err != nil {
		return nil, err
	}
	if err := checkRequestID(in.GetRequestId()); err != nil {
		return nil, err
	}
	c, err := s.byID(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	revoked, err := s.config.Authority.Revoke(ctx, ca.Revocation{
		Issuer: c.Issuer, Serial: c.Serial, Fingerprint: c.Fingerprint, Reason: reason,
		Actor: callOf(ctx).principal.String(), RequestID: in.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return s.whole(ctx, revoked.Certificate)
}

// revocationReason is one of those that can be given here.
func revocationReason(r certwrightv1.Revocation_Reason) (identity.RevocationReason, error) {
	if r < 0 || r > 255 {
		r = 255
	}
	reason := identity.RevocationReason(r)
	if _, err := identity.ParseRevocationReason(reason.String()); err != nil {
		return 0, invalid("reason", strconv.Itoa(int(r)), "this reason is not given here",
			"REASON_UNSPECIFIED, KEY_COMPROMISE, AFFILIATION_CHANGED, SUPERSEDED, CESSATION_OF_OPERATION, PRIVILEGE_WITHDRAWN")
	}
	return reason, nil
}

// BulkRevokeCertificates implements certwright.v1.CertificateService.
func (s *certificateService) BulkRevokeCertificates(ctx context.Context, in *certwrightv1.BulkRevokeCertificatesRequest) (*certwrightv1.Operation, error) {
	reason, err := revocationReason(in.GetReason())
	if err != nil {
		return nil, err
	}
	if err := checkRequestID(in.GetRequestId()); err != nil {
		return nil, err
	}
	order := bulk.Order{
		Filter: in.GetFilter(), Reason: reason, Actor: callOf(ctx).principal.String(),
		RequestID: in.GetRequestId(), Before: in.GetBeforeIndex(), Owners: callOf(ctx).view.owners,
	}
	if !in.GetValidateOnly() {
		operation, err := s.config.Bulk.Start(ctx, order)
		if err != nil {
			return nil, err
		}
		return operationMessage(operation), nil
	}
	radius, sample, before, err := s.config.Bulk.Preview(ctx, order)
	if err != nil {
		return nil, err
	}
	order.Before = before
	out := operationMessage(bulk.Operation{Order: order, Radius: radius})
	out.BulkRevocation.Sample, err = s.rowMessages(ctx, sample)
	return out, err
}

// operationService implements certwright.v1.OperationService.
type operationService struct {
	certwrightv1.UnimplementedOperationServiceServer
	*Server
}

// GetOperation implements certwright.v1.OperationService.
func (s *operationService) GetOperation(ctx context.Context, in *certwrightv1.GetOperationRequest) (*certwrightv1.Operation, error) {
	operation, err := s.config.Bulk.Get(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	// Who is limited sees operations of its own: what others hit is of all owners.
	if c := callOf(ctx); c.view.owners != nil && operation.Order.Actor != c.principal.String() {
		return nil, bulk.NotFound(in.GetId())
	}
	return operationMessage(operation), nil
}

func operationMessage(o bulk.Operation) *certwrightv1.Operation {
	out := &certwrightv1.Operation{
		Id: o.ID, Done: o.Done(), Error: clean(o.Error), Requester: o.Order.Actor, CreateTime: timestamp(o.Created), EndTime: timestamp(o.Ended),
		BulkRevocation: &certwrightv1.BulkRevocation{
			Filter: o.Order.Filter, Reason: certwrightv1.Revocation_Reason(o.Order.Reason), BeforeIndex: o.Order.Before,
			Total: o.Radius.Certificates, Revoked: o.Revoked, Lineages: o.Radius.Lineages, LineagesLost: o.Radius.Lost,
		},
	}
	for _, each := range o.Radius.Owners {
		out.BulkRevocation.Owners = append(out.BulkRevocation.Owners, &certwrightv1.BulkRevocation_OwnerCount{
			Owner: each.Owner, Certificates: each.Certificates,
		})
	}
	return out
}
