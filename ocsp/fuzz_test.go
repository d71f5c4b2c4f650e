package ocsp

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	xocsp "golang.org/x/crypto/ocsp"
)

func seeds(f *testing.F, tn *town) [][]byte {
	id := tn.issuers[0].certID(sha256Bare, serialOf(tn.leaves["good"]))
	signature := sequence(sequence(oidECDSA2), []byte{3, 3, 0, 1, 2})
	return [][]byte{
		tn.question(f, serialOf(tn.leaves["good"]).Big(), crypto.SHA1),
		tn.question(f, serialOf(tn.leaves["revoked"]).Big(), crypto.SHA256),
		tn.question(f, serialOf(tn.leaves["reserved"]).Big(), crypto.SHA512),
		build(f, message{ids: [][]byte{id, id}, nonce: []byte{1, 2}, version: []byte{2, 1, 0}, name: []byte{0xa4, 2, 0x30, 0}}),
		build(f, message{ids: [][]byte{id}, single: sequence(extension(oidNonce, false, nil)), signature: signature}),
		build(f, message{ids: [][]byte{id}, extensions: [][]byte{extension(oidAccept, true, sequence(oidBasic))}}),
		{}, {0x30, 0x80},
	}
}

// FuzzRequest: what this parser and x/crypto's both accept they read alike; what
// x/crypto accepts and this one does not has a reason that x/crypto does not
// look at; and good is only said of the one good certificate.
func FuzzRequest(f *testing.F) {
	tn := found(f, "ecdsa-p256", nil).populate(f)
	for _, der := range seeds(f, tn) {
		f.Add(der)
	}
	good := serialOf(tn.leaves["good"]).Big()
	f.Fuzz(func(t *testing.T, der []byte) {
		var r request
		ok := r.parse(der)
		theirs, err := xocsp.ParseRequest(der)
		if ok && err == nil {
			id := r.ids[0]
			if !bytes.Equal(id.nameHash, theirs.IssuerNameHash) || !bytes.Equal(id.keyHash, theirs.IssuerKeyHash) {
				t.Errorf("hashes %x %x, not %x %x", id.nameHash, id.keyHash, theirs.IssuerNameHash, theirs.IssuerKeyHash)
			}
			if serial, ours := id.ours(); ours && serial.Big().Cmp(theirs.SerialNumber) != 0 {
				t.Errorf("serial %s, not %x", serial, theirs.SerialNumber)
			}
		}
		w := tn.postForTest(der)
		if len(der) > maxRequest {
			if w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("%d octets: status %d", len(der), w.Code)
			}
			return
		}
		body := w.Body.Bytes()
		if w.Code != http.StatusOK || len(body) < 5 || bytes.Equal(body, xocsp.InternalErrorErrorResponse) {
			t.Fatalf("status %d, %x", w.Code, body)
		}
		if malformed := bytes.Equal(body, xocsp.MalformedRequestErrorResponse); malformed == ok {
			t.Fatalf("parsed %t, answer %x", ok, body)
		}
		if len(body) == 5 || len(r.ids) != 1 {
			return
		}
		res, err := xocsp.ParseResponse(body, tn.issuer.cert)
		if err != nil {
			t.Fatalf("answer: %v", err)
		}
		if res.Status == xocsp.Good && res.SerialNumber.Cmp(good) != 0 {
			t.Errorf("good for serial %x", res.SerialNumber)
		}
	})
}

// FuzzGet: whatever stands in the URL, there is an answer or a refusal.
func FuzzGet(f *testing.F) {
	tn := found(f, "ecdsa-p256", nil).populate(f)
	for _, der := range seeds(f, tn) {
		f.Add(base64.StdEncoding.EncodeToString(der))
		f.Add(url.PathEscape(base64.StdEncoding.EncodeToString(der)))
	}
	f.Add("//+/=%2F\n?#")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.ParseRequestURI("/ocsp/" + text)
		if err != nil {
			return // net/http refuses it
		}
		w := httptest.NewRecorder()
		tn.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
		switch {
		case w.Code == http.StatusRequestURITooLong && len(strings.Trim(u.Path, "/=")) > maxEncoded:
		case w.Code != http.StatusOK || bytes.Equal(w.Body.Bytes(), xocsp.InternalErrorErrorResponse):
			t.Errorf("status %d, %x", w.Code, w.Body.Bytes())
		}
	})
}
