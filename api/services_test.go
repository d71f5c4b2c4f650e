package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/ledger"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func TestSimulationIsWhatSigningSays(t *testing.T) {
	w := newWorld(t)
	id, secret := w.token(10)
	policies := certwrightv1.NewPolicyServiceClient(w.admin)
	for _, test := range []struct {
		name   string
		labels map[string]string
		key    string
	}{
		{"a.team-a.internal", nil, "ecdsa-p256"},
		{"evil.example.com", nil, "ecdsa-p256"},
		{"a.team-a.internal", map[string]string{"forbidden": "1"}, "ecdsa-p256"},
		{"*.team-a.internal", map[string]string{"forbidden": "1"}, "ecdsa-p256"},
	} {
		got, err := policies.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{
			Profile: "server", DnsNames: []string{test.name}, Labels: test.labels, Key: test.key, Principal: "token:" + id})
		w.must(err)
		_, err = certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{
			Csr: w.csr(test.name), Profile: "server", Labels: test.labels})
		if got.GetAllowed() != (err == nil) {
			t.Errorf("%v: simulated %v, signed %v", test, got, err)
		}
		var simulated, signed []string
		for _, v := range got.GetViolations() {
			simulated = append(simulated, v.String())
		}
		for _, detail := range status.Convert(err).Details() {
			if v, ok := detail.(*certwrightv1.Violation); ok {
				signed = append(signed, v.String())
			}
		}
		if strings.ReplaceAll(strings.Join(simulated, "\n"), "  ", " ") != strings.ReplaceAll(strings.Join(signed, "\n"), "  ", " ") {
			t.Errorf("simulated\n%s\nsigned\n%s", simulated, signed)
		}
	}
	own, err := policies.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Profile: "server", DnsNames: []string{"svc.internal"}})
	if err != nil || !own.GetAllowed() || own.GetGrant() != "local-admin" || own.GetBounds().GetOwner() != "platform" || own.GetBounds().GetValidity().AsDuration() > 720*time.Hour {
		t.Errorf("%v, %v", own, err)
	}
	for principal, want := range map[string]codes.Code{"token:" + someID[:32]: codes.NotFound, "nobody": codes.InvalidArgument, "x:y": codes.InvalidArgument} {
		if _, err := policies.SimulatePolicy(t.Context(), &certwrightv1.SimulatePolicyRequest{Principal: principal}); status.Code(err) != want {
			t.Errorf("%s: %v", principal, err)
		}
	}
}

func TestPolicyVersions(t *testing.T) {
	w := newWorld(t)
	client := certwrightv1.NewPolicyServiceClient(w.admin)
	ctx := t.Context()
	active, err := client.GetPolicy(ctx, &certwrightv1.GetPolicyRequest{})
	if err != nil || active.GetDocument() != testPolicy || !active.GetActive() {
		t.Fatalf("%v, %v", active, err)
	}
	bad := strings.Replace(testPolicy, "max_names:", "max_nams:", 1)
	check, err := client.CheckPolicy(ctx, &certwrightv1.CheckPolicyRequest{Document: bad})
	if err != nil || len(check.GetFindings()) != 1 {
		t.Fatalf("%v, %v", check, err)
	}
	if f := check.GetFindings()[0]; f.GetLine() != 11 || !strings.Contains(f.GetHelp()+f.GetDetail(), "max_names") {
		t.Errorf("%v", f)
	}
	if _, err := client.ApplyPolicy(ctx, &certwrightv1.ApplyPolicyRequest{Document: bad}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	second := testPolicy + "# changed\n"
	applied, err := client.ApplyPolicy(ctx, &certwrightv1.ApplyPolicyRequest{Document: second})
	if err != nil || applied.GetNumber() != 2 || !applied.GetActive() || applied.GetActor() != "local_socket:admin" {
		t.Errorf("%v, %v", applied, err)
	}
	list, err := client.ListPolicyVersions(ctx, &certwrightv1.ListPolicyVersionsRequest{PageSize: 1})
	if err != nil || len(list.GetVersions()) != 1 || list.GetVersions()[0].GetNumber() != 2 || list.GetNextPageToken() == "" {
		t.Errorf("%v, %v", list, err)
	}
	old, err := client.GetPolicy(ctx, &certwrightv1.GetPolicyRequest{Sha256: active.GetSha256()})
	if err != nil || old.GetActive() || old.GetDocument() != testPolicy {
		t.Errorf("%v, %v", old, err)
	}
	profile, err := client.GetProfile(ctx, &certwrightv1.GetProfileRequest{Name: "other"})
	if err != nil || profile.GetMaxValidity().AsDuration() != time.Hour {
		t.Errorf("%v, %v", profile, err)
	}
	if _, err := client.GetProfile(ctx, &certwrightv1.GetProfileRequest{Name: "none"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

func TestTokensOverTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	client := certwrightv1.NewTokenServiceClient(w.admin)
	req := &certwrightv1.CreateTokenRequest{
		Owner: "team-b", Profiles: []string{"server"}, DnsPatterns: []string{"*.team-b.internal"}, Ttl: durationpb.New(time.Hour), RequestId: "r"}
	made, err := client.CreateToken(ctx, req)
	w.must(err)
	again, err := client.CreateToken(ctx, req)
	if err != nil || again.GetSecret() != "" || again.GetToken().GetId() != made.GetToken().GetId() {
		t.Errorf("%v, %v", again, err)
	}
	m, err := certwrightv1.NewCertificateServiceClient(w.tcp).SignCertificate(bearer(ctx, made.GetSecret()), &certwrightv1.SignCertificateRequest{Csr: w.csr("x.team-b.internal")})
	if err != nil || m.GetGrant() != "token:"+made.GetToken().GetId() {
		t.Errorf("%v, %v", m, err)
	}
	list, err := client.ListTokens(ctx, &certwrightv1.ListTokensRequest{Filter: `state = USED_UP AND owner = "team-b"`})
	if err != nil || len(list.GetTokens()) != 1 || list.GetTokens()[0].GetUsed() != 1 {
		t.Errorf("%v, %v", list, err)
	}
	revoked, err := client.RevokeToken(ctx, &certwrightv1.RevokeTokenRequest{Id: made.GetToken().GetId()})
	if err != nil || revoked.GetState() != certwrightv1.Token_REVOKED {
		t.Errorf("%v, %v", revoked, err)
	}
	for name, change := range map[string]func(*certwrightv1.CreateTokenRequest){
		"no ttl":   func(r *certwrightv1.CreateTokenRequest) { r.Ttl = nil },
		"uses":     func(r *certwrightv1.CreateTokenRequest) { r.Uses = -1 },
		"profile":  func(r *certwrightv1.CreateTokenRequest) { r.Profiles = []string{"none"} },
		"pattern":  func(r *certwrightv1.CreateTokenRequest) { r.DnsPatterns = []string{"a b"} },
		"no names": func(r *certwrightv1.CreateTokenRequest) { r.DnsPatterns = nil },
	} {
		r := &certwrightv1.CreateTokenRequest{Owner: "team-b", Profiles: []string{"server"}, DnsPatterns: []string{"*.team-b.internal"}, Ttl: durationpb.New(time.Hour)}
		change(r)
		if _, err := client.CreateToken(ctx, r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLedgerOverTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for range 3 {
		_, err := w.certificates().SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: w.csr("svc.internal"), Profile: "server"})
		w.must(err)
	}
	client := certwrightv1.NewLedgerServiceClient(w.admin)
	head, err := client.GetHead(ctx, &certwrightv1.GetHeadRequest{})
	w.must(err)
	for _, order := range []string{"index", "index desc"} {
		var got []uint64
		for token := ""; ; {
			page, err := client.ListEntries(ctx, &certwrightv1.ListEntriesRequest{Filter: "kind = ISSUANCE_INTENT", OrderBy: order, PageSize: 2, PageToken: token})
			w.must(err)
			for _, e := range page.GetEntries() {
				got = append(got, e.GetIndex())
				one, err := client.GetEntry(ctx, &certwrightv1.GetEntryRequest{Index: e.GetIndex()})
				if err != nil || string(one.GetData()) != string(e.GetData()) || e.GetFields()["owner"] != "platform" || e.GetActor() != "local_socket:admin" {
					t.Errorf("%v, %v", one, err)
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if want := map[string]string{"index": "[2 3 4]", "index desc": "[4 3 2]"}[order]; fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %v", order, got, want)
		}
	}
	if _, err := client.GetEntry(ctx, &certwrightv1.GetEntryRequest{Index: head.GetSize() + 1<<40}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	if _, err := client.GetProof(ctx, &certwrightv1.GetProofRequest{Index: 1 << 63}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	w.must(w.log.Wait(ctx, 4))
	proof, err := client.GetProof(ctx, &certwrightv1.GetProofRequest{Index: 2})
	w.must(err)
	checked := ledger.Proof{Index: proof.GetIndex(), Size: proof.GetTreeSize(), Root: [32]byte(proof.GetRootHash()), Leaf: [32]byte(proof.GetLeafHash()), Checkpoint: []byte(proof.GetCheckpoint())}
	entry, err := client.GetEntry(ctx, &certwrightv1.GetEntryRequest{Index: 2})
	w.must(err)
	checked.Entry = entry.GetData()
	for _, hash := range proof.GetHashes() {
		checked.Path = append(checked.Path, [32]byte(hash))
	}
	w.must(ledger.CheckProof(checked, head.GetVerifierKey()))
}

func TestVerifyLedgerStreams(t *testing.T) {
	w := newWorld(t)
	stream, err := certwrightv1.NewLedgerServiceClient(w.admin).VerifyLedger(t.Context(), &certwrightv1.VerifyLedgerRequest{Signatures: true})
	w.must(err)
	var last *certwrightv1.VerifyLedgerResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		if last = m; len(m.GetFindings()) > 0 {
			t.Errorf("%v", m.GetFindings())
		}
	}
	if !last.GetDone() || last.GetEntriesChecked() == 0 || len(last.GetRootHash()) != 32 {
		t.Errorf("%v", last)
	}
}

func TestVerifyLedgerOverREST(t *testing.T) {
	w := newWorld(t, admitTokensAsAdmins)
	_, secret := w.token(1)
	code, body, header := w.request("POST", "/v1/ledger:verify", secret, `{"signatures":true}`)
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	var last struct{ Result struct{ Done bool } }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); code != 200 || err != nil || !last.Result.Done || header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %v", code, body, err)
	}
}

func TestIssuers(t *testing.T) {
	w := newWorld(t)
	client := certwrightv1.NewIssuerServiceClient(w.admin)
	list, err := client.ListIssuers(t.Context(), &certwrightv1.ListIssuersRequest{})
	if err != nil || len(list.GetIssuers()) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	one, err := client.GetIssuer(t.Context(), &certwrightv1.GetIssuerRequest{Name: "issuing"})
	if err != nil || one.GetState() != certwrightv1.Issuer_ACTIVE || strings.Count(one.GetChainPem(), "BEGIN") != 1 || len(one.GetProfiles()) != 2 {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := client.GetIssuer(t.Context(), &certwrightv1.GetIssuerRequest{Name: "none"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}
