package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/certwright/certwright/auth/oidc/oidctest"
	"github.com/certwright/certwright/policy"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// believing is a server that believes a provider, and gives its tokens certificates.
func believing(tb testing.TB, provider *oidctest.Provider) *server {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "keys.json")
	check(tb, os.WriteFile(file, provider.JWKS(), 0o600))
	s := startServer(tb, fmt.Sprintf(`CERTWRIGHT_OIDC_ISSUERS=[{"url":%q,"audiences":[%q],"jwks_file":%q}]`, provider.URL, oidctest.Audience, file))
	const before = "\n# Conditions are rules"
	grant := fmt.Sprintf("\n  - {name: bench, principals: [{oidc: %q}], profiles: [server], allow: {dns: [\"*.bench.internal\"]}, owner: bench}\n", provider.URL)
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data(), "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(tb, err)
	defer conn.Close()
	_, err = certwrightv1.NewPolicyServiceClient(conn).ApplyPolicy(tb.Context(), &certwrightv1.ApplyPolicyRequest{
		Document: strings.Replace(string(policy.Default()), before, grant+before, 1),
	})
	check(tb, err)
	return s
}

// identitySigner asks with identity tokens, each of which is used many times.
func identitySigner(s *server, provider *oidctest.Provider) signer {
	s.tb.Helper()
	var tokens [64]string
	for i := range tokens {
		tokens[i] = provider.Token(fmt.Sprintf("repo:octo/app-%d", i), map[string]any{
			"jti": fmt.Sprint(i), "repository": "octo/app", "ref": "refs/heads/main", "workflow": "deploy", "run_id": "1234567890", "actor": "somebody",
		})
	}
	inner := grpcSigner(s)
	var turn atomic.Uint32
	return func(ctx context.Context, _, csr string) error {
		return inner(ctx, tokens[turn.Add(1)%uint32(len(tokens))], csr)
	}
}

// BenchmarkSignIdentity measures a certificate by an identity token.
func BenchmarkSignIdentity(b *testing.B) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256} {
		for _, callers := range []int{16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", alg, callers), func(b *testing.B) {
				provider := oidctest.New(b)
				if alg == jose.RS256 {
					key, err := rsa.GenerateKey(rand.Reader, 2048)
					check(b, err)
					provider.Use(key, alg, false)
				}
				s := believing(b, provider)
				measure(b, s, identitySigner(s, provider), callers)
			})
		}
	}
}

// renewer is a holder with a connection that it keeps.
type renewer struct {
	client certwrightv1.CertificateServiceClient
	id     string
}

// renewers have certificates and connections; the CSRs are those of their names.
func renewers(s *server, token string, csrs []string, keys []*ecdsa.PrivateKey) map[string]renewer {
	s.tb.Helper()
	out := map[string]renewer{}
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(s.roots(), "localhost")))
	check(s.tb, err)
	defer conn.Close()
	for i, csr := range csrs {
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
		c, err := certwrightv1.NewCertificateServiceClient(conn).SignCertificate(ctx, &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
		check(s.tb, err)
		block, _ := pem.Decode([]byte(c.GetPem()))
		cert := &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: keys[i]}
		kept, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			RootCAs: s.roots(), ServerName: "localhost", MinVersion: tls.VersionTLS13,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
		})))
		check(s.tb, err)
		s.tb.Cleanup(func() { _ = kept.Close() })
		out[csr] = renewer{certwrightv1.NewCertificateServiceClient(kept), c.GetId()}
	}
	return out
}

// renewSigner renews the certificate of the CSR's holder.
func renewSigner(all map[string]renewer, newKey bool) signer {
	return func(ctx context.Context, _, csr string) error {
		r := all[csr]
		req := &certwrightv1.RenewCertificateRequest{Id: r.id}
		if newKey {
			req.Csr = csr
		}
		_, err := r.client.RenewCertificate(ctx, req)
		return err
	}
}

// holders are how many connections share the callers, as those of grpcSigner do.
const holders = 4

// BenchmarkRenew measures a renewal by mTLS on connections that are kept.
func BenchmarkRenew(b *testing.B) {
	for name, newKey := range map[string]bool{"same-key": false, "csr": true} {
		for _, callers := range []int{16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				s := startServer(b)
				csrs, keys := newKeys(b, holders)
				sign := renewSigner(renewers(s, s.tokens(1)[0], csrs, keys), newKey)
				measureWith(b, s, sign, slices.Repeat(csrs, callers/holders))
			})
		}
	}
}

// TestMeasureAuth runs the harness of both once with few requests; it judges no
// figure.
func TestMeasureAuth(t *testing.T) {
	provider := oidctest.New(t)
	s := believing(t, provider)
	csrs, keys := newKeys(t, 4)
	for name, sign := range map[string]signer{
		"identity": identitySigner(s, provider), "renew": renewSigner(renewers(s, s.tokens(1)[0], csrs, keys), true),
	} {
		before := s.metric("certwright_certificates_issued_total")
		if failed := run(t, sign, []string{""}, csrs, len(csrs), 16); failed > 0 {
			t.Errorf("%s: %d of 16 requests failed", name, failed)
		}
		if issued := s.metric("certwright_certificates_issued_total") - before; issued != 16 {
			t.Errorf("%s: the server counts %v certificates, want 16", name, issued)
		}
	}
}
