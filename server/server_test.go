package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/setup"
	"github.com/certwright/certwright/storage/bolt"
)

func TestDevServer(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	r := start(t, load(t, t.TempDir(), true))
	for _, want := range []string{"sha256:", "cert issue svc.internal --data", "policy.yaml", r.GRPC, "not encrypted"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("the announcement lacks %q:\n%s", want, r.out)
		}
	}
	cert, err := r.issue("svc.internal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.issue("evil.example.com"); err == nil {
		t.Error("a name outside the policy was issued")
	}
	block, _ := pem.Decode([]byte(cert.GetPem()))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM([]byte(cert.GetChainPem()))
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "svc.internal", Roots: r.roots(), Intermediates: between}); err != nil {
		t.Error(err)
	}
	// What the certificate names in AIA is there.
	if len(leaf.IssuingCertificateURL) != 1 {
		t.Fatalf("AIA %q", leaf.IssuingCertificateURL)
	}
	code, body := r.get(strings.Replace(leaf.IssuingCertificateURL[0], "localhost", "127.0.0.1", 1))
	if issuer, err := x509.ParseCertificate([]byte(body)); code != http.StatusOK || err != nil || leaf.CheckSignatureFrom(issuer) != nil {
		t.Errorf("AIA: %d, %v", code, err)
	}
	for path, want := range map[string]int{"/ca/root.crt": 200, "/ca/root.crl": 200, "/ca/nobody.crt": 404, "/ca/": 404, "/": 404} {
		if code, _ := r.get("http://" + r.HTTP + path); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := r.get("https://" + r.HTTPS + "/v1/certificates"); code != http.StatusUnauthorized {
		t.Errorf("REST without credentials: %d", code)
	}
	if code, body := r.get("https://" + r.HTTPS + "/openapi.json"); code != http.StatusOK || !strings.Contains(body, "openapi") {
		t.Errorf("openapi: %d", code)
	}
	for _, path := range []string{"/livez", "/healthz", "/readyz"} {
		if code, body := r.get("http://" + r.Metrics + path); code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, _ := r.get("http://" + r.Metrics + "/debug/pprof/heap"); code != http.StatusNotFound {
		t.Errorf("profiles that were not asked for: %d", code)
	}
	testMetrics(t, r)
	r.end()
	goleak.VerifyNone(t, leaks)
}

func testMetrics(t *testing.T, r *running) {
	t.Helper()
	_, body := r.get("http://" + r.Metrics + "/metrics")
	for _, want := range []string{
		"certwright_certificates_issued_total 3\n", `certwright_requests_refused_total{reason="`, "certwright_panics_total 0\n",
		`certwright_key_signatures_total{key="issuing",purpose="certificate"} 3`, `purpose="checkpoint"`, "certwright_storage_fsyncs_total ",
		"certwright_storage_units_total ", "certwright_storage_transactions_total ", "certwright_storage_queue_length 0\n",
		"certwright_ledger_entries ", "certwright_ledger_checkpoint_age_seconds ", "certwright_intents_unresolved 0\n", "certwright_sessions_active 0\n", "certwright_sessions_opened_total 0\n",
		"certwright_server_certificate_expiry_timestamp_seconds ", `certwright_issuer_expiry_timestamp_seconds{issuer="issuing"}`,
		`certwright_build_info{goversion="go`, `version="test"} 1`, "certwright_signing_held 0\n",
		`code="OK",listener="socket",method="/certwright.v1.CertificateService/SignCertificate"} 1`,
		`certwright_requests_total{code="401",listener="https",method="GET"} 1`, "certwright_request_seconds_bucket",
		`certwright_ocsp_answers_total{status="good"} `, "certwright_ocsp_cache_hits_total ", "certwright_ocsp_request_seconds_bucket",
		`certwright_ocsp_responder_certificate_expiry_timestamp_seconds{issuer="issuing"} 1`, `certwright_crl_age_seconds{issuer="issuing"} `,
		`certwright_crl_next_update_timestamp_seconds{issuer="issuing"} `, "certwright_crl_build_failures_total 0\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "certwright_") && !strings.Contains(line, "bucket") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

func TestSecondStart(t *testing.T) {
	c := load(t, t.TempDir(), true)
	first := start(t, c)
	own := first.server.rooms.own.current.Load().Leaf
	root := first.server.root
	if _, err := first.issue("svc.internal"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{Config: c})
	oneLine(t, err, "another server is running on the data folder")
	first.end()
	second := start(t, c)
	if !second.server.root.Equal(root) {
		t.Error("another root")
	}
	if !second.server.rooms.own.current.Load().Leaf.Equal(own) {
		t.Error("the second start had another certificate issued for the server itself")
	}
	if strings.Contains(second.log.String(), "WARN") || strings.Contains(second.log.String(), "ERROR") {
		t.Errorf("the log of a plain second start:\n%s", second.log)
	}
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name   string
		dev    bool
		change func(t *testing.T, c *config.Config)
		want   string
	}{
		{"no CA", false, func(*testing.T, *config.Config) {}, `make one with "certwright init"`},
		{"port in use", true, func(_ *testing.T, c *config.Config) { c.Listen.GRPC = taken.Addr().String() }, "with --grpc host:port"},
		{"foreign address", true, func(_ *testing.T, c *config.Config) { c.Listen.HTTPS = "192.0.2.1:0" }, "--https"},
		{"socket path", true, func(_ *testing.T, c *config.Config) { c.AdminSocket = strings.Repeat("s", 120) }, "admin socket's path"},
		{"dev folder without --dev", false, func(t *testing.T, c *config.Config) {
			dev := *c
			dev.Dev, dev.Ledger.Lock = true, "lock"
			if err := setup.Dev(t.Context(), dev, time.Now()); err != nil {
				t.Fatal(err)
			}
		}, "was made by --dev"},
		{"newer format", true, func(t *testing.T, c *config.Config) {
			if err := setup.Dev(t.Context(), *c, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(c.Data, "format"), []byte("certwright data format 2\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "newer than this program's"},
		{"something in the socket's way", true, func(t *testing.T, c *config.Config) {
			if err := setup.Dev(t.Context(), *c, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(c.Data, "admin.sock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "in the way of the admin socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, t.TempDir(), test.dev)
			test.change(t, &c)
			_, err := Open(t.Context(), Options{Config: c})
			oneLine(t, err, test.want)
		})
	}
}

func TestPrivilegedPort(t *testing.T) {
	oneLine(t, explainListen(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}, "127.0.0.1:443", "https"), "--https host:port")
}

func TestProduction(t *testing.T) {
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, dir, false, "CERTWRIGHT_KEYS_PASSPHRASE_FILE="+pass)
	result, err := setup.Init(t.Context(), setup.Ceremony{Config: c, RootDir: filepath.Join(dir, "offline")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(result.RootKey)); err != nil { // taken offline
		t.Fatal(err)
	}
	r := start(t, c)
	if _, err := r.issue("svc.internal"); err != nil {
		t.Fatal(err)
	}
	if r.out.String() != "" {
		t.Errorf("announced: %s", r.out)
	}
	r.end()
	if err := os.WriteFile(pass, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Config: c})
	oneLine(t, err, "the passphrase is wrong")
	c.Keys.PassphraseFile = ""
	_, err = Open(t.Context(), Options{Config: c})
	oneLine(t, err, "keys.passphrase_file or keys.credential")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(pass, []byte("correct horse"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Keys.Credential = "pass"
	start(t, c)
}

func TestReload(t *testing.T) {
	c := load(t, t.TempDir(), true)
	r := start(t, c)
	file := filepath.Join(c.Data, "policy.yaml")
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("vrsion: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangup <- syscall.SIGHUP
	eventually(t, "the refusal of a bad policy", func() bool { return strings.Contains(r.log.String(), "the policy stays as it was") })
	if _, err := r.issue("svc.internal"); err != nil {
		t.Error(err)
	}
	changed := append(bytes.Clone(first), "\n# changed\n"...)
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangup <- syscall.SIGHUP
	eventually(t, "the new policy", func() bool { return bytes.Equal(r.server.rooms.policies.Engine().Data(), changed) })
	// The store's policy is the truth, not the file.
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.end()
	again := start(t, c)
	if !bytes.Equal(again.server.rooms.policies.Engine().Data(), changed) {
		t.Error("another policy after a restart")
	}
	// What is wrong with the file is told with its name, by this server too, whose policy came from the store.
	again.hangup <- syscall.SIGHUP
	eventually(t, "the file's name", func() bool { return strings.Contains(again.log.String(), "error=\""+file) })
}

func TestNotify(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	next := func(want string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 256)
		n, err := conn.Read(buffer)
		if err != nil || !strings.HasPrefix(string(buffer[:n]), want) {
			t.Errorf("%q, %v; want %q", buffer[:n], err, want)
		}
	}
	r := start(t, load(t, dir, true), func(o *Options) { o.NotifySocket = socket })
	next("READY=1")
	r.hangup <- syscall.SIGHUP
	next("RELOADING=1\nMONOTONIC_USEC=")
	next("READY=1")
	r.end()
	next("STOPPING=1")
}

// TestDrain: what is under way when the server stops is finished, and its entries
// are under the last checkpoint.
func TestDrain(t *testing.T) {
	config := load(t, t.TempDir(), true)
	r := start(t, config)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := r.issue("svc.internal"); err != nil && !strings.Contains(err.Error(), "Unavailable") {
				t.Errorf("issue: %v", err)
			}
		})
	}
	wait.Wait()
	r.end()
	store, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(config.Data, "ledger.db"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	head, err := store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := r.server.rooms.log.Stats().Size; got != head.Size {
		t.Errorf("the last checkpoint has %d of %d entries", got, head.Size)
	}
	if _, err := os.Stat(r.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestTLS(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	for _, test := range []struct {
		name   string
		config *tls.Config
		good   bool
	}{
		{"1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"1.2 with AEAD", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.2 with CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		for _, address := range []string{r.HTTPS, r.GRPC} {
			config := test.config.Clone()
			config.RootCAs, config.ServerName, config.NextProtos = r.roots(), "localhost", []string{"h2"}
			conn, err := tls.Dial("tcp", address, config)
			if (err == nil) != test.good {
				t.Errorf("%s: %v", test.name, err)
			}
			if err == nil {
				conn.Close()
			}
		}
	}
}

// TestFingerprint: a client that knows the root's fingerprint only finds the root
// in what the server shows.
func TestFingerprint(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true))
	for fingerprint, want := range map[string]string{
		setup.Fingerprint(r.server.root):     "Unauthenticated",
		"sha256:" + strings.Repeat("00", 32): "does not show the root",
	} {
		conn, err := client.Dial(t.Context(), client.Config{Server: "https://" + r.GRPC, Fingerprint: fingerprint})
		if err != nil {
			t.Fatal(err)
		}
		_, err = certwrightv1.NewIssuerServiceClient(conn).ListIssuers(t.Context(), &certwrightv1.ListIssuersRequest{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		conn.Close()
	}
}

// TestHeldByTheClock: a server whose clock is behind its own ledger starts, shows
// why it is not ready, and refuses to sign.
func TestHeldByTheClock(t *testing.T) {
	c := load(t, t.TempDir(), true)
	ahead := start(t, c, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	if _, err := ahead.issue("svc.internal"); err != nil {
		t.Fatal(err)
	}
	ahead.end()
	r := start(t, c)
	if _, err := r.issue("svc.internal"); err == nil || !strings.Contains(err.Error(), "behind the ledger's last entry") {
		t.Errorf("issued by a wrong clock: %v", err)
	}
	if code, body := r.get("http://" + r.Metrics + "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "signing is held") {
		t.Errorf("readyz: %d %q", code, body)
	}
	if code, _ := r.get("http://" + r.Metrics + "/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
}

func TestProfiles(t *testing.T) {
	r := start(t, load(t, t.TempDir(), true, "CERTWRIGHT_LISTEN_PPROF=true"))
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
		if code, body := r.get("http://" + r.Metrics + path); code != http.StatusOK || body == "" {
			t.Errorf("%s: %d", path, code)
		}
	}
}
