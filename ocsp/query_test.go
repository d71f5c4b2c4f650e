package ocsp

import (
	"crypto"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	url := tn.serve(t) + "/ocsp"
	for name, status := range map[string]string{"good": "good", "revoked": "revoked", "reserved": "unknown"} {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			q := tn.asked(t, name, hash)
			a, err := q.Ask(t.Context(), http.DefaultClient, url)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != status || !a.Fresh || a.Responder == nil || (a.Reason == "keyCompromise") != (status == "revoked") || a.RevokedAt.IsZero() == (status == "revoked") {
				t.Errorf("%s by %s: %+v", name, hash, a)
			}
		}
	}
	q := tn.asked(t, "good", crypto.SHA1)
	if _, err := q.Ask(t.Context(), http.DefaultClient, url+"x"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("another path: %v", err)
	}
	if _, err := NewQuestion(q.cert, q.issuer, crypto.SHA512); err == nil {
		t.Error("a question by SHA-512")
	}
}

// asked is a Question for the certificate of that name.
func (tn *town) asked(t testing.TB, name string, hash crypto.Hash) *Question {
	t.Helper()
	cert, err := x509.ParseCertificate(tn.leaves[name].Complete.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewQuestion(cert, tn.issuer.cert, hash)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestReadRefuses(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	q, other := tn.asked(t, "good", crypto.SHA1), tn.asked(t, "good", crypto.SHA1)
	der := tn.postForTest(q.DER).Body.Bytes()
	for name, test := range map[string]struct {
		q    *Question
		der  []byte
		at   time.Time
		want string
	}{
		"another nonce":       {other, der, time.Now(), "another nonce"},
		"another certificate": {tn.asked(t, "revoked", crypto.SHA1), der, time.Now(), "no response matching"},
		"too late":            {q, der, time.Now().Add(25 * time.Hour), "the response is for"},
		"too early":           {q, der, time.Now().Add(-30 * time.Minute), "no valid responder"},
		"an error":            {q, failure(tryLater), time.Now(), "try later"},
		"garbage":             {q, []byte{0x30}, time.Now(), "ocsp: "},
		"changed":             {q, flip(der), time.Now(), "ocsp: "},
		"huge":                {q, make([]byte, maxAnswer+1), time.Now(), "more than"},
		"cut short":           {q, der[:len(der)-1], time.Now(), "ocsp: "},
	} {
		if a, err := test.q.Read(test.der, test.at); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	cert, err := tn.store.BySerial(t.Context(), tn.issuer.ID, serialOf(tn.leaves["good"]))
	if err != nil {
		t.Fatal(err)
	}
	staple, _, err := tn.Staple(t.Context(), cert.Issuer, cert.Serial)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := q.Read(staple, time.Now()); err != nil || a.Fresh || a.Status != "good" {
		t.Errorf("without a nonce: %+v, %v", a, err)
	}
}

// FuzzAnswer: no response but the one that was signed is an answer.
func FuzzAnswer(f *testing.F) {
	tn := found(f, "ecdsa-p256", nil).populate(f)
	q := tn.asked(f, "revoked", crypto.SHA1)
	der := tn.postForTest(q.DER).Body.Bytes()
	f.Add(der)
	f.Add(failure(unauthorized))
	f.Fuzz(func(t *testing.T, der []byte) {
		if a, err := q.Read(der, time.Now()); err == nil && a.Status != "revoked" {
			t.Errorf("%+v", a)
		}
	})
}
