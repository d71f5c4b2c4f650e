package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// orderService implements certwright.v1.OrderService.
type orderService struct {
	certwrightv1.UnimplementedOrderServiceServer
	*Server
}

// GetOrder implements certwright.v1.OrderService.
func (s *orderService) GetOrder(ctx context.Context, in *certwrightv1.GetOrderRequest) (*certwrightv1.Order, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	o, err := acme.Orders.Order(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	m := orderMessage(o)
	if o.RequestKey == nil {
		return m, nil
	}
	c, err := s.config.Store.ByRequest(ctx, *o.RequestKey)
	if errors.Is(err, storage.ErrNotFound) { // it was abandoned
		return m, nil
	} else if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	return ofCertificate(m, c), nil
}

// ofCertificate adds what the certificate's intent says.
func ofCertificate(m *certwrightv1.Order, c storage.Certificate) *certwrightv1.Order {
	m.Serial, m.LedgerIndex, m.Owner = c.Serial.String(), &c.Index, c.Intent.Owner
	m.Grant, m.PolicyVersion = c.Intent.Grant, hex.EncodeToString(c.Intent.Policy[:])
	m.ReplacesId = hashText(c.Intent.Replaces)
	return m
}

// FindOrder implements certwright.v1.OrderService.
func (s *orderService) FindOrder(ctx context.Context, in *certwrightv1.FindOrderRequest) (*certwrightv1.Order, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	serial, err := identity.ParseSerial(in.GetSerial())
	if err != nil {
		return nil, invalid("serial", "", "this is no serial", "up to 32 hexadecimal digits")
	}
	for _, issuer := range s.config.Authority.Issuers() {
		c, err := s.config.Store.BySerial(ctx, issuer.KeyID, serial)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		o, err := acme.Orders.OrderOf(ctx, c.Intent.RequestKey)
		if problem.KindOf(err) == problem.NotFound {
			return nil, withoutOrder(c, err)
		} else if err != nil {
			return nil, err
		}
		return ofCertificate(orderMessage(o), c), nil
	}
	return nil, &problem.Problem{Kind: problem.NotFound, Value: serial.String(), Detail: "there is no certificate with this serial"}
}

// withoutOrder says how a certificate came about that no order stands for.
func withoutOrder(c storage.Certificate, err error) error {
	why := "was not issued over ACME"
	if strings.HasPrefix(c.Requester, acmeRequester) {
		why = "was issued over ACME, and its order is not kept any more"
	}
	return &problem.Problem{
		Kind: problem.NotFound, Value: c.Serial.String(), Err: err,
		Detail: fmt.Sprintf("the certificate %s: %s asked for it, with the profile %s, under the grant %q of the policy %x; ledger entry %d", why, c.Requester, c.Intent.Profile, c.Intent.Grant, c.Intent.Policy[:8], c.Index),
		Help:   "certwright cert show SERIAL",
	}
}

// ListOrders implements certwright.v1.OrderService.
func (s *orderService) ListOrders(ctx context.Context, in *certwrightv1.ListOrdersRequest) (*certwrightv1.ListOrdersResponse, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	read := func(ctx context.Context, after []byte, limit int) ([]enrol.Order, []byte, error) {
		return acme.Orders.Orders(ctx, in.GetAccount(), after, limit)
	}
	out := &certwrightv1.ListOrdersResponse{}
	out.Orders, out.NextPageToken, err = scan(ctx, listing{in.GetPageSize(), in.GetPageToken(), in.GetFilter(), "orders " + in.GetAccount()}, orderFields(),
		read, orderMessage, orderRow)
	return out, err
}

// The bounds of one ReplaceCertificates.
const (
	maxReplaced      = 10_000
	maxReplacedShown = 1000
	maxExplanation   = 512
)

// ReplaceCertificates implements certwright.v1.CertificateService.
func (s *certificateService) ReplaceCertificates(ctx context.Context, in *certwrightv1.ReplaceCertificatesRequest) (*certwrightv1.ReplaceCertificatesResponse, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	if err := s.checkReplace(in); err != nil {
		return nil, err
	}
	out := &certwrightv1.ReplaceCertificatesResponse{}
	hit, err := s.toReplace(ctx, in.GetFilter(), out)
	if err != nil {
		return nil, err
	}
	out.Count = int32(len(hit))
	for _, c := range hit[:min(len(hit), maxReplacedShown)] {
		out.Certificates = append(out.Certificates, s.certificateMessage(c, nil))
	}
	if in.GetValidateOnly() || len(hit) == 0 {
		return out, nil
	}
	return out, acme.Orders.ReplaceBy(ctx, hit, in.GetBefore().AsTime(), in.GetExplanationUrl())
}

// acmeRequester begins the principal of an ACME account.
var acmeRequester = identity.Principal{Method: identity.ACME}.String()

// checkReplace checks the request's form.
func (s *certificateService) checkReplace(in *certwrightv1.ReplaceCertificatesRequest) error {
	before, now := in.GetBefore().AsTime(), s.config.Now()
	switch {
	case in.GetFilter() == "":
		return invalid("filter", "", "which certificates? A filter is needed", "state = ISSUED for all")
	case in.GetBefore() == nil, in.GetBefore().CheckValid() != nil, !before.After(now), before.After(now.AddDate(10, 0, 0)):
		return invalid("before", "", "the time is missing, past or too far away", "a time that is to come, within ten years")
	case in.GetExplanationUrl() != "" && !isLink(in.GetExplanationUrl()):
		return invalid("explanation_url", "", "the explanation is no URL", "https://…, at most 512 octets")
	}
	return nil
}

func isLink(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(text) <= maxExplanation
}

// toReplace are the certificates in use that the filter selects and that an ACME
// client can replace; out counts the others.
func (s *certificateService) toReplace(ctx context.Context, filter string, out *certwrightv1.ReplaceCertificatesResponse) ([]storage.Certificate, error) {
	var hit []storage.Certificate
	question := inventory.Question{Filter: filter, PageSize: 1000, Owners: callOf(ctx).view.owners}
	for {
		answer, err := s.config.Inventory.Search(ctx, question)
		if err != nil {
			return nil, err
		}
		for _, row := range answer.Rows {
			switch {
			case inventory.StateOf(row.Certificate, s.config.Now()) != inventory.StateIssued:
			case !strings.HasPrefix(row.Requester, acmeRequester):
				out.NotAcme++
			case row.Superseded:
				out.Superseded++
			default:
				hit = append(hit, row.Certificate)
			}
		}
		if len(hit) > maxReplaced {
			return nil, &problem.Problem{
				Kind: problem.FailedPrecondition, Rule: "replace", Detail: "the filter selects too many certificates for one call",
				Allowed: "10,000", Help: "narrow the filter, by owner or not_after",
			}
		}
		if answer.Next == "" {
			return hit, nil
		}
		question.PageToken = answer.Next
	}
}
