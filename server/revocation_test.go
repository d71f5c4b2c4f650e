package server

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ocsp"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// leaf is a certificate as its relying parties have it, with its issuer.
func (r *running) leaf(c *certwrightv1.Certificate) (leaf, issuer *x509.Certificate) {
	r.t.Helper()
	parse := func(text string) *x509.Certificate {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			r.t.Fatal(err)
		}
		return cert
	}
	return parse(c.GetPem()), parse(c.GetChainPem())
}

// ask is the OCSP answer at the address that the certificate names.
func (r *running) ask(leaf, issuer *x509.Certificate) ocsp.Answer {
	r.t.Helper()
	q, err := ocsp.NewQuestion(leaf, issuer, crypto.SHA1)
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := q.Ask(r.t.Context(), http.DefaultClient, strings.Replace(leaf.OCSPServer[0], "localhost", "127.0.0.1", 1))
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *running) revoke(leaf *x509.Certificate, reason identity.RevocationReason) {
	r.t.Helper()
	serial, err := identity.SerialFromBig(leaf.SerialNumber)
	if err != nil {
		r.t.Fatal(err)
	}
	authority := r.server.rooms.authority
	_, err = authority.Revoke(r.t.Context(), ca.Revocation{Issuer: authority.Issuers()[0].KeyID, Serial: serial, Reason: reason, Actor: "local_socket:admin"})
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestKeyBlockedLater: the server's key is reported as compromised for a
// certificate that was revoked before for another reason: it takes another key.
func TestKeyBlockedLater(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	own := r.server.rooms.own
	first := own.current.Load().Leaf
	r.revoke(first, identity.Superseded)
	eventually(t, "another certificate", func() bool { return own.current.Load().Leaf != first })
	serial, err := identity.SerialFromBig(first.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	authority := r.server.rooms.authority
	_, err = authority.Revoke(t.Context(), ca.Revocation{
		Issuer: authority.Issuers()[0].KeyID, Serial: serial, Reason: identity.KeyCompromise, Actor: "local_socket:admin",
	})
	if problem.KindOf(err) != problem.Conflict {
		t.Fatalf("the reason stays: %v", err)
	}
	eventually(t, "another key", func() bool {
		return !bytes.Equal(own.current.Load().Leaf.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo)
	})
}

// TestRevocation: OCSP says it at once, the CRL within its delay, both at the
// addresses that the certificate names, and after a restart.
func TestRevocation(t *testing.T) {
	c := load(t, t.TempDir(), true, "CERTWRIGHT_CRL_REBUILD_DELAY=1s")
	r := start(t, c)
	cert, err := r.issue("svc.internal")
	if err != nil {
		t.Fatal(err)
	}
	leaf, issuer := r.leaf(cert)
	if a := r.ask(leaf, issuer); a.Status != "good" {
		t.Fatalf("%+v", a)
	}
	r.revoke(leaf, identity.KeyCompromise)
	if a := r.ask(leaf, issuer); a.Status != "revoked" || a.Reason != "keyCompromise" {
		t.Errorf("%+v", a)
	}
	list := strings.Replace(leaf.CRLDistributionPoints[0], "localhost", "127.0.0.1", 1)
	listed := func(url string) bool {
		code, body := r.get(url)
		crl, err := x509.ParseRevocationList([]byte(body))
		if code != http.StatusOK || err != nil || crl.CheckSignatureFrom(issuer) != nil {
			return false
		}
		for _, e := range crl.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				return true
			}
		}
		return false
	}
	eventually(t, "the CRL", func() bool { return listed(list) })
	eventually(t, "the complete CRL", func() bool { return listed("http://" + r.HTTP + "/crl/issuing.crl") })
	if code, _ := r.get("http://" + r.HTTP + "/crl/root.crl"); code != http.StatusOK {
		t.Errorf("the root's CRL: %d", code)
	}
	for path, want := range map[string]int{"/ocsp": 200, "/ocsp/": 200, "/ocsp//": 200, "/ocspx": 404, "/crl/nobody.crl": 404} {
		if code, _ := r.get("http://" + r.HTTP + path); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	before := r.HTTP
	r.end()
	again := start(t, c)
	q, err := ocsp.NewQuestion(leaf, issuer, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	a, err := q.Ask(t.Context(), http.DefaultClient, "http://"+again.HTTP+"/ocsp")
	if err != nil || a.Status != "revoked" {
		t.Errorf("after a restart: %+v %v", a, err)
	}
	if !listed(fmt.Sprintf("http://%s/crl/issuing/%d.crl", again.HTTP, cert.GetCrlShard())) {
		t.Errorf("after a restart at %s, before %s, the CRL has lost the entry", again.HTTP, before)
	}
}

// TestStaple: the server staples for itself, and says so when it is revoked.
func TestStaple(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	handshake := func() *xocsp.Response {
		conn, err := tls.Dial("tcp", r.HTTPS, &tls.Config{RootCAs: r.roots(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		state := conn.ConnectionState()
		answer, err := xocsp.ParseResponseForCert(state.OCSPResponse, state.PeerCertificates[0], state.PeerCertificates[1])
		if err != nil {
			t.Fatalf("staple: %v", err)
		}
		return answer
	}
	if answer := handshake(); answer.Status != xocsp.Good || !answer.NextUpdate.After(time.Now()) {
		t.Errorf("%+v", answer)
	}
	r.revoke(r.server.rooms.own.current.Load().Leaf, identity.Superseded)
	eventually(t, "another certificate", func() bool { return handshake().Status == xocsp.Good })
	before := r.server.rooms.own.current.Load().Leaf
	r.revoke(before, identity.KeyCompromise) // another certificate needs another key
	eventually(t, "another certificate", func() bool { return handshake().Status == xocsp.Good })
	if after := r.server.rooms.own.current.Load().Leaf; bytes.Equal(after.RawSubjectPublicKeyInfo, before.RawSubjectPublicKeyInfo) {
		t.Error("the compromised key is still in use")
	}
	r.end()
	if again := start(t, r.config); again.server.rooms.own.current.Load().Leaf.NotAfter.IsZero() {
		t.Error("no certificate after a restart")
	}
}

// TestIssuerSignsOCSP: as configured.
func TestIssuerSignsOCSP(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true, "CERTWRIGHT_OCSP_SIGNER=issuer"))
	cert, err := r.issue("svc.internal")
	if err != nil {
		t.Fatal(err)
	}
	leaf, issuer := r.leaf(cert)
	if a := r.ask(leaf, issuer); a.Status != "good" || a.Responder != nil {
		t.Errorf("%+v", a)
	}
	if n := r.server.rooms.authority.Stats().OCSPSignatures["issuing"]; n == 0 {
		t.Error("the signature is not counted")
	}
}
