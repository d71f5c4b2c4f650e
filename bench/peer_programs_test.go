package bench

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/certwright/certwright/ca/x509cert"
)

// peerCA is a root and an issuer in files, as other programs want them.
type peerCA struct {
	dir          string
	root, issuer *x509.Certificate
	key          *ecdsa.PrivateKey // the issuer's
}

func newPeerCA(tb testing.TB) peerCA {
	tb.Helper()
	dir := tb.TempDir()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(tb, err)
	}
	now := time.Now()
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Peer Root", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), MaxPathLen: 1}, keys[0])
	check(tb, err)
	issuer, err := x509cert.Intermediate(x509cert.CAConfig{
		CommonName: "Peer Issuer", NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 11, 0),
		URLs: x509cert.URLs{CAIssuers: "http://localhost/root.crt", CRL: "http://localhost/root.crl"},
	}, keys[1].Public(), root, keys[0])
	check(tb, err)
	der, err := x509.MarshalECPrivateKey(keys[1])
	check(tb, err)
	p := peerCA{dir: dir, root: root, issuer: issuer, key: keys[1]}
	for name, block := range map[string]*pem.Block{
		"root.crt": {Type: "CERTIFICATE", Bytes: root.Raw}, "issuer.crt": {Type: "CERTIFICATE", Bytes: issuer.Raw}, "issuer.key": {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		check(tb, os.WriteFile(p.path(name), pem.EncodeToMemory(block), 0o600))
	}
	return p
}

func (p peerCA) path(name string) string { return filepath.Join(p.dir, name) }

// start runs a program until the test ends, and waits until it listens.
func (p peerCA) start(tb testing.TB, address, program string, args ...string) (pid int) {
	tb.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = p.dir
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	check(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = conn.Close()
			return cmd.Process.Pid
		}
		select {
		case <-deadline:
			tb.Fatalf("%s does not listen on %s", program, address)
		case <-tick.C:
		}
	}
}

func freeAddress(tb testing.TB) (address, port string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(tb, err)
	defer l.Close()
	return l.Addr().String(), strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// step is a step-ca on bbolt, with an ACME provisioner and one of the key.
func (p peerCA) step(tb testing.TB, peers, resolver string, http01 int, key jose.JSONWebKey) (address, port string, pid int) {
	tb.Helper()
	address, port = freeAddress(tb)
	config, err := json.Marshal(map[string]any{
		"root": p.path("root.crt"), "crt": p.path("issuer.crt"), "key": p.path("issuer.key"), "address": address,
		"dnsNames": []string{"localhost", "127.0.0.1"}, "db": map[string]any{"type": "bbolt", "dataSource": p.path("db")},
		"authority": map[string]any{"provisioners": []map[string]any{{"type": "ACME", "name": "acme"}, {"type": "JWK", "name": "bench", "key": key}}},
	})
	check(tb, err)
	check(tb, os.WriteFile(p.path("ca.json"), config, 0o600))
	args := []string{p.path("ca.json")}
	if http01 != 0 {
		args = append(args, "--insecure", "--acme-http-port="+strconv.Itoa(http01), "--resolver="+resolver)
	}
	return address, port, p.start(tb, address, filepath.Join(peers, "step-ca"), args...)
}

func (p peerCA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.root)
	return pool
}

func publicJWK(key crypto.PublicKey) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: "bench", Algorithm: "ES256", Use: "sig"}
}

func stepACME(tb testing.TB, peers string) subject {
	p := newPeerCA(tb)
	w, http01 := newProofs(tb)
	_, port, pid := p.step(tb, peers, w.zone.Addr, http01, publicJWK(p.key.Public()))
	w.directory, w.roots = "https://localhost:"+port+"/acme/acme/directory", p.pool()
	return w.subject("step-ca", pid)
}

// stepSign signs by one-time tokens, as "step ca certificate" does.
func stepSign(tb testing.TB, peers string) subject {
	p := newPeerCA(tb)
	address, port, pid := p.step(tb, peers, "", 0, publicJWK(p.key.Public()))
	tokens, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{}).WithHeader("kid", "bench").WithType("JWT"))
	check(tb, err)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.pool(), MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 256,
	}}
	sign := func(i int, csr string) error {
		name, now := fmt.Sprintf("h%d.bench.internal", i), time.Now()
		token, err := jwt.Signed(tokens).Claims(map[string]any{
			"iss": "bench", "aud": "https://localhost:" + port + "/1.0/sign", "sub": name, "sans": []string{name}, "jti": rand.Text(),
			"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		}).Serialize()
		if err != nil {
			return err
		}
		return post(client, "https://"+address+"/1.0/sign", map[string]any{"csr": csr, "ott": token})
	}
	csrs := newCSRs(tb, 16)
	return subject{"step-ca, one-time token", pid, func(n int) int64 {
		return inFlight(tb, len(csrs), n, func(c, _ int) error { return sign(c, csrs[c]) })
	}}
}

// cfsslSign signs for everybody, without TLS and without keeping anything.
func cfsslSign(tb testing.TB, peers string) subject {
	p := newPeerCA(tb)
	address, port := freeAddress(tb)
	pid := p.start(tb, address, filepath.Join(peers, "cfssl"), "serve", "-address=127.0.0.1", "-port="+port,
		"-ca="+p.path("issuer.crt"), "-ca-key="+p.path("issuer.key"), "-loglevel=4")
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	csrs := newCSRs(tb, 16)
	return subject{"cfssl, no TLS, no ledger", pid, func(n int) int64 {
		return inFlight(tb, len(csrs), n, func(c, _ int) error {
			return post(client, "http://"+address+"/api/v1/cfssl/sign", map[string]any{"certificate_request": csrs[c]})
		})
	}}
}

// cfsslOCSP serves an answer that was signed before.
func cfsslOCSP(b *testing.B, tb testing.TB, peers string) subject {
	p := newPeerCA(tb)
	address, port := freeAddress(tb)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	template := *p.issuer
	template.SerialNumber, template.IsCA, template.BasicConstraintsValid = p.root.SerialNumber, false, false
	der, err := x509.CreateCertificate(rand.Reader, &template, p.issuer, key.Public(), p.key)
	check(tb, err)
	cert, err := x509.ParseCertificate(der)
	check(tb, err)
	check(tb, os.WriteFile(p.path("leaf.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	program := filepath.Join(peers, "cfssl")
	out, err := exec.Command(program, "ocspsign", "-ca="+p.path("issuer.crt"), "-responder="+p.path("issuer.crt"),
		"-responder-key="+p.path("issuer.key"), "-cert="+p.path("leaf.crt"), "-status=good").Output()
	check(tb, err)
	var answer struct {
		Response []byte `json:"ocspResponse"`
	}
	check(tb, json.Unmarshal(out, &answer))
	check(tb, os.WriteFile(p.path("responses"), []byte(base64.StdEncoding.EncodeToString(answer.Response)+"\n"), 0o600))
	pid := p.start(tb, address, program, "ocspserve", "-address=127.0.0.1", "-port="+port, "-responses="+p.path("responses"), "-loglevel=4")
	return ocspSubject(b, tb, "cfssl", pid, "http://"+address+"/", cert, p.issuer)
}

// post sends JSON; whatever is not 2xx is an error.
func post(client *http.Client, url string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	res, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.300s", res.Status, answer)
	}
	return err
}
