package api_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func TestEABKeys(t *testing.T) {
	w := newWorld(t)
	client := certwrightv1.NewEABServiceClient(w.admin)
	for name, each := range map[string]struct {
		request *certwrightv1.CreateEABKeyRequest
		want    codes.Code
	}{
		"nobody":             {&certwrightv1.CreateEABKeyRequest{}, codes.InvalidArgument},
		"a name with a line": {&certwrightv1.CreateEABKeyRequest{Name: "a\nb"}, codes.InvalidArgument},
		"names, no profile":  {&certwrightv1.CreateEABKeyRequest{Owner: "a", DnsPatterns: []string{"*.a.internal"}}, codes.InvalidArgument},
		"profile, no names":  {&certwrightv1.CreateEABKeyRequest{Owner: "a", Profiles: []string{"server"}}, codes.InvalidArgument},
		"no such profile":    {&certwrightv1.CreateEABKeyRequest{Owner: "a", Profiles: []string{"x"}, DnsPatterns: []string{"*.a.internal"}}, codes.InvalidArgument},
		"no such pattern":    {&certwrightv1.CreateEABKeyRequest{Owner: "a", Profiles: []string{"server"}, DnsPatterns: []string{"a.*.b"}}, codes.InvalidArgument},
		"negative lifetime":  {&certwrightv1.CreateEABKeyRequest{Owner: "a", Ttl: durationpb.New(-time.Hour)}, codes.InvalidArgument},
		"negative uses":      {&certwrightv1.CreateEABKeyRequest{Owner: "a", Uses: -2}, codes.InvalidArgument},
	} {
		if _, err := client.CreateEABKey(t.Context(), each.request); status.Code(err) != each.want {
			t.Errorf("%s: %v, want %v", name, err, each.want)
		}
	}
	made, err := client.CreateEABKey(t.Context(), &certwrightv1.CreateEABKeyRequest{
		Owner: "team-a", Profiles: []string{"server"}, DnsPatterns: []string{"*.team-a.internal"}, NoChallenges: true, Uses: -1, Ttl: durationpb.New(time.Hour),
	})
	w.must(err)
	key := made.GetKey()
	if len(made.GetHmacKey()) != 43 || made.GetDirectory() != "https://localhost:8443/acme/directory" || key.GetName() != "team-a" ||
		key.GetState() != certwrightv1.EABKey_ACTIVE || key.GetUses() != 0 || !key.GetNoChallenges() || key.GetExpireTime() == nil {
		t.Errorf("made %v", made)
	}
	for range 5 {
		_, err := client.CreateEABKey(t.Context(), &certwrightv1.CreateEABKeyRequest{Owner: "team-b"})
		w.must(err)
	}
	// Pages of two, of those of one owner: none is lost, none comes twice.
	seen := map[string]bool{}
	token := ""
	for {
		page, err := client.ListEABKeys(t.Context(), &certwrightv1.ListEABKeysRequest{PageSize: 2, PageToken: token, Filter: `owner = "team-b"`})
		w.must(err)
		for _, k := range page.GetEabKeys() {
			if seen[k.GetId()] || k.GetOwner() != "team-b" || k.GetUses() != 1 {
				t.Errorf("listed %v", k)
			}
			seen[k.GetId()] = true
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d keys on the pages, want 5", len(seen))
	}
	for range 2 {
		revoked, err := client.RevokeEABKey(t.Context(), &certwrightv1.RevokeEABKeyRequest{Id: key.GetId()})
		if err != nil || revoked.GetState() != certwrightv1.EABKey_REVOKED {
			t.Errorf("%v, %v", revoked, err)
		}
	}
}

func TestACMEAbsent(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ACME = nil })
	_, err := certwrightv1.NewAccountServiceClient(w.admin).ListAccounts(t.Context(), &certwrightv1.ListAccountsRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
}

func TestReplaceCertificates(t *testing.T) {
	var authority *ca.Authority
	w := newWorld(t, func(c *api.Config) {
		authority = c.Authority
		_, err := c.Policies.Apply(t.Context(), []byte(strings.ReplaceAll(testPolicy, "[{local_socket: admin}]", "[{local_socket: admin}, {acme: any}]")), "local_socket:admin")
		if err != nil {
			t.Error(err)
		}
	})
	client := w.certificates()
	_, err := client.SignCertificate(t.Context(), &certwrightv1.SignCertificateRequest{Csr: w.csr("c.internal"), Profile: "server"})
	w.must(err)
	for i, name := range []string{"a.internal", "b.internal", "a.internal"} { // the third supersedes the first
		_, err := authority.Issue(t.Context(), identity.Request{
			ID: strconv.Itoa(i), Kind: identity.X509, Profile: "server", PublicKey: w.key().Public(),
			Principal:   identity.Principal{Method: identity.ACME, ID: "0123"},
			Identifiers: []identity.Identifier{{Type: identity.DNS, Value: name}},
		}, ca.Attach{})
		w.must(err)
	}
	soon := timestamppb.New(time.Now().Add(time.Hour))
	for name, request := range map[string]*certwrightv1.ReplaceCertificatesRequest{
		"no filter":      {Before: soon},
		"no time":        {Filter: "state = ISSUED"},
		"past":           {Filter: "state = ISSUED", Before: timestamppb.New(time.Now().Add(-time.Second))},
		"far away":       {Filter: "state = ISSUED", Before: timestamppb.New(time.Now().AddDate(11, 0, 0))},
		"no such field":  {Filter: `colour = "red"`, Before: soon},
		"no explanation": {Filter: "state = ISSUED", Before: soon, ExplanationUrl: "javascript:alert(1)"},
	} {
		if _, err := client.ReplaceCertificates(t.Context(), request); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	type counts struct{ hit, notACME, superseded int32 }
	for filter, want := range map[string]counts{
		"state = ISSUED": {2, 1, 1}, `name:"a.internal"`: {1, 0, 1}, `name:"b.internal"`: {1, 0, 0}, `name:"c.internal"`: {0, 1, 0}, "state = ABANDONED": {},
	} {
		for _, only := range []bool{true, false} {
			answer, err := client.ReplaceCertificates(t.Context(), &certwrightv1.ReplaceCertificatesRequest{Filter: filter, Before: soon, ValidateOnly: only})
			got := counts{answer.GetCount(), answer.GetNotAcme(), answer.GetSuperseded()}
			if err != nil || got != want || len(answer.GetCertificates()) != int(want.hit) {
				t.Errorf("%s: %v, %v; want %v", filter, answer, err, want)
			}
		}
	}
}

func TestOrdersThatAreNot(t *testing.T) {
	w := newWorld(t)
	client := certwrightv1.NewOrderServiceClient(w.admin)
	signed, err := w.certificates().SignCertificate(t.Context(), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.internal"), Profile: "server"})
	w.must(err)
	_, err = client.FindOrder(t.Context(), &certwrightv1.FindOrderRequest{Serial: signed.GetSerial()})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "was not issued over ACME: ") || !strings.Contains(err.Error(), "ledger entry ") {
		t.Errorf("a certificate that was not issued over ACME: %v", err)
	}
	_, err = client.FindOrder(t.Context(), &certwrightv1.FindOrderRequest{Serial: "xyz"})
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	for _, id := range []string{"", "../order", strings.Repeat("0", 24)} {
		if _, err := client.GetOrder(t.Context(), &certwrightv1.GetOrderRequest{Id: id}); status.Code(err) != codes.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
}
