package e2e

import (
	"context"
	"testing"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// acmezSolver answers one type of challenge by the responder.
type acmezSolver struct{ *responder }

func (s acmezSolver) Present(_ context.Context, c acme.Challenge) error {
	switch c.Type {
	case acme.ChallengeTypeHTTP01:
		return s.responder.Present(c.Identifier.Value, c.Token, c.KeyAuthorization)
	case acme.ChallengeTypeDNS01:
		s.zone.set(c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
		return nil
	}
	return s.alpn(c.Identifier.Value, c.KeyAuthorization)
}

func (s acmezSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	if c.Type == acme.ChallengeTypeDNS01 {
		s.zone.clear(c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	}
	return nil
}

// acmezCells are the library acmez v3.
func acmezCells(t *testing.T, w *acmeWorld, ip string) map[string]cell {
	const me = "acmez"
	r := newResponder(t, w, ip, "")
	client := func(kind string) *acmez.Client {
		return &acmez.Client{
			Client:           &acme.Client{Directory: w.directory, HTTPClient: w.client()},
			ChallengeSolvers: map[string]acmez.Solver{kind: acmezSolver{r}},
		}
	}
	account := acme.Account{Contact: []string{"mailto:" + me + "@ops.internal"}, TermsOfServiceAgreed: true, PrivateKey: newKey(t)}
	obtain := func(t *testing.T, as acme.Account, operation, owner, kind, name string) string {
		t.Helper()
		got, err := client(kind).ObtainCertificateForSANs(t.Context(), as, newKey(t), []string{name})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.logTail())
		}
		w.received(t, me, operation, owner, string(got[0].ChainPEM), name)
		return string(got[0].ChainPEM)
	}
	issue := func(operation, name, kind string) cell {
		return does(func(t *testing.T) { obtain(t, account, operation, openOwner, kind, name) })
	}
	first := ""
	return map[string]cell{
		"register": does(func(t *testing.T) {
			var err error
			account, err = client("").NewAccount(t.Context(), account)
			check(t, err)
			w.registered(t, me)
		}),
		"issue": does(func(t *testing.T) { first = obtain(t, account, "issue", openOwner, "http-01", "issue.acmez.internal") }),
		"renew": does(func(t *testing.T) {
			info, err := client("").GetRenewalInfo(t.Context(), leafOf(t, first))
			check(t, err)
			if info.SuggestedWindow.Start.IsZero() {
				t.Error("no window is suggested")
			}
			csr, err := acmez.NewCSR(newKey(t), []string{"issue.acmez.internal"})
			check(t, err)
			params, err := acmez.OrderParametersFromCSR(account, csr)
			check(t, err)
			params.Replaces, params.Profile = leafOf(t, first), "server"
			got, err := client("http-01").ObtainCertificate(t.Context(), params)
			check(t, err)
			w.received(t, me, "renew", openOwner, string(got[0].ChainPEM), "issue.acmez.internal")
			different(t, first, string(got[0].ChainPEM))
		}),
		"revoke": does(func(t *testing.T) {
			check(t, client("").RevokeCertificate(t.Context(), account, leafOf(t, first), nil, acme.ReasonSuperseded))
			w.revoked(t, first)
		}),
		"EAB": does(func(t *testing.T) {
			id, key := w.keyOfEAB(t)
			bound := acme.Account{Contact: account.Contact, TermsOfServiceAgreed: true, PrivateKey: newKey(t)}
			check(t, bound.SetExternalAccountBinding(t.Context(), client("").Client, acme.EAB{KeyID: id, MACKey: key}))
			bound, err := client("").NewAccount(t.Context(), bound)
			check(t, err)
			obtain(t, bound, "EAB", boundOwner, "http-01", "eab.acmez.internal")
		}),
		"wildcard":    issue("wildcard", "*.wild.acmez.internal", "dns-01"),
		"IP":          issue("IP", ip, "http-01"),
		"http-01":     issue("http-01", "http.acmez.internal", "http-01"),
		"dns-01":      issue("dns-01", "dns.acmez.internal", "dns-01"),
		"tls-alpn-01": issue("tls-alpn-01", "alpn.acmez.internal", "tls-alpn-01"),
	}
}
