package ocsp

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/certwright/certwright/identity"
)

// serve puts the responder behind a real server.
func (tn *town) serve(t testing.TB) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(tn)
	srv.Config.ReadTimeout = 2 * time.Second
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// answered is an HTTP answer without its body.
type answered struct {
	status int
	header http.Header
	length int64
}

// do sends a request as it is and returns the answer and its body.
func do(t *testing.T, method, url, contentType string, body io.Reader, header ...string) (answered, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, res.ContentLength}, got
}

// TestGetForms asks with every way in which clients write base64 in a path,
// for requests that hold "+", "/" and "//".
func TestGetForms(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	base := tn.serve(t)
	id := tn.issuers[0].certID(sha1Null, serialOf(tn.leaves["good"]))
	for _, nonce := range [][]byte{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0xfb, 0xef, 0xbe, 0xfb, 0xef, 0xbe}, {1}, {1, 2}, {1, 2, 3}} {
		text := base64.StdEncoding.EncodeToString(build(t, message{ids: [][]byte{id}, nonce: nonce}))
		every := ""
		for _, c := range []byte(text) {
			every += "%" + strings.ToUpper(string("0123456789abcdef"[c>>4])) + string("0123456789abcdef"[c&15])
		}
		for name, path := range map[string]string{
			"as it is": "/ocsp/" + text, "escaped": "/ocsp/" + url.PathEscape(text), "all escaped": "/ocsp/" + every,
			"query-escaped": "/ocsp/" + url.QueryEscape(text), "two slashes": "/ocsp//" + text, "no padding": "/ocsp/" + strings.TrimRight(text, "="),
		} {
			res, body := do(t, http.MethodGet, base+path, "", nil)
			if got, err := xocsp.ParseResponse(body, tn.issuer.cert); err != nil || got.Status != xocsp.Good || res.status != 200 {
				t.Errorf("nonce %x, %s: status %d, %v %x", nonce, name, res.status, err, body)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	base := tn.serve(t)
	question := tn.question(t, serialOf(tn.leaves["good"]).Big(), crypto.SHA1)
	const media = "application/ocsp-request"
	for _, test := range []struct {
		name, method, path, media string
		body                      io.Reader
		status                    int
		answer                    []byte
	}{
		{"no content type", "POST", "/ocsp", "", bytes.NewReader(question), 415, nil},
		{"wrong content type", "POST", "/ocsp", "application/json", bytes.NewReader(question), 415, nil},
		{"parameters", "POST", "/ocsp", media + "; charset=x", bytes.NewReader(nil), 200, xocsp.MalformedRequestErrorResponse},
		{"slash", "POST", "/ocsp/", media, bytes.NewReader(nil), 200, xocsp.MalformedRequestErrorResponse},
		{"huge", "POST", "/ocsp", media, bytes.NewReader(make([]byte, 4097)), 413, nil},
		{"huge, chunked", "POST", "/ocsp", media, io.MultiReader(bytes.NewReader(make([]byte, 1<<20))), 413, nil},
		{"the longest", "POST", "/ocsp", media, bytes.NewReader(make([]byte, 4096)), 200, xocsp.MalformedRequestErrorResponse},
		{"GET without a request", "GET", "/ocsp", "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"GET without a request, slash", "GET", "/ocsp/", "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"bad base64", "GET", "/ocsp/MEow!!", "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"base64url", "GET", "/ocsp/__--", "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"newline", "GET", "/ocsp/MEo%0A", "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"long GET", "GET", "/ocsp/" + strings.Repeat("A", maxEncoded), "", nil, 200, xocsp.MalformedRequestErrorResponse},
		{"too long GET", "GET", "/ocsp/" + strings.Repeat("A", maxEncoded+1), "", nil, 414, nil},
		{"other path", "GET", "/ocspx/MEo", "", nil, 404, nil},
		{"other path, POST", "POST", "/other", media, bytes.NewReader(question), 404, nil},
		{"PUT", "PUT", "/ocsp", media, bytes.NewReader(question), 405, nil},
	} {
		res, body := do(t, test.method, base+test.path, test.media, test.body)
		if res.status != test.status || test.answer != nil && !bytes.Equal(body, test.answer) {
			t.Errorf("%s: %d %q", test.name, res.status, body)
		}
		if test.answer != nil && (res.header.Get("Content-Type") != "application/ocsp-response" || res.header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s: %v", test.name, res.header)
		}
	}
	if res, _ := do(t, "POST", base+"/ocsp", media, bytes.NewReader(question), "Content-Encoding", "gzip"); res.status != 415 {
		t.Errorf("compressed: %d", res.status)
	}
}

// TestSlowBody: a body that does not arrive is no request.
func TestSlowBody(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(tn.serve(t), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: 70\r\n\r\n0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
		t.Errorf("%v, %q", err, got)
	}
}

func TestCachingHeaders(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	base := tn.serve(t)
	get := func(name string, header ...string) (answered, []byte) {
		der := tn.question(t, serialOf(tn.leaves[name]).Big(), crypto.SHA1)
		return do(t, http.MethodGet, base+"/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(der)), "", nil, header...)
	}
	for _, name := range []string{"good", "revoked"} {
		res, body := get(name)
		h := res.header
		answer, err := xocsp.ParseResponse(body, tn.issuer.cert)
		if err != nil {
			t.Fatal(err)
		}
		if h.Get("Cache-Control") != "max-age=60, public, no-transform, must-revalidate" || h.Get("Etag") == "" || len(h) != 7 {
			t.Errorf("%s: %v", name, h)
		}
		if h.Get("Last-Modified") != answer.ThisUpdate.UTC().Format(http.TimeFormat) {
			t.Errorf("%s: Last-Modified %s, thisUpdate %s", name, h.Get("Last-Modified"), answer.ThisUpdate)
		}
		expires, err := http.ParseTime(h.Get("Expires"))
		if left := time.Until(expires); err != nil || !strings.HasSuffix(h.Get("Expires"), " GMT") || left > time.Minute || left < 50*time.Second {
			t.Errorf("%s: Expires %s, %v", name, h.Get("Expires"), err)
		}
		for _, test := range []struct {
			header, value string
			status        int
		}{
			{"If-None-Match", h.Get("Etag"), 304},
			{"If-None-Match", `"x", W/` + h.Get("Etag"), 304},
			{"If-None-Match", "*", 304},
			{"If-None-Match", `"x"`, 200},
			{"If-Modified-Since", h.Get("Last-Modified"), map[string]int{"good": 304, "revoked": 200}[name]},
			{"If-Modified-Since", answer.ThisUpdate.Add(-time.Second).UTC().Format(http.TimeFormat), 200},
			{"If-Modified-Since", "yesterday", 200},
		} {
			if res, body := get(name, test.header, test.value); res.status != test.status || test.status == 304 && (len(body) > 0 || res.header.Get("Etag") != h.Get("Etag")) {
				t.Errorf("%s: %s %s: %d", name, test.header, test.value, res.status)
			}
		}
	}
	res, _ := get("reserved", "If-None-Match", "*")
	if h := res.header; res.status != 200 || h.Get("Cache-Control") != "no-store" || h.Get("Expires")+h.Get("Etag")+h.Get("Last-Modified") != "" {
		t.Errorf("unknown: %d %v", res.status, h)
	}
	// Revoked in the second of the good answer: neither validator holds.
	before, _ := get("good")
	commit(t, tn.store, tn.leaves["good"].Revoke(t, identity.KeyCompromise))
	tn.Changed(tn.issuer.ID, serialOf(tn.leaves["good"]))
	for _, header := range []string{"Etag", "Last-Modified"} {
		conditional := map[string]string{"Etag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[header]
		res, body := get("good", conditional, before.header.Get(header))
		if answer, err := xocsp.ParseResponse(body, tn.issuer.cert); err != nil || res.status != 200 || answer.Status != xocsp.Revoked {
			t.Errorf("%s of the good answer: %d, %v", header, res.status, err)
		}
	}
}

func TestHead(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil).populate(t)
	der := tn.question(t, serialOf(tn.leaves["good"]).Big(), crypto.SHA1)
	res, body := do(t, http.MethodHead, tn.serve(t)+"/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(der)), "", nil)
	if res.status != 200 || len(body) != 0 || res.length < 500 {
		t.Errorf("%d, %d octets, length %d", res.status, len(body), res.length)
	}
}
