package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/api"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// TestRefusedTooOften: who is refused again and again is told to wait; others, the
// admin socket and what succeeds are not held back.
func TestRefusedTooOften(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(c *api.Config) {
		c.Limits.Refusals = 20
		c.Now = func() time.Time { return now }
	})
	_, secret := w.token(1000)
	_, other := w.token(1000)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	evil := w.csr("evil.example.com")
	body, err := json.Marshal(map[string]string{"csr": evil})
	w.must(err)
	good := &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")}
	for range 30 {
		if _, err := client.SignCertificate(bearer(t.Context(), secret), good); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		if n%2 == 0 {
			_, err = client.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: evil})
			if status.Code(err) != codes.PermissionDenied {
				t.Fatal(err)
			}
		} else if code, answer, _ := w.request("POST", "/v1/certificates:sign", secret, string(body)); code != 403 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	_, err = client.SignCertificate(bearer(t.Context(), secret), good)
	waits := false
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() != "RATE_LIMITED" {
			t.Errorf("%v", info)
		}
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			waits = retry.GetRetryDelay().AsDuration() > 0
		}
	}
	if status.Code(err) != codes.ResourceExhausted || !waits {
		t.Errorf("%v, %v", err, status.Convert(err).Details())
	}
	code, answer, header := w.request("POST", "/v1/certificates:sign", secret, string(body))
	if code != 429 || header.Get("Retry-After") == "" || w.problem(answer, header).Reason != "RATE_LIMITED" {
		t.Errorf("%d %s", code, answer)
	}
	if _, err := client.SignCertificate(bearer(t.Context(), other), good); err != nil {
		t.Error("another requester:", err)
	}
	for range 100 {
		if _, err := w.certificates().SignCertificate(t.Context(), &certwrightv1.SignCertificateRequest{Csr: evil, Profile: "server"}); status.Code(err) != codes.PermissionDenied {
			t.Fatal("admin socket:", err)
		}
	}
}

// TestRefusalSaysWho: a refusal carries the owner and the call that the caller was
// told; what only asks leaves none.
func TestRefusalSaysWho(t *testing.T) {
	w := newWorld(t)
	_, secret := w.token(10)
	list := func(filter string) []*certwrightv1.Refusal {
		answer, err := w.certificates().ListRefusals(t.Context(), &certwrightv1.ListRefusalsRequest{Filter: filter})
		w.must(err)
		return answer.GetRefusals()
	}
	for _, body := range []string{`{"csr":"nothing","validateOnly":true}`, `{"csr":` + jsonText(w.csr("evil.example.com")) + `,"validateOnly":true}`} {
		if code, answer, _ := w.request("POST", "/v1/certificates:sign", secret, body); code != 400 && code != 403 {
			t.Errorf("%d %s", code, answer)
		}
	}
	if got := list(""); len(got) != 0 {
		t.Errorf("validate_only left %v", got)
	}
	for _, csr := range []string{"nothing", w.csr("evil.example.com")} {
		body := `{"csr":` + jsonText(csr) + `,"requestId":"mine","owner":"team-a"}`
		_, answer, header := w.request("POST", "/v1/certificates:sign", secret, body)
		told := w.problem(answer, header).RequestID
		got := list(`request_id = "` + told + `" AND owner = "team-a"`)
		if len(got) != 1 || got[0].GetOwner() != "team-a" || !strings.HasPrefix(got[0].GetRequester(), "token:") {
			t.Errorf("%v of %v", got, list(""))
		}
	}
}

func jsonText(text string) string {
	out, _ := json.Marshal(text) // a string has no error
	return string(out)
}

// TestLoginRefusedTooOften: who may not log in and tries again and again is told to wait,
// at both doors; others are not held back.
func TestLoginRefusedTooOften(t *testing.T) {
	a := newAccessWorld(t)
	nobody := a.caller("Bearer "+a.login("nobody", "none"), nil)
	most := 0
	for code := codes.PermissionDenied; code == codes.PermissionDenied && most < 5000; most++ {
		_, err := nobody.sessions().CreateSession(nobody.ctx(), &certwrightv1.CreateSessionRequest{})
		if code = status.Code(err); code != codes.PermissionDenied && code != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
	if most < 100 || most == 5000 {
		t.Errorf("held back after %d", most)
	}
	// What it may be refused comes back with time.
	code, body := 403, ""
	for n := 0; code == 403 && n < most; n++ {
		code, body = nobody.send("POST", "/v1/sessions", "{}")
	}
	if code != 429 {
		t.Errorf("REST: %d %s", code, body)
	}
	a.loggedIn("root", "ca-admin")
}
