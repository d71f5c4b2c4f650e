package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/auditor"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/merkle/layout"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

const auditorToken = "0123456789abcdef0123456789abcdef"

// withAuditors has one auditor, who holds auditorToken.
func withAuditors(t *testing.T) func(*api.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "auditors")
	if err := os.WriteFile(file, []byte(auditorToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	auditors, err := auditor.New(auditor.Config{File: file})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *api.Config) { c.Authenticators = append(c.Authenticators, auditors) }
}

// publishedWorld is a world whose ledger has some entries and auditors.
func publishedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, withAuditors(t))
	d, err := entry.Action{Action: "token.created", Target: "0a0b"}.Draft("local_socket:admin")
	w.must(err)
	var u storage.Unit
	for range 300 {
		u = append(u, storage.AppendEntry{Entry: d})
	}
	r, err := w.store.Commit(t.Context(), u)
	w.must(err)
	w.must(w.log.Wait(t.Context(), r.Indexes[len(r.Indexes)-1]))
	return w
}

func derOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func request(t *testing.T, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestPublishedHeaders: types and times of C2SP tlog-tiles; what is not for
// everybody is kept by no shared cache.
func TestPublishedHeaders(t *testing.T) {
	w := publishedWorld(t)
	for _, row := range []struct{ path, kind, keep string }{
		{"checkpoint", "text/plain; charset=utf-8", "no-cache"},
		{"tile/0/000", "application/octet-stream", "max-age=31536000, immutable"},
		{"tile/entries/000", "application/octet-stream", "max-age=31536000, immutable"},
		{"tile/0/001.p/7", "application/octet-stream", "max-age=3600"},
		{"tile/1/000.p/1", "application/octet-stream", "max-age=3600"},
		{"tile/entries/001.p/7", "application/octet-stream", "max-age=3600"},
	} {
		for open, who := range map[bool]string{true: "public, ", false: "private, "} {
			keep := who + row.keep
			if row.path == "checkpoint" {
				keep = row.keep
			}
			h := w.server.Published(open)
			got := request(t, h, "GET", "/ledger/"+row.path, "Authorization", "Bearer "+auditorToken)
			if got.Code != 200 || got.Header().Get("Content-Type") != row.kind || got.Header().Get("Cache-Control") != keep || got.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s, open %v: %d %v", row.path, open, got.Code, got.Header())
			}
			head := request(t, h, "HEAD", "/ledger/"+row.path, "Authorization", "Bearer "+auditorToken)
			if head.Code != 200 || head.Header().Get("Content-Length") != got.Header().Get("Content-Length") {
				t.Errorf("HEAD %s: %d %v", row.path, head.Code, head.Header())
			}
		}
	}
}

// TestPublishedCompression: bundles are compressed for who takes it, and the same
// octets come out.
func TestPublishedCompression(t *testing.T) {
	w := publishedWorld(t)
	h := w.server.Published(true)
	plain := request(t, h, "GET", "/ledger/tile/entries/000")
	if _, err := layout.ParseBundle(plain.Body.Bytes(), 256); err != nil || plain.Header().Get("Vary") != "Accept-Encoding" {
		t.Fatalf("%v, %v", err, plain.Header())
	}
	for accept, compressed := range map[string]bool{
		"gzip": true, "br, gzip;q=0.5": true, "GZIP": true, "gzip;q=1.0": true, "identity": false, "gzip;q=0": false, "gzip; q=0.00": false, "": false, "xgzip": false,
	} {
		got := request(t, h, "GET", "/ledger/tile/entries/000", "Accept-Encoding", accept)
		if (got.Header().Get("Content-Encoding") == "gzip") != compressed {
			t.Errorf("%q: %v", accept, got.Header())
			continue
		}
		if compressed {
			z, err := gzip.NewReader(got.Body)
			w.must(err)
			data, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(data, plain.Body.Bytes()) {
				t.Errorf("%q: other octets come out (%v)", accept, err)
			}
		}
	}
	if got := request(t, h, "GET", "/ledger/tile/0/000", "Accept-Encoding", "gzip"); got.Header().Get("Content-Encoding") != "" {
		t.Error("hashes are compressed")
	}
}

// TestPublishedAccess: by role the ledger is for auditors; a refusal says why and
// what to do, and comes before what there is.
func TestPublishedAccess(t *testing.T) {
	w := publishedWorld(t)
	_, token := w.token(1)
	closed, open := w.server.Published(false), w.server.Published(true)
	for _, path := range []string{"/ledger/checkpoint", "/ledger/tile/entries/000", "/ledger/nothing"} {
		for name, row := range map[string]struct {
			headers []string
			code    int
			reason  string
		}{
			"nobody":           {nil, 401, "NO_CREDENTIALS"},
			"a join token":     {[]string{"Authorization", "Bearer " + token}, 403, "PERMISSION_DENIED"},
			"an unknown token": {[]string{"Authorization", "Bearer " + strings.Repeat("x", 40)}, 401, "CREDENTIALS_NOT_KNOWN"},
			"another scheme":   {[]string{"Authorization", "Basic YTpi"}, 401, "CREDENTIALS_NOT_KNOWN"},
			"two":              {[]string{"Authorization", "Bearer " + auditorToken, "Authorization", "Bearer " + auditorToken}, 401, "CREDENTIALS_TWICE"},
			"a proxy's word":   {[]string{"X-Forwarded-User", "admin", "Forwarded", "for=127.0.0.1"}, 401, "NO_CREDENTIALS"},
		} {
			got := request(t, closed, "GET", path, row.headers...)
			var problem struct{ Reason, Detail, Help string }
			w.must(json.Unmarshal(got.Body.Bytes(), &problem))
			if got.Code != row.code || problem.Reason != row.reason || problem.Detail == "" || problem.Help == "" || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: %d %+v %v", path, name, got.Code, problem, got.Header())
			}
		}
		want := 200
		if path == "/ledger/nothing" {
			want = 404
		}
		if got := request(t, closed, "GET", path, "Authorization", "Bearer "+auditorToken); got.Code != want {
			t.Errorf("%s, the auditor: %d %s", path, got.Code, got.Body)
		}
		if got := request(t, open, "GET", path); got.Code != want {
			t.Errorf("%s, open: %d %s", path, got.Code, got.Body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		if got := request(t, open, method, "/ledger/checkpoint"); got.Code != 405 || !strings.Contains(got.Header().Get("Allow"), "GET") {
			t.Errorf("%s: %d %v", method, got.Code, got.Header())
		}
	}
	// An auditor reads the ledger, and calls nothing else.
	r, err := http.NewRequestWithContext(t.Context(), "GET", w.rest.URL+"/v1/ledger/head", nil)
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+auditorToken)
	answer, err := w.rest.Client().Do(r)
	w.must(err)
	_ = answer.Body.Close()
	if answer.StatusCode != 403 {
		t.Errorf("an auditor's call of the API: %d", answer.StatusCode)
	}
}

// TestPublishedUnderLoad: many readers at once get files or are told to come again;
// the API goes on answering.
func TestPublishedUnderLoad(t *testing.T) {
	w := publishedWorld(t)
	h := w.server.Published(true)
	var group sync.WaitGroup
	codes := make(chan int, 400)
	for range 400 {
		group.Go(func() { codes <- request(t, h, "GET", "/ledger/tile/entries/000").Code })
	}
	_, err := certwrightv1.NewLedgerServiceClient(w.admin).GetHead(t.Context(), &certwrightv1.GetHeadRequest{})
	w.must(err)
	group.Wait()
	close(codes)
	for code := range codes {
		if code != 200 && code != 429 && code != 503 {
			t.Errorf("status %d", code)
		}
	}
}

// slowReader takes nothing until it may.
type slowReader struct {
	*httptest.ResponseRecorder
	asked chan<- struct{}
	may   <-chan struct{}
}

func (s slowReader) Write(p []byte) (int, error) {
	s.asked <- struct{}{}
	<-s.may
	return s.ResponseRecorder.Write(p)
}

// TestPublishedShare: one address that takes files and does not read them, over as many
// streams as it likes, leaves places to others.
func TestPublishedShare(t *testing.T) {
	w := publishedWorld(t)
	h := w.server.Published(true)
	const all = 100
	asked, may := make(chan struct{}, all), make(chan struct{})
	var group sync.WaitGroup
	for range all {
		group.Go(func() {
			r := httptest.NewRequest("GET", "/ledger/tile/0/000", nil)
			r.RemoteAddr = "[2001:db8::7]:1234"
			h.ServeHTTP(slowReader{httptest.NewRecorder(), asked, may}, r)
		})
	}
	for range all { // a refusal is written too
		<-asked
	}
	for remote, code := range map[string]int{"[2001:db8::8]:99": 429, "[2001:db8:0:1::7]:99": 200, "192.0.2.1:99": 200} {
		r := httptest.NewRequest("GET", "/ledger/tile/0/000", nil)
		r.RemoteAddr = remote
		got := httptest.NewRecorder()
		if h.ServeHTTP(got, r); got.Code != code {
			t.Errorf("%s: %d, want %d: %s", remote, got.Code, code, got.Body)
		}
	}
	close(may)
	group.Wait()
	r := httptest.NewRequest("GET", "/ledger/tile/0/000", nil)
	r.RemoteAddr = "[2001:db8::7]:1235"
	got := httptest.NewRecorder()
	if h.ServeHTTP(got, r); got.Code != 200 {
		t.Errorf("afterwards: %d", got.Code)
	}
}

// TestFilesAndProofsOverGRPC: GetFile gives what is served; a proof comes as a
// file, with the certificate if it is asked for.
func TestFilesAndProofsOverGRPC(t *testing.T) {
	w := publishedWorld(t)
	client := certwrightv1.NewLedgerServiceClient(w.admin)
	file, err := client.GetFile(t.Context(), &certwrightv1.GetFileRequest{Path: "tile/entries/000"})
	w.must(err)
	if got := request(t, w.server.Published(true), "GET", "/ledger/tile/entries/000"); !bytes.Equal(got.Body.Bytes(), file.GetData()) {
		t.Error("GetFile gives something else than what is served")
	}
	_, token := w.token(3)
	certificates := certwrightv1.NewCertificateServiceClient(w.tcp)
	with, err := certificates.SignCertificate(bearer(t.Context(), token), &certwrightv1.SignCertificateRequest{Csr: w.csr("x.team-a.internal"), WithProof: true})
	w.must(err)
	without, err := certificates.SignCertificate(bearer(t.Context(), token), &certwrightv1.SignCertificateRequest{Csr: w.csr("y.team-a.internal")})
	w.must(err)
	if without.GetLedgerProof() != "" {
		t.Error("a proof that nobody asked for")
	}
	proof, cp, err := ledger.OpenProof([]byte(with.GetLedgerProof()), w.log.VerifierKey())
	w.must(err)
	if proof.Index != with.GetLedgerIndex() || cp.Size <= proof.Index {
		t.Errorf("the proof is of entry %d in %d", proof.Index, cp.Size)
	}
	w.must(ledger.MatchCertificate(proof.Entry, derOf(t, with.GetPem()), nil))
	if err := ledger.MatchCertificate(proof.Entry, derOf(t, without.GetPem()), nil); err == nil {
		t.Error("the proof holds for another certificate")
	}
	w.must(w.log.Wait(t.Context(), without.GetLedgerIndex()))
	later, err := client.GetProof(t.Context(), &certwrightv1.GetProofRequest{Index: without.GetLedgerIndex()})
	w.must(err)
	if proof, _, err = ledger.OpenProof([]byte(later.GetFile()), w.log.VerifierKey()); err != nil {
		t.Fatal(err)
	}
	w.must(ledger.MatchCertificate(proof.Entry, derOf(t, without.GetPem()), nil))
}
