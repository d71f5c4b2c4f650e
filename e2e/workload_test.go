package e2e

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const workloadGrants = `
  - name: pods
    principals: [{oidc: "ISSUER", claims: {aud: certwright}}]
    profiles: [mtls]
    allow:
      dns: ["{claims.account}.web.svc.internal"]
      uri: ["spiffe://internal/ns/web/sa/{claims.account}"]
    owner: web
  - name: devices
    principals: [{device: factory}]
    profiles: [mtls]
    allow: {dns: ["{claims.host}.fleet.internal"]}
    owner: fleet
`

// believing starts a server that believes an identity provider and a CA of devices,
// whose root is in the file.
func believing(t *testing.T, provider *oidctest.Provider, deviceRoot string) *server {
	t.Helper()
	dir := t.TempDir()
	check(t, writeFile(filepath.Join(dir, "idp.crt"), string(provider.CertificatePEM())))
	config := filepath.Join(dir, "certwright.yaml")
	check(t, writeFile(config, fmt.Sprintf(`oidc:
  issuers:
    - {url: %q, audiences: [%s], ca_file: %q}
mtls:
  device_cas:
    - {name: factory, roots_file: %q, dns: ["*.devices.internal"]}
`, provider.URL, oidctest.Audience, filepath.Join(dir, "idp.crt"), deviceRoot)))
	document := filepath.Join(dir, "policy.yaml")
	const before = "\n# Conditions are rules"
	grants := strings.ReplaceAll(workloadGrants, "ISSUER", provider.URL)
	check(t, writeFile(document, strings.Replace(string(policy.Default()), before, grants+before, 1)))
	s := newServer(t)
	s.start("--config", config)
	s.must(dir, "policy", "apply", document, "--yes")
	return s
}

// wish is for the names, to this server.
func (s *server) wish(names ...string) client.Wish {
	return client.Wish{CA: client.Config{Server: s.grpc, CAFile: filepath.Join(s.data, "root.crt")}, Names: names, Profile: "mtls"}
}

// story is what the book says of a keeper's certificate.
func (s *server) story(k *client.Keeper) *certwrightv1.Certificate {
	s.t.Helper()
	filter := fmt.Sprintf("serial = %q", fmt.Sprintf("%032x", k.Status().Leaf.SerialNumber))
	all := listAll(s.t.Context(), s.t, certwrightv1.NewCertificateServiceClient(s.socket()), filter)
	if len(all) != 1 {
		s.t.Fatalf("%d certificates with %s", len(all), filter)
	}
	return all[0]
}

// reasonOf is the ErrorInfo's reason.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestWorkload: a workload gets its certificate by a token of its platform, renews it
// by mTLS, and is refused once it is revoked, on the connection that it keeps and on a
// resumed one; meanwhile the provider takes its key away and signs by another.
func TestWorkload(t *testing.T) {
	provider := oidctest.New(t)
	deviceRoot, device := newDevice(t, "host1.devices.internal")
	s := believing(t, provider, deviceRoot)
	ctx := t.Context()

	file := filepath.Join(t.TempDir(), "token")
	claims := map[string]any{"account": "api"}
	check(t, writeFile(file, provider.Token("system:serviceaccount:web:api", claims)))
	wish := s.wish("api.web.svc.internal", "spiffe://internal/ns/web/sa/api")
	wish.CA.Token = client.TokenFile(file)
	k, err := client.Open(ctx, wish)
	check(t, err)
	defer k.Close()
	if c := s.story(k); c.GetGrant() != "pods" || c.GetOwner() != "web" || !strings.HasPrefix(c.GetRequester(), "oidc:"+provider.URL+"#") {
		t.Errorf("by token: %v", c)
	}
	check(t, k.Renew(ctx))
	if c := s.story(k); c.GetGrant() != "pods" || c.GetOwner() != "web" || !strings.HasPrefix(c.GetRequester(), "mtls:") || c.GetReplaces() == "" {
		t.Errorf("by mTLS: %v", c)
	}

	// Revoked: no more on the connection that is kept, nor on one that resumes its session.
	id, shown := s.story(k).GetId(), k.GetClientCertificate
	certificate, err := shown(nil)
	check(t, err)
	sessions := tls.NewLRUClientSessionCache(4)
	config := &tls.Config{
		RootCAs: s.roots(), ServerName: "localhost", NextProtos: []string{"h2"}, ClientSessionCache: sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil },
	}
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	kept := certwrightv1.NewCertificateServiceClient(conn)
	_, err = kept.GetRenewalInfo(ctx, &certwrightv1.GetRenewalInfoRequest{Id: id})
	check(t, err)
	s.must(t.TempDir(), "cert", "revoke", id, "--reason", "superseded")
	_, err = kept.RenewCertificate(ctx, &certwrightv1.RenewCertificateRequest{Id: id})
	if status.Code(err) != codes.Unauthenticated || reasonOf(err) != "CERTIFICATE_REVOKED" {
		t.Errorf("on the same connection: %v", err)
	}
	resumes(t, s.grpc, config)

	// The workload itself notices, and has another by its token.
	check(t, k.Renew(ctx))
	if c := s.story(k); !strings.HasPrefix(c.GetRequester(), "oidc:") {
		t.Errorf("after the revocation: %v", c)
	}

	// A device of another CA, by its certificate.
	wish = s.wish("host1.fleet.internal")
	wish.CA.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return device, nil }
	d, err := client.Open(ctx, wish)
	check(t, err)
	defer d.Close()
	if c := s.story(d); c.GetGrant() != "devices" || c.GetOwner() != "fleet" {
		t.Errorf("by a device's certificate: %v", c)
	}
	check(t, d.Renew(ctx))
	if c := s.story(d); !strings.HasPrefix(c.GetRequester(), "mtls:") {
		t.Errorf("a device's renewal: %v", c)
	}
	s.rotates(provider, claims)
}

// rotates has the provider take its key away: tokens by the new one are believed as
// soon as the server has asked again, those by the old one no more.
func (s *server) rotates(provider *oidctest.Provider, claims map[string]any) {
	t := s.t
	t.Helper()
	old := provider.Token("system:serviceaccount:web:api", claims)
	provider.Rotate(false)
	open := func(token string) error {
		wish := s.wish("api.web.svc.internal")
		wish.CA.Token = func(context.Context) (string, error) { return token, nil }
		k, err := client.Open(t.Context(), wish)
		if err == nil {
			k.Close()
		}
		return err
	}
	limit := time.After(2 * time.Minute)
	for { // it asks for unknown keys at most once in 15 s
		err := open(provider.Token("system:serviceaccount:web:api", claims))
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unauthenticated {
			t.Fatalf("by the new key: %v", err)
		}
		select {
		case <-limit:
			t.Fatalf("by the new key: %v", err)
		case <-time.After(500 * time.Millisecond):
		}
	}
	if err := open(old); status.Code(err) != codes.Unauthenticated {
		t.Errorf("by a key that was taken away: %v", err)
	}
}

// resumes wants a session to be resumed, and refused.
func resumes(t *testing.T, address string, config *tls.Config) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err == nil {
		defer conn.Close()
		if !conn.ConnectionState().DidResume {
			t.Error("the session was not resumed")
		}
		// In TLS 1.3 the server's answer to the client's certificate comes with the first read.
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err = io.ReadAll(conn)
	}
	if err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("on a resumed connection: %v", err)
	}
}

// newDevice is a device's certificate, and the file of the root of its CA.
func newDevice(t *testing.T, name string) (string, *tls.Certificate) {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Factory Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "device"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	check(t, err)
	signer, err := x509.ParseCertificate(rootDER)
	check(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, signer, key.Public(), rootKey)
	check(t, err)
	file := filepath.Join(t.TempDir(), "factory.pem")
	check(t, errors.Join(writeFile(file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})))))
	return file, &tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}
