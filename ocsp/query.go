package ocsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/identity"
)

// maxAnswer is the longest response that is read, in octets.
const maxAnswer = 64 << 10

// skew is how far the clocks of a responder and its client may differ.
const skew = 5 * time.Minute

// Question asks for the state of one certificate, with a nonce of 32 octets (RFC
// 9654 §2.1).
type Question struct {
	DER          []byte // the OCSPRequest
	nonce        []byte
	cert, issuer *x509.Certificate
}

// Answer is a verified answer to a Question.
type Answer struct {
	Status     string    // good, revoked or unknown
	RevokedAt  time.Time // of revoked
	Reason     string    // of revoked: the RFC's name
	ThisUpdate time.Time
	NextUpdate time.Time         // zero: there is newer information at any time
	Fresh      bool              // it was signed for this question: it has its nonce
	Responder  *x509.Certificate // nil: the issuer has signed itself
}

// NewQuestion asks for cert, which issuer has issued, by the hash SHA-1 or
// SHA-256.
func NewQuestion(cert, issuer *x509.Certificate, hash crypto.Hash) (*Question, error) {
	bits, err := keyBits(issuer)
	if err != nil {
		return nil, err
	}
	oid := oidSHA1
	switch hash {
	case crypto.SHA1:
	case crypto.SHA256:
		oid = oidSHA256
	default:
		return nil, fmt.Errorf("a CertID by %s is not asked for", hash)
	}
	sum := func(b []byte) []byte {
		h := hash.New()
		h.Write(b)
		return h.Sum(nil)
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1BigInt(cert.SerialNumber)
	serial, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("serial: %w", err)
	}
	q := &Question{nonce: make([]byte, 32), cert: cert, issuer: issuer}
	_, _ = rand.Read(q.nonce) // never fails
	id := tlv(asn1.SEQUENCE, issuerPart(oid, true, sum(issuer.RawSubject), sum(bits)), serial)
	extensions := tlv(explicit2, tlv(asn1.SEQUENCE, extensionOf(oidNonce, tlv(asn1.OCTET_STRING, q.nonce))))
	q.DER = tlv(asn1.SEQUENCE, tlv(asn1.SEQUENCE, tlv(asn1.SEQUENCE, tlv(asn1.SEQUENCE, id)), extensions))
	return q, nil
}

// Ask posts the question to a responder's URL and reads the answer.
func (q *Question) Ask(ctx context.Context, client *http.Client, url string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(q.DER))
	if err != nil {
		return Answer{}, fmt.Errorf("ocsp: %w", err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	res, err := client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("ocsp: %w", err)
	}
	der, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return Answer{}, fmt.Errorf("ocsp: %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("ocsp: %s answers HTTP status %s", url, res.Status)
	}
	return q.Read(der, time.Now())
}

// Read verifies a response at a time (RFC 6960 §3.2): its signature by the issuer
// or a responder that the issuer has named, its CertID, its time, and its nonce
// if it has one.
func (q *Question) Read(der []byte, now time.Time) (Answer, error) {
	if len(der) > maxAnswer {
		return Answer{}, fmt.Errorf("ocsp: the response has more than %d octets", maxAnswer)
	}
	res, err := xocsp.ParseResponseForCert(der, q.cert, q.issuer)
	if err != nil {
		return Answer{}, fmt.Errorf("ocsp: %w", err)
	}
	a := Answer{ThisUpdate: res.ThisUpdate, NextUpdate: res.NextUpdate, Responder: res.Certificate}
	if c := a.Responder; c != nil && (!slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || now.After(c.NotAfter) || now.Before(c.NotBefore)) {
		return Answer{}, errors.New("ocsp: the response's signer is no valid responder (RFC 6960 §4.2.2.2)")
	}
	if now.Add(skew).Before(res.ThisUpdate) || !res.NextUpdate.IsZero() && now.Add(-skew).After(res.NextUpdate) {
		return Answer{}, fmt.Errorf("ocsp: the response is for %s to %s", res.ThisUpdate, res.NextUpdate)
	}
	nonce, err := nonceOf(res.TBSResponseData)
	if err != nil {
		return Answer{}, err
	}
	if a.Fresh = bytes.Equal(nonce, q.nonce); !a.Fresh && nonce != nil {
		return Answer{}, errors.New("ocsp: the response is for another nonce")
	}
	switch res.Status {
	case xocsp.Good:
		a.Status = "good"
	case xocsp.Revoked:
		a.Status, a.RevokedAt, a.Reason = "revoked", res.RevokedAt, identity.RevocationReason(res.RevocationReason).String()
	default:
		a.Status = "unknown"
	}
	return a, nil
}

// nonceOf is the nonce of a ResponseData; nil: it has none.
func nonceOf(tbs []byte) ([]byte, error) {
	malformed := errors.New("ocsp: the response's extensions cannot be read")
	s := cryptobyte.String(tbs)
	var data, outer, list, nonce cryptobyte.String
	var tag asn1.Tag
	var present bool
	if !s.ReadASN1(&data, asn1.SEQUENCE) || !data.SkipOptionalASN1(explicit0) || !data.ReadAnyASN1(&outer, &tag) ||
		!data.SkipASN1(asn1.GeneralizedTime) || !data.SkipASN1(asn1.SEQUENCE) || !data.ReadOptionalASN1(&outer, &present, explicit1) {
		return nil, malformed
	}
	if !present {
		return nil, nil
	}
	if !outer.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, malformed
	}
	for !list.Empty() {
		var oid, value cryptobyte.String
		var critical bool
		if !readExtension(&list, &oid, &critical, &value) {
			return nil, malformed
		}
		if bytes.Equal(oid, oidNonce) && !value.ReadASN1(&nonce, asn1.OCTET_STRING) {
			return nil, malformed
		}
	}
	return nonce, nil
}
