package crl

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
)

func (w *world) get(method, path string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, req)
	return rec
}

func TestServe(t *testing.T) {
	for name, change := range map[string]func(*testConfig){
		"from memory":    nil,
		"from the store": func(c *testConfig) { c.CacheBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			if rec := w.get(http.MethodGet, shardPath(0)); rec.Code != 404 || rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("before the first: %d %v", rec.Code, rec.Header())
			}
			if _, err := w.Publish(t.Context(), "", "", "x:y"); err != nil {
				t.Fatal(err)
			}
			if cached := w.Stats().CachedBytes; (cached == 0) != (change != nil) {
				t.Errorf("%d octets kept", cached)
			}
			rec := w.get(http.MethodGet, shardPath(0))
			h := rec.Header()
			expires, err := http.ParseTime(h.Get("Expires"))
			if rec.Code != 200 || h.Get("Content-Type") != "application/pkix-crl" || !strings.HasPrefix(h.Get("Cache-Control"), "max-age=60,") || err != nil ||
				time.Until(expires) > time.Minute || !strings.HasSuffix(h.Get("Last-Modified"), "GMT") || !strings.HasSuffix(h.Get("Expires"), "GMT") {
				t.Errorf("%d %v", rec.Code, h)
			}
			if rec := w.get(http.MethodGet, shardPath(0), "If-None-Match", h.Get("ETag")); rec.Code != 304 || rec.Body.Len() != 0 {
				t.Errorf("conditional: %d", rec.Code)
			}
			if rec := w.get(http.MethodHead, shardPath(0)); rec.Code != 200 || rec.Body.Len() != 0 || rec.Header().Get("Content-Length") == "" {
				t.Errorf("HEAD: %d %v", rec.Code, rec.Header())
			}
			for _, path := range []string{"/crl/issuing/99.crl", "/crl/issuing/00.crl", "/crl/other.crl", "/crl/", "/crl/issuing/", "/crl/../crl/issuing.crl", "/crl/issuing/0"} {
				if rec := w.get(http.MethodGet, path); rec.Code != 404 {
					t.Errorf("%s: %d", path, rec.Code)
				}
			}
			if rec := w.get(http.MethodPost, shardPath(0)); rec.Code != 405 || rec.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST: %d", rec.Code)
			}
			old := h.Get("ETag")
			if _, err := w.Publish(t.Context(), "", "0", "x:y"); err != nil { // within the same second
				t.Fatal(err)
			}
			if rec := w.get(http.MethodGet, shardPath(0), "If-None-Match", old, "If-Modified-Since", h.Get("Last-Modified")); rec.Code != 200 {
				t.Errorf("a new list: %d", rec.Code)
			}
		})
	}
}

// TestOpenSSL: openssl verifies the good and refuses the revoked certificate by
// the shards' lists, and by the complete one.
func TestOpenSSL(t *testing.T) {
	w := newWorld(t, nil)
	good, bad := w.issue(t), w.issue(t)
	for good.CRLShard == bad.CRLShard {
		bad = w.issue(t)
	}
	w.revoke(t, bad, identity.KeyCompromise)
	if _, err := w.Publish(t.Context(), "", "", "x:y"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	rootCRL, err := x509cert.RootCRL(w.root, w.rootKey, 1, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := writePEM(t, filepath.Join(dir, "root.pem"), "CERTIFICATE", w.root.Raw)
	issuer := writePEM(t, filepath.Join(dir, "issuer.pem"), "CERTIFICATE", w.issuer.Raw)
	goodPEM := writePEM(t, filepath.Join(dir, "good.pem"), "CERTIFICATE", good.DER)
	badPEM := writePEM(t, filepath.Join(dir, "bad.pem"), "CERTIFICATE", bad.DER)
	raw := func(path string) []byte { return w.fetch(t, path).Raw }
	shards := writePEM(t, filepath.Join(dir, "shards.pem"), "X509 CRL", rootCRL, raw(shardPath(0)), raw(shardPath(1)), raw(shardPath(2)), raw(shardPath(3)))
	complete := writePEM(t, filepath.Join(dir, "complete.pem"), "X509 CRL", rootCRL, raw("/crl/issuing.crl"))
	other := writePEM(t, filepath.Join(dir, "other.pem"), "X509 CRL", rootCRL, raw(shardPath(bad.CRLShard)))
	verify := func(crls, leaf string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-crl_check_all", "-x509_strict", "-CAfile", ca, "-untrusted", issuer, "-CRLfile", crls, leaf).CombinedOutput()
		return string(out), err
	}
	for _, crls := range []string{shards, complete} {
		if out, err := verify(crls, goodPEM); err != nil {
			t.Errorf("good, %s: %v\n%s", filepath.Base(crls), err, out)
		}
		if out, err := verify(crls, badPEM); err == nil || !strings.Contains(out, "certificate revoked") {
			t.Errorf("revoked, %s: %v\n%s", filepath.Base(crls), err, out)
		}
	}
	// Another shard's list does not speak for the good one.
	if out, err := verify(other, goodPEM); err == nil {
		t.Errorf("good by the list of another shard:\n%s", out)
	}
}
