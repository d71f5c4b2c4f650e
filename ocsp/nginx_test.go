package ocsp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/storage/storagetest"
)

const nginxConf = `daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {
    listen %s ssl;
    ssl_certificate leaf.pem; ssl_certificate_key leaf.key;
    ssl_stapling on; ssl_stapling_verify on; ssl_stapling_responder %s/ocsp; ssl_trusted_certificate ca.pem;
  }
}
`

// TestNginxStaples: nginx fetches, verifies and staples the answer, and openssl
// sees it.
func TestNginxStaples(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := tn.issuer.Issue(t, storagetest.Spec{Key: key})
	commit(t, tn.store, leaf.Reserve)
	commit(t, tn.store, leaf.Complete)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"leaf.pem":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Complete.Certificate}),
		"leaf.key":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		"ca.pem":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tn.issuer.cert.Raw}),
		"nginx.conf": fmt.Appendf(nil, nginxConf, addr, tn.serve(t)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	nginx := exec.CommandContext(t.Context(), lookup(t, "nginx"), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	nginx.Stderr, nginx.WaitDelay = &said, time.Second
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- nginx.Wait() }()
	deadline := time.After(10 * time.Second)
	for out := ""; !strings.Contains(out, "Cert Status: good"); { // it fetches after the first handshake
		select {
		case err := <-stopped:
			t.Fatalf("nginx: %v\n%s", err, said.String())
		case <-deadline:
			t.Fatalf("no staple:\n%s", out)
		case <-time.After(50 * time.Millisecond):
		}
		client := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", addr, "-status", "-CAfile", filepath.Join(dir, "ca.pem"))
		text, _ := client.CombinedOutput() // fails until nginx listens
		out = string(text)
	}
	if err := nginx.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err == nil {
		t.Error("nginx has ended by itself")
	}
	if strings.Contains(said.String(), "OCSP") {
		t.Errorf("nginx says:\n%s", said.String())
	}
}

// lookup finds a program, also where Debian keeps those of the administrator.
func lookup(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
