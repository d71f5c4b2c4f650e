package api_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func (w *world) sign(name string) *certwrightv1.Certificate {
	w.t.Helper()
	c, err := w.certificates().SignCertificate(w.t.Context(), &certwrightv1.SignCertificateRequest{Csr: w.csr(name), Profile: "server"})
	w.must(err)
	return c
}

func TestRevokeCertificate(t *testing.T) {
	w := newWorld(t)
	key := w.key()
	sign := &certwrightv1.SignCertificateRequest{Csr: w.csrOf(key, "a.internal"), Profile: "server"}
	c, err := w.certificates().SignCertificate(t.Context(), sign)
	w.must(err)
	ask := &certwrightv1.RevokeCertificateRequest{Id: c.Id, Reason: certwrightv1.Revocation_KEY_COMPROMISE, RequestId: "r1"}
	first, err := w.certificates().RevokeCertificate(t.Context(), ask)
	w.must(err)
	if first.State != certwrightv1.Certificate_REVOKED || first.Revocation.Reason != certwrightv1.Revocation_KEY_COMPROMISE || first.Pem == "" {
		t.Errorf("%v", first)
	}
	again, err := w.certificates().RevokeCertificate(t.Context(), ask)
	if err != nil || !again.Revocation.RevokeTime.AsTime().Equal(first.Revocation.RevokeTime.AsTime()) {
		t.Errorf("%v %v", again, err)
	}
	other := w.sign("b.internal")
	for name, test := range map[string]struct {
		ask    *certwrightv1.RevokeCertificateRequest
		code   codes.Code
		reason string
	}{
		"another reason":         {&certwrightv1.RevokeCertificateRequest{Id: c.Id, Reason: certwrightv1.Revocation_SUPERSEDED}, codes.AlreadyExists, "ALREADY_REVOKED"},
		"request ID used before": {&certwrightv1.RevokeCertificateRequest{Id: other.Id, RequestId: "r1"}, codes.AlreadyExists, "REQUEST_ID_REUSED"},
		"certificateHold":        {&certwrightv1.RevokeCertificateRequest{Id: other.Id, Reason: certwrightv1.Revocation_CERTIFICATE_HOLD}, codes.InvalidArgument, "FIELD_INVALID"},
		"unknown reason":         {&certwrightv1.RevokeCertificateRequest{Id: other.Id, Reason: 257}, codes.InvalidArgument, "FIELD_INVALID"},
		"negative reason":        {&certwrightv1.RevokeCertificateRequest{Id: other.Id, Reason: -255}, codes.InvalidArgument, "FIELD_INVALID"},
		"no such certificate":    {&certwrightv1.RevokeCertificateRequest{Id: someID}, codes.NotFound, "NOT_FOUND"},
		"a serial":               {&certwrightv1.RevokeCertificateRequest{Id: other.Serial}, codes.InvalidArgument, "FIELD_INVALID"},
	} {
		_, err := w.certificates().RevokeCertificate(t.Context(), test.ask)
		if status.Code(err) != test.code || reason(err) != test.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := w.certificates().GetCertificate(t.Context(), &certwrightv1.GetCertificateRequest{Id: other.Id}); err != nil || got.State != certwrightv1.Certificate_ISSUED {
		t.Errorf("%v %v", got.GetState(), err)
	}
	if _, err := w.certificates().SignCertificate(t.Context(), sign); status.Code(err) != codes.InvalidArgument || reason(err) != "BLOCKED_KEY" {
		t.Errorf("the key again: %v", err)
	}
}

func TestBulkRevoke(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.sign("a.internal")
	}
	spared := w.sign("b.internal")
	ask := &certwrightv1.BulkRevokeCertificatesRequest{Filter: `name:"a.internal"`, Reason: certwrightv1.Revocation_CESSATION_OF_OPERATION, ValidateOnly: true}
	shown, err := w.certificates().BulkRevokeCertificates(t.Context(), ask)
	w.must(err)
	b := shown.BulkRevocation
	if shown.Id != "" || shown.Done || b.Total != 5 || len(b.Sample) != 5 || b.Lineages != 1 || b.LineagesLost != 1 || b.Owners[0].Certificates != 5 {
		t.Errorf("%v", shown)
	}
	w.sign("a.internal") // after what was shown
	ask.ValidateOnly, ask.BeforeIndex, ask.RequestId = false, b.BeforeIndex, "r1"
	op, err := w.certificates().BulkRevokeCertificates(t.Context(), ask)
	w.must(err)
	operations := certwrightv1.NewOperationServiceClient(w.admin)
	deadline := time.Now().Add(10 * time.Second)
	for !op.Done && time.Now().Before(deadline) {
		op, err = operations.GetOperation(t.Context(), &certwrightv1.GetOperationRequest{Id: op.Id})
		w.must(err)
	}
	if !op.Done || op.Error != "" || op.BulkRevocation.Revoked != 5 || op.BulkRevocation.Total != 5 || op.EndTime == nil {
		t.Errorf("%v", op)
	}
	again, err := w.certificates().BulkRevokeCertificates(t.Context(), ask)
	if err != nil || again.Id != op.Id || !again.Done {
		t.Errorf("%v %v", again, err)
	}
	list, err := w.certificates().ListCertificates(t.Context(), &certwrightv1.ListCertificatesRequest{Filter: "state = REVOKED"})
	w.must(err)
	if len(list.Certificates) != 5 {
		t.Errorf("%d are revoked", len(list.Certificates))
	}
	if got, err := w.certificates().GetCertificate(t.Context(), &certwrightv1.GetCertificateRequest{Id: spared.Id}); err != nil || got.State != certwrightv1.Certificate_ISSUED {
		t.Errorf("%v %v", got.GetState(), err)
	}
	for _, filter := range []string{"", "  ", "colour = red"} {
		if _, err := w.certificates().BulkRevokeCertificates(t.Context(), &certwrightv1.BulkRevokeCertificatesRequest{Filter: filter}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", filter, err)
		}
	}
}

func TestCRLs(t *testing.T) {
	w := newWorld(t)
	service := certwrightv1.NewCRLServiceClient(w.admin)
	c := w.sign("a.internal")
	_, err := w.certificates().RevokeCertificate(t.Context(), &certwrightv1.RevokeCertificateRequest{Id: c.Id})
	w.must(err)
	made, err := service.PublishCRLs(t.Context(), &certwrightv1.PublishCRLsRequest{})
	w.must(err)
	entries := uint64(0)
	for _, l := range made.Crls {
		entries += l.Entries
		if l.Number == 0 || len(l.Sha256) != 64 || !strings.HasPrefix(l.Path, "/crl/issuing") || l.NextUpdate.AsTime().Before(time.Now()) {
			t.Errorf("%v", l)
		}
	}
	if len(made.Crls) != 3 || entries != 2 { // complete and two shards, the one entry in two of them
		t.Errorf("%d CRLs, %d entries", len(made.Crls), entries)
	}
	page, err := service.ListCRLs(t.Context(), &certwrightv1.ListCRLsRequest{PageSize: 2})
	w.must(err)
	rest, err := service.ListCRLs(t.Context(), &certwrightv1.ListCRLsRequest{PageToken: page.NextPageToken})
	if err != nil || len(page.Crls) != 2 || len(rest.Crls) != 1 || rest.NextPageToken != "" || page.Crls[0].Shard != "complete" {
		t.Errorf("%v %v %v", page, rest, err)
	}
	for _, ask := range []*certwrightv1.PublishCRLsRequest{{Issuer: "nobody"}, {Shard: "77"}} {
		if _, err := service.PublishCRLs(t.Context(), ask); status.Code(err) != codes.NotFound {
			t.Errorf("%v: %v", ask, err)
		}
	}
}
