package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// httpGet is the status and body of a plain GET; 0 if there is no answer.
func httpGet(url string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// roots are the CA's root alone.
func (s *server) roots() *x509.CertPool {
	s.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(readAll(s.t, filepath.Join(s.data, "root.crt")))) {
		s.t.Fatal("root.crt holds no certificate")
	}
	return pool
}

// rest calls the REST API; authorization may be empty.
func (s *server) rest(method, path, authorization, body string) (int, http.Header, string) {
	s.t.Helper()
	client := http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots(), MinVersion: tls.VersionTLS13}},
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(method, "https://"+s.https+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

func TestREADMEJourney(t *testing.T) {
	s := newServer(t)
	s.start()
	dir := t.TempDir()
	s.must(dir, "cert", "issue", "svc.internal")
	at := func(name string) string { return filepath.Join(dir, name) }
	out := tool(t, "openssl", "verify", "-CAfile", filepath.Join(s.data, "root.crt"),
		"-untrusted", at("svc.internal.chain.pem"), at("svc.internal.crt"))
	if !strings.Contains(out, "OK") {
		t.Fatalf("openssl verify: %s", out)
	}
	if list := s.must(dir, "cert", "list"); !strings.Contains(list, "svc.internal") {
		t.Fatalf("cert list does not show it:\n%s", list)
	}
	denied := s.run(dir, "cert", "issue", "evil.example.com")
	if denied.code != 4 {
		t.Fatalf("a denied request exits %d, want 4\n%s", denied.code, denied.stderr)
	}
	for _, want := range []string{"evil.example.com", "NAME_NOT_ALLOWED", "*.internal", "allowed"} {
		if !strings.Contains(denied.stderr, want) {
			t.Errorf("the denial does not say %q:\n%s", want, denied.stderr)
		}
	}
	if list := s.must(dir, "cert", "list", "--denied"); !strings.Contains(list, "evil.example.com") {
		t.Errorf("the denial is not kept:\n%s", list)
	}
	s.must(dir, "ledger", "verify", "--signatures")
	s.stop()
	s.must(dir, "ledger", "verify", "--signatures")
}
