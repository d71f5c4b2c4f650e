package acme_test

import (
	"crypto/x509"
	"encoding/base64"
	"testing"

	xacme "golang.org/x/crypto/acme"

	"github.com/certwright/certwright/identity/enrol"
)

// TestXCrypto goes through golang.org/x/crypto/acme, whose demands differ from
// lego's: Location on finalize, Retry-After, the account of newAccount.
func TestXCrypto(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key, secret, err := w.server.CreateEAB(ctx, enrol.EABSpec{Name: "any", Creator: "local_socket:admin"})
	w.must(err)
	mac, err := base64.RawURLEncoding.DecodeString(secret)
	w.must(err)
	c := &xacme.Client{Key: newKey(t), DirectoryURL: w.server.Directory(), HTTPClient: w.httpClient()}
	account, err := c.Register(ctx, &xacme.Account{
		Contact: []string{"mailto:a@b.internal"}, ExternalAccountBinding: &xacme.ExternalAccountBinding{KID: key.ID, Key: mac},
	}, xacme.AcceptTOS)
	w.must(err)
	if again, err := c.GetReg(ctx, ""); err != nil || again.URI != account.URI {
		t.Errorf("GetReg: %v %v", again, err)
	}
	if changed, err := c.UpdateReg(ctx, &xacme.Account{Contact: []string{"mailto:c@d.internal"}}); err != nil || changed.Contact[0] != "mailto:c@d.internal" {
		t.Errorf("UpdateReg: %v %v", changed, err)
	}
	w.must(c.AccountKeyRollover(ctx, newKey(t)))

	name := w.name("x.acme.internal")
	order, err := c.AuthorizeOrder(ctx, append(xacme.DomainIDs(name), xacme.IPIDs("127.0.0.1")...))
	w.must(err)
	for _, url := range order.AuthzURLs {
		z, err := c.GetAuthorization(ctx, url)
		w.must(err)
		for _, ch := range z.Challenges {
			if ch.Type == "http-01" {
				auth, err := c.HTTP01ChallengeResponse(ch.Token)
				w.must(err)
				w.present(ch.Token, auth)
				_, err = c.Accept(ctx, ch)
				w.must(err)
			}
		}
		_, err = c.WaitAuthorization(ctx, url)
		w.must(err)
	}
	order, err = c.WaitOrder(ctx, order.URI)
	w.must(err)
	csr, err := base64.RawURLEncoding.DecodeString(csrOf(t, newKey(t), name, "127.0.0.1"))
	w.must(err)
	chain, url, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	w.must(err)
	if again, err := c.FetchCert(ctx, url, true); err != nil || len(again) != len(chain) {
		t.Errorf("FetchCert: %v", err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	w.must(err)
	w.must(leaf.VerifyHostname("127.0.0.1"))
	if alternates, err := c.ListCertAlternates(ctx, url); err != nil || len(alternates) != 0 {
		t.Errorf("alternates: %v %v", alternates, err)
	}
	w.must(c.RevokeCert(ctx, nil, chain[0], xacme.CRLReasonSuperseded))
	w.must(c.DeactivateReg(ctx))
	w.ledgerHas("eab-created", "created", "contacts-changed", "key-changed", "deactivated")
}
