package api_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/inventory/filter"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestForgedPageTokens makes tokens that are bound to their question and lead
// nowhere: the binding is no secret.
func TestForgedPageTokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	places := [][]byte{{}, {0}, []byte("x"), make([]byte, 8), make([]byte, 40), {0xff, 0xff, 0xff, 0xff}, make([]byte, 1000)}
	for range 3 {
		_, err := w.certificates().SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: w.csr("svc.internal"), Profile: "server"})
		w.must(err)
		w.token(1)
	}
	for _, place := range places {
		for list, call := range map[string]func() error{
			"certificates": func() error {
				for _, order := range []string{"create_time desc", "not_after"} {
					for _, text := range []string{"", `owner = "platform"`, `dns_names:"svc.internal"`} {
						_, err := w.certificates().ListCertificates(ctx, &certwrightv1.ListCertificatesRequest{
							Filter: text, OrderBy: order, PageToken: filter.PageToken(place, "certificates", text, order)})
						if c := status.Code(err); c != codes.OK && c != codes.InvalidArgument {
							return err
						}
					}
				}
				return nil
			},
			"refusals": func() error {
				_, err := w.certificates().ListRefusals(ctx, &certwrightv1.ListRefusalsRequest{PageToken: filter.PageToken(place, "refusals", "")})
				return err
			},
			"tokens": func() error {
				_, err := certwrightv1.NewTokenServiceClient(w.admin).ListTokens(ctx, &certwrightv1.ListTokensRequest{PageToken: filter.PageToken(place, "tokens", "")})
				return err
			},
			"versions": func() error {
				_, err := certwrightv1.NewPolicyServiceClient(w.admin).ListPolicyVersions(ctx, &certwrightv1.ListPolicyVersionsRequest{PageToken: filter.PageToken(place, "policy versions")})
				return err
			},
			"entries": func() error {
				_, err := certwrightv1.NewLedgerServiceClient(w.admin).ListEntries(ctx, &certwrightv1.ListEntriesRequest{PageToken: filter.PageToken(place, "entries", "", "index")})
				return err
			},
			"issuers": func() error {
				_, err := certwrightv1.NewIssuerServiceClient(w.admin).ListIssuers(ctx, &certwrightv1.ListIssuersRequest{PageToken: filter.PageToken(place, "issuers")})
				return err
			},
		} {
			if err := call(); status.Code(err) != codes.OK && status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s, place %x: %v", list, place, err)
			}
		}
	}
}
