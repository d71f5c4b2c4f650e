package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// podGrant gives the pods of the provider the name of their account.
const podGrant = `
  - name: pods
    principals: [{oidc: "ISSUER", claims: {aud: certwright}}]
    profiles: [mtls]
    allow:
      dns: ["{claims.account}.web.svc.internal"]
      uri: ["spiffe://internal/ns/web/sa/{claims.account}"]
    owner: web
`

// believe starts the identity provider, and writes the server's configuration that
// names it.
func (s *stage) believe() (err error) {
	if s.provider, err = newProvider(); err != nil {
		return err
	}
	if err := s.write("idp.crt", string(s.provider.certificate())); err != nil {
		return err
	}
	return s.write("demo.yaml", fmt.Sprintf("oidc:\n  issuers:\n    - {url: %q, audiences: [%s], ca_file: %q}\n",
		s.provider.server.URL, audience, filepath.Join(s.dir, "idp.crt")))
}

func (s *stage) write(name, text string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600)
}

// workload gets a certificate by the token of its platform, and renews it by mTLS.
func (s *stage) workload() error {
	document, err := os.ReadFile(filepath.Join(s.dir, "certwright-data", "policy.yaml"))
	if err != nil {
		return err
	}
	const before = "\n# Conditions are rules"
	text := strings.Replace(string(document), before, strings.ReplaceAll(podGrant, "ISSUER", s.provider.server.URL)+before, 1)
	if err := s.write("policy.yaml", text); err != nil {
		return err
	}
	if _, err := s.run(0, "policy", "apply", "policy.yaml", "--yes"); err != nil {
		return err
	}
	token, err := s.provider.token("system:serviceaccount:web:api", map[string]any{"account": "api"})
	if err != nil {
		return err
	}
	if err := s.write("pod.token", token); err != nil {
		return err
	}
	obtain := []string{"agent", "obtain", "api.web.svc.internal", "spiffe://internal/ns/web/sa/api", "--profile", "mtls",
		"--server", s.grpc, "--ca", "certwright-data/root.crt", "--folder", "pod", "--token-file", "pod.token"}
	if err := s.obtains(obtain, "oidc:"); err != nil {
		return err
	}
	// It is not due; whoever asks all the same gets the next one by the certificate that is there.
	return s.obtains(append(obtain, "--force"), "mtls:")
}

// obtains runs the agent once, and wants the certificate to have been asked for by such
// a requester.
func (s *stage) obtains(args []string, requester string) error {
	if _, err := s.run(0, args...); err != nil {
		return err
	}
	out, err := s.run(0, "cert", "show", "pod/cert.pem")
	if err != nil {
		return err
	}
	if !strings.Contains(out, requester) {
		return fmt.Errorf("the certificate was not asked for by %s", requester)
	}
	return nil
}

// cutOff revokes the workload's certificate: the connection that it keeps is refused.
func (s *stage) cutOff() error {
	roots, err := s.roots()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "pod", "fullchain.pem"), filepath.Join(s.dir, "pod", "key.pem"))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		MaxConnsPerHost: 1,
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
	}}
	defer client.CloseIdleConnections()
	out, err := s.run(0, "cert", "show", "pod/cert.pem", "-o", "name")
	if err != nil {
		return err
	}
	id := strings.TrimSpace(out)
	if err := s.renewal(&client, id, http.StatusOK, "retryAfter"); err != nil {
		return err
	}
	if _, err := s.run(0, "cert", "revoke", "pod/cert.pem", "--reason", "cessationOfOperation"); err != nil {
		return err
	}
	return s.renewal(&client, id, http.StatusUnauthorized, "CERTIFICATE_REVOKED")
}

// renewal asks over the workload's connection when it is to renew.
func (s *stage) renewal(client *http.Client, id string, want int, word string) error {
	path := "/v1/certificates/" + id + "/renewalInfo"
	show("GET https://" + s.https + path + ", on the workload's connection")
	resp, err := client.Get("https://" + s.https + path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != want || !strings.Contains(string(text), word) {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	var doc struct{ Detail, StartTime string }
	if err := json.Unmarshal(text, &doc); err != nil {
		return errors.Join(err, errors.New(string(text)))
	}
	fmt.Printf("     %s %s%s\n", resp.Status, doc.StartTime, doc.Detail)
	return nil
}
