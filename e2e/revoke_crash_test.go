package e2e

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const (
	revokers    = 16
	revokedEach = 60 // acknowledged revocations before a kill
)

// revocable is a certificate and what its owner was told.
type revocable struct {
	cert   *x509.Certificate
	reason certwrightv1.Revocation_Reason
	told   bool // that it is revoked
}

// TestCrashRevocations kills the server in the midst of revocations, again and
// again: what was acknowledged is revoked at OCSP and in the certificate's list
// after the next start, and both say the same of what was not.
func TestCrashRevocations(t *testing.T) {
	t.Setenv("CERTWRIGHT_CRL_REBUILD_DELAY", "1s")
	s := newServer(t)
	s.start()
	for round := range max(3, rounds(t)/5) {
		all := s.revokeUntilKilled()
		s.start()
		told, silent := 0, 0
		issuer := s.issuingCertificate()
		for _, each := range all {
			_, answer, err := askOCSP(t.Context(), each.cert, issuer)
			if err != nil {
				t.Fatal(err)
			}
			revoked := answer.Status == xocsp.Revoked
			switch {
			case each.told && (!revoked || answer.RevocationReason != int(each.reason)):
				t.Errorf("round %d: serial %x was revoked for %s; OCSP says status %d, reason %d",
					round+1, each.cert.SerialNumber, each.reason, answer.Status, answer.RevocationReason)
			case each.told:
				told++
			case revoked:
				silent++
			}
			if revoked {
				s.waitListed(each.cert, issuer)
			} else if isListed(each.cert, issuer) {
				t.Errorf("round %d: serial %x is listed, and OCSP says status %d", round+1, each.cert.SerialNumber, answer.Status)
			}
		}
		t.Logf("round %d: %d acknowledged, %d revoked without a word, of %d", round+1, told, silent, len(all))
	}
	s.must(t.TempDir(), "ledger", "verify", "--signatures")
	s.stop()
	for serial, n := range s.revocations() {
		if n != 1 {
			t.Errorf("serial %s stands %d times", serial, n)
		}
	}
}

// revokeUntilKilled issues and revokes with several callers, and kills the server a
// random moment after enough revocations.
func (s *server) revokeUntilKilled() []*revocable {
	s.t.Helper()
	reasons := []certwrightv1.Revocation_Reason{
		certwrightv1.Revocation_KEY_COMPROMISE, certwrightv1.Revocation_SUPERSEDED, certwrightv1.Revocation_CESSATION_OF_OPERATION,
	}
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var all []*revocable
	done := 0
	enough := make(chan struct{})
	var callers sync.WaitGroup
	for range revokers {
		callers.Go(func() {
			for {
				reason := reasons[rand.N(len(reasons))]
				c, err := client.SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csrPEM(s.t, newKey(s.t), "w.internal"), Profile: "server"})
				if err != nil {
					return
				}
				each := &revocable{cert: parsePEM(s.t, c.Pem), reason: reason}
				mu.Lock()
				all = append(all, each)
				mu.Unlock()
				if _, err := client.RevokeCertificate(ctx, &certwrightv1.RevokeCertificateRequest{Id: c.Id, Reason: reason}); err != nil {
					return
				}
				mu.Lock()
				each.told = true
				if done++; done == revokedEach {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(time.Minute):
		s.t.Errorf("fewer than %d revocations in a minute\n%s", revokedEach, s.log)
	}
	<-time.After(rand.N(50 * time.Millisecond))
	s.kill()
	cancel()
	callers.Wait()
	return all
}

// issuingCertificate is the issuer's, from where certificates say that it is.
func (s *server) issuingCertificate() *x509.Certificate {
	s.t.Helper()
	code, body := httpGet("http://" + s.http + "/ca/issuing.crt")
	cert, err := x509.ParseCertificate([]byte(body))
	if code != 200 || err != nil {
		s.t.Fatalf("the issuer's certificate: %d, %v", code, err)
	}
	return cert
}
