// Package oidctest is an identity provider for tests: real HTTPS on loopback, a
// discovery document, keys that rotate, logins by browser and device, and faults on
// demand.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience of the tokens that Claims are for.
const Audience = "certwright"

// Provider is a running identity provider.
type Provider struct {
	URL string
	// Fetches counts requests for the key set.
	Fetches atomic.Int64

	t      testing.TB
	server *httptest.Server
	mu     sync.Mutex
	keys   []jose.JSONWebKey // public
	signer crypto.Signer
	kid    string
	made   int
	logins logins
	// keysHandler and documentHandler take the place of the honest answers.
	keysHandler, documentHandler http.HandlerFunc
}

// New starts a provider with one P-256 key. It ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		if h := p.replaced(&p.documentHandler); h != nil {
			h(w, r)
			return
		}
		p.answer(w, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"device_authorization_endpoint": p.URL + "/device", "code_challenge_methods_supported": []string{"S256"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		p.Fetches.Add(1)
		if h := p.replaced(&p.keysHandler); h != nil {
			h(w, r)
			return
		}
		_, _ = w.Write(p.JWKS()) // the peer may have gone
	})
	p.handleLogins(mux)
	p.server = httptest.NewTLSServer(mux)
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	p.Rotate(false)
	return p
}

func (p *Provider) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the peer may have gone
}

func (p *Provider) replaced(h *http.HandlerFunc) http.HandlerFunc {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *h
}

// ServeKeys answers for the key set from now on; nil: the provider itself again.
func (p *Provider) ServeKeys(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keysHandler = h
}

// ServeDocument is ServeKeys for the discovery document.
func (p *Provider) ServeDocument(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.documentHandler = h
}

// Rotate makes a new key, by which the provider signs from now on. Its keys before
// are taken away unless keep is set.
func (p *Provider) Rotate(keep bool) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Use(key, jose.ES256, keep)
}

// Use is Rotate to a given key.
func (p *Provider) Use(key crypto.Signer, alg jose.SignatureAlgorithm, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	p.kid = fmt.Sprintf("key-%d", p.made)
	public := jose.JSONWebKey{Key: key.Public(), KeyID: p.kid, Algorithm: string(alg), Use: "sig"}
	if !keep {
		p.keys = nil
	}
	p.keys, p.signer = append(p.keys, public), key
}

// Key is the key that signs, its ID and algorithm.
func (p *Provider) Key() (key crypto.Signer, kid string, alg jose.SignatureAlgorithm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signer, p.kid, jose.SignatureAlgorithm(p.keys[len(p.keys)-1].Algorithm)
}

// JWKS is the key set as it is served.
func (p *Provider) JWKS() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := json.Marshal(jose.JSONWebKeySet{Keys: p.keys})
	if err != nil {
		panic(err)
	}
	return body
}

// Claims are those of a good token for the subject, and more.
func (p *Provider) Claims(subject string, more map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "sub": subject, "aud": Audience, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "nbf": now.Unix(),
	}
	maps.Copy(claims, more)
	return claims
}

// Sign makes a token of claims by the provider's key.
func (p *Provider) Sign(claims any) string {
	p.t.Helper()
	key, kid, alg := p.Key()
	return SignWith(p.t, key, alg, map[string]any{"kid": kid, "typ": "JWT"}, claims)
}

// Token is Sign of Claims.
func (p *Provider) Token(subject string, more map[string]any) string {
	p.t.Helper()
	return p.Sign(p.Claims(subject, more))
}

// SignWith makes a token by any key, with a header of one's own.
func SignWith(t testing.TB, key any, alg jose.SignatureAlgorithm, header map[string]any, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TLS verifies the provider's own certificate.
func (p *Provider) TLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(p.server.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// CertificatePEM is the certificate that the provider's TLS is verified by.
func (p *Provider) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Handler is what the provider serves, for clients without a network.
func (p *Provider) Handler() http.Handler { return p.server.Config.Handler }

// Port of the provider's URL.
func (p *Provider) Port() int {
	var port int
	if _, err := fmt.Sscanf(p.URL, "https://127.0.0.1:%d", &port); err != nil {
		p.t.Fatal(err)
	}
	return port
}
