package api_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func (w *world) verify(m *certwrightv1.Certificate) {
	w.t.Helper()
	block, rest := pem.Decode([]byte(m.GetPem()))
	if block == nil || len(rest) > 0 {
		w.t.Fatalf("pem is not one block: %q", m.GetPem())
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	w.must(err)
	chain := x509.NewCertPool()
	if !chain.AppendCertsFromPEM([]byte(m.GetChainPem())) {
		w.t.Fatal("no chain")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: w.roots, Intermediates: chain, DNSName: m.GetDnsNames()[0]}); err != nil {
		w.t.Error(err)
	}
}

func TestSignOverEveryDoor(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(10)
	t.Run("socket", func(t *testing.T) {
		m, err := w.certificates().SignCertificate(t.Context(), &certwrightv1.SignCertificateRequest{
			Csr: w.csr("svc.internal"), Profile: "server", Labels: map[string]string{"env": "test"}})
		if err != nil {
			t.Fatal(err)
		}
		w.verify(m)
		if m.GetOwner() != "platform" || m.GetRequester() != "local_socket:admin" || m.GetGrant() != "local-admin" || m.GetState() != certwrightv1.Certificate_ISSUED {
			t.Errorf("%v", m)
		}
		got, err := w.certificates().GetCertificate(t.Context(), &certwrightv1.GetCertificateRequest{Id: m.GetId()})
		if err != nil || got.GetLabels()["env"] != "test" || got.GetChainPem() != m.GetChainPem() || got.GetKeyAlgorithm() != "ecdsa-p256" {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("TLS with a token", func(t *testing.T) {
		m, err := certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")})
		if err != nil {
			t.Fatal(err)
		}
		w.verify(m)
		if m.GetOwner() != "team-a" || !strings.HasPrefix(m.GetRequester(), "token:") {
			t.Errorf("%v", m)
		}
	})
	t.Run("REST with a token", func(t *testing.T) {
		body, _ := json.Marshal(map[string]any{"csr": w.csr("b.team-a.internal"), "profile": "server", "validity": "3600s"})
		code, answer, _ := w.request("POST", "/v1/certificates:sign", secret, string(body))
		if code != 200 {
			t.Fatalf("%d %s", code, answer)
		}
		var m struct{ ID, Pem, Owner string }
		w.must(json.Unmarshal(answer, &m))
		code, answer, _ = w.request("GET", "/v1/certificates/"+m.ID, secret, "")
		if code != 200 || m.Owner != "team-a" || !strings.Contains(m.Pem, "BEGIN CERTIFICATE") {
			t.Errorf("%d %s", code, answer)
		}
	})
}

func TestDenialTellsEverything(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(10)
	csr := w.csr("evil.example.com")
	req := &certwrightv1.SignCertificateRequest{
		Csr: csr, Profile: "server", Validity: durationpb.New(1e18), Labels: map[string]string{"forbidden": "1"}}
	_, err := certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(t.Context(), secret), req)
	if status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	overGRPC := map[string]bool{}
	var info *errdetails.ErrorInfo
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *certwrightv1.Violation:
			overGRPC[d.GetReason()] = true
			if d.GetRule() == "" || d.GetDetail() == "" {
				t.Errorf("%v says too little", d)
			}
		}
	}
	if info.GetDomain() != "certwright" || info.GetReason() != "POLICY_DENIED" || info.GetMetadata()["request_id"] == "" {
		t.Errorf("%v", info)
	}
	if len(overGRPC) < 3 {
		t.Errorf("violations %v: name, validity and condition are broken", overGRPC)
	}
	body, _ := json.Marshal(map[string]any{"csr": csr, "profile": "server", "validity": "1000000000s", "labels": map[string]string{"forbidden": "1"}})
	code, answer, header := w.request("POST", "/v1/certificates:sign", secret, string(body))
	p := w.problem(answer, header)
	if code != 403 || p.Reason != "POLICY_DENIED" || p.Status != 403 || p.Title == "" || p.Type == "" {
		t.Errorf("%d %+v", code, p)
	}
	for _, v := range p.Violations {
		if !overGRPC[v["reason"]] {
			t.Errorf("REST has the violation %v, gRPC has %v", v, overGRPC)
		}
	}
	if len(p.Violations) < 3 {
		t.Errorf("%+v", p)
	}
	list, err := w.certificates().ListRefusals(t.Context(), &certwrightv1.ListRefusalsRequest{Filter: `outcome = DENIED AND profile = "server"`})
	if err != nil || len(list.GetRefusals()) != 2 {
		t.Errorf("%v, %v; want 2 refusals", list, err)
	}
}

func TestValidateOnly(t *testing.T) {
	w := newWorld(t)
	id, secret := w.token(1)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	ctx := bearer(t.Context(), secret)
	before, err := w.store.Head(ctx)
	w.must(err)
	m, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal"), ValidateOnly: true})
	if err != nil || m.GetId() != "" || m.GetPem() != "" || m.GetOwner() != "team-a" || m.GetIssuer() != "issuing" || m.GetNotAfter() == nil {
		t.Errorf("%v, %v", m, err)
	}
	_, err = client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: w.csr("evil.example.com"), ValidateOnly: true})
	if status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	after, err := w.store.Head(ctx)
	w.must(err)
	used, err := w.tokens.Get(ctx, id)
	if err != nil || used.Used != 0 || after.Size != before.Size {
		t.Errorf("%d uses, %d entries more, %v", used.Used, after.Size-before.Size, err)
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(5)
	_, other := w.token(5)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	csr := w.csr("a.team-a.internal")
	sign := func(secret, csr string) (*certwrightv1.Certificate, error) {
		return client.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: csr, RequestId: "one", Labels: map[string]string{"k": "v"}})
	}
	first, err := sign(secret, csr)
	w.must(err)
	again, err := sign(secret, csr)
	if err != nil || again.GetId() != first.GetId() || again.GetLabels()["k"] != "v" || again.GetChainPem() == "" {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := sign(secret, w.csr("b.team-a.internal")); status.Code(err) != codes.AlreadyExists {
		t.Error(err)
	}
	another, err := sign(other, csr)
	if err != nil || another.GetId() == first.GetId() {
		t.Errorf("another caller under the same request ID: %v, %v", another, err)
	}
}

func TestTokenIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	for round := range 5 {
		_, secret := w.token(1)
		client := certwrightv1.NewCertificateServiceClient(w.tcp)
		var wg sync.WaitGroup
		var mu sync.Mutex
		issued := 0
		for i := range 16 {
			csr := w.csr(fmt.Sprintf("n%d-%d.team-a.internal", round, i))
			wg.Go(func() {
				_, err := client.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: csr})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					issued++
				} else if reason(err) != "TOKEN_SPENT" {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if issued != 1 {
			t.Errorf("round %d: %d certificates", round, issued)
		}
	}
}

// reason is the reason of an error's ErrorInfo.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func TestNobodySeesWhatIsAnothers(t *testing.T) {
	w := newWorld(t)
	_, one := w.token(1)
	_, two := w.token(1)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	m, err := client.SignCertificate(bearer(t.Context(), one), &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")})
	w.must(err)
	get := func(secret, id string) string {
		_, err := client.GetCertificate(bearer(t.Context(), secret), &certwrightv1.GetCertificateRequest{Id: id})
		return fmt.Sprint(status.Code(err), reason(err), status.Convert(err).Message())
	}
	if got := get(one, m.GetId()); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
	hidden, missing := get(two, m.GetId()), get(two, strings.Repeat("0", 64))
	if hidden != missing || !strings.HasPrefix(hidden, "NotFound") {
		t.Errorf("%q for another's, %q for one that is not there", hidden, missing)
	}
}
