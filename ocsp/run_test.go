package ocsp

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage/storagetest"
)

// day runs a test with a responder whose Run is at work, in a bubble of its own
// time.
func day(t *testing.T, change func(*Config), test func(t *testing.T, tn *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, "ecdsa-p256", change)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tn.Run(ctx) }()
		test(t, tn)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRenewsBeforeItsEnd(t *testing.T) {
	day(t, nil, func(t *testing.T, tn *town) {
		serial := big.NewInt(77)
		for range 40 { // ten days
			pass(6 * time.Hour)
			if res := tn.ask(t, serial); res.Certificate == nil || time.Now().After(res.Certificate.NotAfter.Add(-24*time.Hour)) {
				t.Fatalf("at %s: certificate until %s", time.Now(), res.Certificate.NotAfter)
			}
		}
		if n := tn.issued.Load(); n != 5 && n != 6 { // every two days
			t.Errorf("%d certificates in ten days", n)
		}
		if s := tn.Stats(); s.Renewals != uint64(tn.issued.Load()) || s.Issuers[0].Name != "issuing" || s.Issuers[0].Error != "" || s.Issuers[0].NotAfter.Before(time.Now()) {
			t.Errorf("%+v", s)
		}
	})
}

func TestHotAnswersAreSignedAhead(t *testing.T) {
	day(t, nil, func(t *testing.T, tn *town) {
		hot, cold := tn.issueLeaf(t), tn.issueLeaf(t)
		tn.ask(t, serialOf(cold).Big())
		for range 96 { // a day, by the quarter of an hour
			tn.ask(t, serialOf(hot).Big())
			pass(15 * time.Minute)
		}
		s := tn.Stats()
		if s.CacheMisses != 2 || s.Ahead != 2 || s.ResponderSignatures != 4 {
			t.Errorf("misses %d, ahead %d, signatures %d", s.CacheMisses, s.Ahead, s.ResponderSignatures)
		}
		if s.CacheEntries != 1 { // the cold one is past its end
			t.Errorf("%d answers are kept", s.CacheEntries)
		}
	})
}

func TestHalfOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, "ecdsa-p256", func(c *Config) { c.Lifetime = time.Hour })
		serial := serialOf(tn.issueLeaf(t)).Big()
		first := tn.ask(t, serial)
		pass(30*time.Minute - time.Second)
		if again := tn.ask(t, serial); !again.ThisUpdate.Equal(first.ThisUpdate) {
			t.Error("signed anew before its half")
		}
		pass(time.Second)
		again := tn.ask(t, serial)
		if !again.ThisUpdate.Equal(first.ThisUpdate.Add(30*time.Minute)) || !again.NextUpdate.Equal(again.ThisUpdate.Add(time.Hour)) {
			t.Errorf("from %s to %s after %s", again.ThisUpdate, again.NextUpdate, first.ThisUpdate)
		}
	})
}

// TestAnswersEndWithTheCertificate: an answer does not outlive the certificate
// that signs it, and near its end it is no longer used.
func TestAnswersEndWithTheCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := foundBy(t, "ecdsa-p256", "delegated")
		serial := serialOf(tn.issueLeaf(t)).Big()
		pass(60 * time.Hour) // nothing renews here
		res := tn.ask(t, serial)
		if !res.NextUpdate.Equal(res.Certificate.NotAfter) {
			t.Errorf("until %s, its certificate until %s", res.NextUpdate, res.Certificate.NotAfter)
		}
		pass(12*time.Hour - 2*time.Minute)
		if res = tn.ask(t, serial); res.NextUpdate.After(res.Certificate.NotAfter) {
			t.Errorf("until %s, its certificate until %s", res.NextUpdate, res.Certificate.NotAfter)
		}
		pass(time.Minute + time.Second)
		w := tn.postForTest(tn.question(t, big.NewInt(1), 3))
		if w.Body.String() != string(xocsp.TryLaterErrorResponse) {
			t.Errorf("without a certificate: %x", w.Body.Bytes())
		}
		if err := tn.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		tn.ask(t, serial)
	})
}

func TestRetriesAndStandsIn(t *testing.T) {
	var shut atomic.Bool
	var tries atomic.Int64
	shut.Store(true)
	authority := newAuthority(t, "ecdsa-p256", "Town Issuing CA")
	change := func(c *Config) {
		c.Issuers = []IssuerConfig{{Name: "issuing", Certificate: authority.cert, Profile: "ocsp-responder", Signer: authority.key}}
		c.Issue = func(_ context.Context, req identity.Request) ([]byte, error) {
			if req.Profile != "ocsp-responder" || req.Principal.String() != "system:server" || req.Kind != identity.X509 {
				return nil, errors.New("not what was configured")
			}
			if tries.Add(1); shut.Load() {
				return nil, errors.New("the store is read-only")
			}
			return authority.delegate(req, 72*time.Hour)
		}
	}
	day(t, change, func(t *testing.T, tn *town) {
		tn.issuer = authority
		pass(time.Hour)
		if n := tries.Load(); n < 10 || n > 30 {
			t.Errorf("%d tries in an hour", n)
		}
		if s := tn.Stats(); !strings.Contains(s.Issuers[0].Error, "read-only") || !s.Issuers[0].NotAfter.IsZero() {
			t.Errorf("%+v", s.Issuers)
		}
		if res := tn.ask(t, big.NewInt(1)); res.Certificate != nil || tn.Stats().IssuerSignatures != 1 {
			t.Error("not signed by the stand-in")
		}
		shut.Store(false)
		pass(maxRetry + time.Second)
		if res := tn.ask(t, big.NewInt(1)); res.Certificate == nil || tn.Stats().Issuers[0].Error != "" {
			t.Error("not signed by the responder certificate")
		}
	})
}

func TestDelegateIsChecked(t *testing.T) {
	authority, other := newAuthority(t, "ecdsa-p256", "Town Issuing CA"), newAuthority(t, "ecdsa-p256", "Town Issuing CA")
	var certify func(req identity.Request) ([]byte, error)
	r, err := New(Config{
		Store: openStore(t), Names: storagetest.DNS("ca.internal"),
		Issuers: []IssuerConfig{{Name: "issuing", Certificate: authority.cert, Profile: "ocsp-responder"}},
		Issue:   func(_ context.Context, req identity.Request) ([]byte, error) { return certify(req) },
	})
	if err != nil {
		t.Fatal(err)
	}
	custom := func(change func(*x509.Certificate)) func(identity.Request) ([]byte, error) {
		return func(req identity.Request) ([]byte, error) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
				ExtraExtensions: []pkix.Extension{{Id: oidNoCheck, Value: null}},
			}
			change(template)
			return x509.CreateCertificate(nil, template, authority.cert, req.PublicKey, authority.key)
		}
	}
	for want, made := range map[string]func(identity.Request) ([]byte, error){
		"refused":            func(identity.Request) ([]byte, error) { return nil, errors.New("refused") },
		"certificate: x509":  func(identity.Request) ([]byte, error) { return []byte{1}, nil },
		"ECDSA verification": func(req identity.Request) ([]byte, error) { return other.delegate(req, time.Hour) },
		"key is not that of": func(req identity.Request) ([]byte, error) {
			req.PublicKey = newKey(t, "ecdsa-p256").Public()
			return authority.delegate(req, time.Hour)
		},
		"long enough":             func(req identity.Request) ([]byte, error) { return authority.delegate(req, 30*time.Second) },
		"id-pkix-ocsp-nocheck":    custom(func(c *x509.Certificate) { c.ExtraExtensions = nil }),
		"not OCSPSigning":         custom(func(c *x509.Certificate) { c.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth }),
		"is not digitalSignature": custom(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
	} {
		certify = made
		if err := r.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "issuer issuing") {
			t.Errorf("%v, not %q", err, want)
		}
	}
	certify = custom(func(*x509.Certificate) {})
	if err := r.Renew(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLateAnswer: past its half, an answer stands in while no new one can be
// signed, but not after its certificate's state has changed.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := foundBy(t, "ecdsa-p256", "delegated")
		leaf := tn.issueLeaf(t)
		pass(50 * time.Hour)
		tn.ask(t, serialOf(leaf).Big()) // until the certificate's end, in 22 hours
		tn.issuers[0].delegated.Store(nil)
		pass(20 * time.Hour)
		if res := tn.ask(t, serialOf(leaf).Big()); res.Status != xocsp.Good || tn.Stats().Late != 1 {
			t.Errorf("status %d, late %d", res.Status, tn.Stats().Late)
		}
		tn.Changed(tn.issuer.ID, serialOf(leaf))
		if w := tn.postForTest(tn.question(t, serialOf(leaf).Big(), 3)); w.Body.String() != string(xocsp.TryLaterErrorResponse) {
			t.Errorf("after a change: %x", w.Body.Bytes())
		}
	})
}
