package api_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// fill takes places until the test gives them back.
func (w *world) fill(name, who string, n int) (give func()) {
	w.t.Helper()
	give, ok := w.server.Fill(name, who, n)
	if !ok {
		w.t.Fatalf("there are no %d places %s", n, name)
	}
	return give
}

// sentAway fails the test unless the error says when to come again.
func sentAway(t *testing.T, what string, err error) {
	t.Helper()
	var wait time.Duration
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			wait = retry.GetRetryDelay().AsDuration()
		}
	}
	if status.Code(err) != codes.ResourceExhausted || wait < time.Second || wait > 3*time.Second {
		t.Errorf("%s: %v, come again in %s", what, err, wait)
	}
}

// TestPlaces fills the places: what comes beyond is sent away in gRPC and REST, while
// revocations and the admin socket get through; one place that is free again serves.
func TestPlaces(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Limits.Calls = 4 })
	_, secret := w.token(100)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	sign := &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")}
	c, err := client.SignCertificate(bearer(t.Context(), secret), sign)
	w.must(err)
	body, err := json.Marshal(map[string]string{"csr": sign.GetCsr()})
	w.must(err)

	one, two := w.fill("calls", "a", 2), w.fill("calls", "b", 2)
	_, err = client.SignCertificate(bearer(t.Context(), secret), sign)
	sentAway(t, "gRPC", err)
	code, answer, header := w.request("POST", "/v1/certificates:sign", secret, string(body))
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if code != 429 || err != nil || seconds < 1 || seconds > 3 || w.problem(answer, header).Reason != "OVERLOADED" {
		t.Errorf("REST: %d %s, Retry-After %q", code, answer, header.Get("Retry-After"))
	}
	if _, err := w.certificates().RevokeCertificate(t.Context(), &certwrightv1.RevokeCertificateRequest{Id: c.GetId()}); err != nil {
		t.Error("a revocation over the admin socket:", err)
	}
	two()
	if _, err := client.SignCertificate(bearer(t.Context(), secret), sign); err != nil {
		t.Error("afterwards:", err)
	}
	one()
	load := w.server.Load()
	if load.Refused["calls"] != 2 || load.Taken["calls"] != 0 || load.Refused["revoke"] != 0 {
		t.Errorf("%+v", load)
	}
}

// TestShare: one requester cannot take all places from the others.
func TestShare(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Limits.Calls = 4 })
	id, secret := w.token(100)
	_, other := w.token(100)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	sign := &certwrightv1.SignCertificateRequest{Csr: w.csr("a.team-a.internal")}
	who := identity.Principal{Method: identity.Token, ID: id}
	give := w.fill("calls", who.String(), 2)
	_, err := client.SignCertificate(bearer(t.Context(), secret), sign)
	sentAway(t, "beyond its share", err)
	if _, err := client.SignCertificate(bearer(t.Context(), other), sign); err != nil {
		t.Error("another requester:", err)
	}
	give()
	if _, err := client.SignCertificate(bearer(t.Context(), secret), sign); err != nil {
		t.Error("afterwards:", err)
	}
}

// TestPlacesOfRevocation: remote revocations have places apart, and a bound.
func TestPlacesOfRevocation(t *testing.T) {
	w := newWorld(t, admitTokensAsAdmins, func(c *api.Config) { c.Limits.Calls = 2 })
	_, secret := w.token(100)
	client := certwrightv1.NewCertificateServiceClient(w.tcp)
	var ids [2]string
	for i, name := range []string{"a.team-a.internal", "b.team-a.internal"} {
		c, err := client.SignCertificate(bearer(t.Context(), secret), &certwrightv1.SignCertificateRequest{Csr: w.csr(name), Profile: "server"})
		w.must(err)
		ids[i] = c.GetId()
	}
	revoke := func(id string) error {
		_, err := client.RevokeCertificate(bearer(t.Context(), secret), &certwrightv1.RevokeCertificateRequest{Id: id})
		return err
	}
	others := w.fill("calls", "a", 1)
	rest := w.fill("calls", "b", 1)
	if err := revoke(ids[0]); err != nil {
		t.Error(err)
	}
	half, all := w.fill("revoke", "a", 32), w.fill("revoke", "b", 32)
	sentAway(t, "the 65th", revoke(ids[1]))
	half()
	if err := revoke(ids[1]); err != nil {
		t.Error(err)
	}
	for _, give := range []func(){all, others, rest} {
		give()
	}
}
