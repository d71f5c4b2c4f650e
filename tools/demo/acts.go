package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func (s *stage) issue() error {
	if _, err := s.run(0, "cert", "issue", "svc.internal"); err != nil {
		return err
	}
	return s.chained("svc.internal")
}

// chained says whether the files of a name verify up to the root, for TLS.
func (s *stage) chained(name string) error {
	leaf, err := os.ReadFile(filepath.Join(s.dir, name+".crt"))
	if err != nil {
		return err
	}
	chain, err := os.ReadFile(filepath.Join(s.dir, name+".chain.pem"))
	if err != nil {
		return err
	}
	return s.verifies(name, leaf, chain)
}

func (s *stage) verifies(name string, leaf, chain []byte) error {
	roots, err := s.roots()
	if err != nil {
		return err
	}
	block, _ := pem.Decode(leaf)
	if block == nil {
		return errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	intermediates.AppendCertsFromPEM(chain)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: name}); err != nil {
		return err
	}
	fmt.Printf("     %s verifies up to the root, serial %032x\n", name, cert.SerialNumber)
	return nil
}

func (s *stage) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "certwright-data", "root.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("root.crt holds no certificate")
	}
	return pool, nil
}

// token makes a join token for team-a into a file.
func (s *stage) token(file string) error {
	_, err := s.run(0, "token", "create", "--owner", "team-a", "--profile", "server",
		"--dns", "*.team-a.internal", "--ttl", "1h", "--out", file)
	return err
}

func (s *stage) team() error {
	if err := s.token("team.token"); err != nil {
		return err
	}
	_, err := s.run(0, "cert", "issue", "db.team-a.internal", "--profile", "server",
		"--server", s.grpc, "--ca", "certwright-data/root.crt", "--token-file", "team.token")
	if err != nil {
		return err
	}
	return s.chained("db.team-a.internal")
}

func (s *stage) rest() error {
	if err := s.token("rest.token"); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(s.dir, "rest.token"))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"web.team-a.internal"}}, key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{
		"csr":     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		"profile": "server",
	})
	if err != nil {
		return err
	}
	show("POST https://" + s.https + "/v1/certificates:sign, with the token and a CSR for web.team-a.internal")
	answer, err := s.post("/v1/certificates:sign", strings.TrimSpace(string(token)), body)
	if err != nil {
		return err
	}
	return s.verifies("web.team-a.internal", []byte(answer.PEM), []byte(answer.ChainPEM))
}

// signed is what is used of the API's answer.
type signed struct {
	PEM      string `json:"pem"`
	ChainPEM string `json:"chainPem"`
}

func (s *stage) post(path, token string, body []byte) (signed, error) {
	roots, err := s.roots()
	if err != nil {
		return signed{}, err
	}
	client := http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}},
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "https://"+s.https+path, bytes.NewReader(body))
	if err != nil {
		return signed{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return signed{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return signed{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return signed{}, fmt.Errorf("%s: %s", resp.Status, text)
	}
	var c signed
	return c, json.Unmarshal(text, &c)
}

func (s *stage) denied() error {
	_, err := s.run(4, "cert", "issue", "evil.example.com")
	return err
}

func (s *stage) list() error {
	out, err := s.run(0, "cert", "list")
	if err != nil {
		return err
	}
	for _, name := range []string{"svc.internal", "db.team-a.internal", "web.team-a.internal", "team-web"} {
		if !strings.Contains(out, name) {
			return fmt.Errorf("%s is not listed", name)
		}
	}
	_, err = s.run(0, "cert", "list", "--denied")
	return err
}

func (s *stage) revoke() error {
	const file = "db.team-a.internal.crt"
	if _, err := s.run(0, "ocsp", "query", file); err != nil {
		return err
	}
	if _, err := s.run(0, "cert", "revoke", file, "--reason", "keyCompromise"); err != nil {
		return err
	}
	if _, err := s.run(8, "ocsp", "query", file); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	url := cert.CRLDistributionPoints[0]
	show("GET " + url)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		number, listed, err := inCRL(url, cert)
		if err == nil && listed {
			fmt.Printf("     CRL number %s lists serial %x\n", number, cert.SerialNumber)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the CRL does not list the serial in time: %w", err)
		}
	}
}

// inCRL tells whether the CRL at a URL lists a certificate.
func inCRL(url string, cert *x509.Certificate) (number string, listed bool, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", false, err
	}
	list, err := x509.ParseRevocationList(body)
	if err != nil {
		return "", false, err
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return list.Number.String(), true, nil
		}
	}
	return list.Number.String(), false, nil
}

func (s *stage) verify() error {
	_, err := s.run(0, "ledger", "verify")
	return err
}

func (s *stage) stopped() error {
	show("kill -TERM")
	if err := s.stop(); err != nil {
		return err
	}
	_, err := s.run(0, "ledger", "verify", "--signatures")
	return err
}
