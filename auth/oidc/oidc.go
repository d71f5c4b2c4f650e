package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// The defaults and bounds of an Issuer.
const (
	DefaultLeeway      = 30 * time.Second
	MaxLeeway          = 5 * time.Minute
	DefaultMaxLifetime = 24 * time.Hour
	MaxMaxLifetime     = 31 * 24 * time.Hour
	// MaxBytes of a discovery document or key set are read: the egress client
	// must read as much.
	MaxBytes = 256 << 10
)

// Algorithms are the signature algorithms (RFC 7518 §3.1, RFC 8037) that can be
// allowed; none of them is symmetric.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// DefaultAlgorithms are those of an Issuer that lists none.
func DefaultAlgorithms() []string { return []string{"RS256", "ES256", "ES384", "PS256", "EdDSA"} }

// Issuer is one identity provider whose tokens are believed.
type Issuer struct {
	// URL is the claim iss of its tokens, letter by letter: https, without query
	// and fragment.
	URL string
	// Audiences: a token of a workload must be for one of them. At least one, unless
	// people log in at the provider.
	Audiences []string
	// Login is for people. Its client is best none of Audiences: else a token for
	// login is that of a workload, too.
	Login Login
	// Algorithms that it may sign with; empty: DefaultAlgorithms.
	Algorithms []string
	// JWKSFile holds its keys (RFC 7517 §5); nothing is fetched then. It is read
	// again when it changes.
	JWKSFile string
	// JWKSURL is where its keys are; empty: where its discovery document says.
	JWKSURL string
	// TLS is for fetching; nil: verified against the system's roots.
	TLS *tls.Config
	// TLSRoots are the roots that TLS verifies against, if it is given: a session ends
	// when they change.
	TLSRoots []*x509.Certificate
	// Leeway is how much clocks may differ, at most MaxLeeway; 0: DefaultLeeway.
	Leeway time.Duration
	// MaxLifetime is how long a token may still last; 0: DefaultMaxLifetime.
	MaxLifetime time.Duration
}

// Config of an Authenticator.
type Config struct {
	Issuers []Issuer
	// Egress fetches; it must follow no redirects and read MaxBytes. nil if all
	// issuers have a JWKSFile.
	Egress *egress.Client
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Authenticator proves bearer tokens of the configured providers. See
// auth.Authenticator. It may be used by many goroutines at once.
type Authenticator struct {
	issuers map[string]*provider
	proven  *auth.Kept[proven]
	now     func() time.Time
	logger  *slog.Logger
}

// provider is an Issuer with its keys.
type provider struct {
	Issuer
	algorithms []jose.SignatureAlgorithm
	keys       *keySet
	basis      [32]byte
}

// New checks the issuers. Nothing is fetched yet: Run does, and who comes first.
func New(c Config) (*Authenticator, error) {
	a := &Authenticator{issuers: map[string]*provider{}, proven: auth.NewKept[proven](maxProven), now: c.Now, logger: c.Logger}
	if a.now == nil {
		a.now = time.Now
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	for _, issuer := range c.Issuers {
		p, err := newProvider(issuer, c.Egress, a)
		if err != nil {
			return nil, fmt.Errorf("oidc: issuer %.128q: %w", issuer.URL, err)
		}
		if a.issuers[issuer.URL] != nil {
			return nil, fmt.Errorf("oidc: issuer %.128q stands twice", issuer.URL)
		}
		a.issuers[issuer.URL] = p
	}
	return a, nil
}

// Check tells what is wrong with an issuer's configuration; nil: nothing.
func (i Issuer) Check() error {
	if err := i.checkURLs(); err != nil {
		return err
	}
	switch {
	case len(i.Audiences) == 0 && i.Login.ClientID == "" || slices.Contains(i.Audiences, ""):
		return errors.New("it needs an audience: the claim aud of tokens that are meant for this CA")
	case i.Leeway < 0 || i.Leeway > MaxLeeway:
		return fmt.Errorf("its leeway is not between 0s and %s", MaxLeeway)
	case i.MaxLifetime < 0 || i.MaxLifetime > MaxMaxLifetime:
		return fmt.Errorf("its max_lifetime is not between 0s and %s", MaxMaxLifetime)
	case i.JWKSFile != "" && i.JWKSURL != "":
		return errors.New("jwks_file and jwks_url exclude each other")
	}
	if err := i.Login.check(); err != nil {
		return err
	}
	for _, alg := range i.Algorithms {
		if !slices.Contains(Algorithms(), alg) {
			return fmt.Errorf("the algorithm %.32q is not one of %s", alg, strings.Join(Algorithms(), ", "))
		}
	}
	return nil
}

func (i Issuer) checkURLs() error {
	if err := checkURL(i.URL); err != nil {
		return err
	}
	if strings.Contains(i.URL, "?") {
		return errors.New("an issuer has no query (OpenID Connect Core 1.0 §2)")
	}
	if i.JWKSURL != "" {
		if err := checkURL(i.JWKSURL); err != nil {
			return fmt.Errorf("jwks_url: %w", err)
		}
	}
	return nil
}

// checkURL refuses what is not an https URL without credentials and fragment.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(text, "#") || len(text) > maxIssuer {
		return errors.New("it is not a URL such as https://idp.internal")
	}
	return nil
}

func newProvider(i Issuer, client *egress.Client, a *Authenticator) (*provider, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	if i.Leeway == 0 {
		i.Leeway = DefaultLeeway
	}
	if i.MaxLifetime == 0 {
		i.MaxLifetime = DefaultMaxLifetime
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = DefaultAlgorithms()
	}
	if i.JWKSFile == "" && client == nil {
		return nil, errors.New("there is nothing to fetch its keys with")
	}
	p := &provider{Issuer: i, keys: newKeySet(i, client, a.now, a.logger), basis: i.basis()}
	for _, alg := range i.Algorithms {
		p.algorithms = append(p.algorithms, jose.SignatureAlgorithm(alg))
	}
	return p, nil
}

// Authenticate proves a bearer token that looks like a JWT; any other credentials
// are ErrNotMine.
func (a *Authenticator) Authenticate(ctx context.Context, c auth.Credentials) (identity.Principal, error) {
	bearer, ok := auth.Bearer(c.Authorization)
	if !ok || !looksLikeToken(bearer) {
		return identity.Principal{}, auth.ErrNotMine
	}
	p, err := a.verify(ctx, bearer)
	if err != nil {
		return identity.Principal{}, asProblem(err)
	}
	return p, nil
}

// maxProven is how many tokens are kept that were verified: their callers mostly
// come again.
const maxProven = 1024

// proven is a token that was verified with the keys that its provider had then.
type proven struct {
	provider   *provider
	claims     standard
	principal  identity.Principal
	generation uint64 // of the keys
}

func (a *Authenticator) verify(ctx context.Context, text string) (identity.Principal, error) {
	evidence := sha256.Sum256([]byte(text))
	if p, ok := a.proven.Get(evidence); ok && p.generation == p.provider.keys.generation() {
		return p.now(a.now())
	}
	// 1. What it says of itself, and the provider that would have signed it.
	said, err := peek(text)
	if err != nil {
		return identity.Principal{}, &refusal{reason: "TOKEN_MALFORMED", detail: "the token cannot be read: " + err.Error()}
	}
	p := a.issuers[said.issuer]
	if p == nil {
		return identity.Principal{}, &refusal{reason: "TOKEN_ISSUER", detail: "the token's issuer (iss) is not one that is believed here",
			help: "use a token of a configured identity provider, or have this one configured"}
	}
	if !slices.Contains(p.Algorithms, said.alg) {
		return identity.Principal{}, &refusal{reason: "TOKEN_ALGORITHM", detail: "the token's algorithm (alg) is not allowed for its issuer",
			allowed: strings.Join(p.Algorithms, ", ")}
	}
	// 2. The registered claims: cheaper than a signature, and no fetch for a token
	// that is of no use anyway.
	claims, err := readStandard(said.claims)
	if err != nil {
		return identity.Principal{}, &refusal{reason: "TOKEN_MALFORMED", detail: "the token cannot be used: " + err.Error()}
	}
	roles := p.rolesOf(claims, said)
	if err := claims.check(&p.Issuer, a.now(), roles); err != nil {
		return identity.Principal{}, err
	}
	// 3. The signature.
	generation, err := p.verifySignature(ctx, text, said)
	if err != nil {
		return identity.Principal{}, err
	}
	flat, err := flatten(said.claims)
	if err != nil {
		return identity.Principal{}, &refusal{reason: "TOKEN_MALFORMED", detail: "the token cannot be used: " + err.Error()}
	}
	principal := identity.Principal{
		Method: identity.OIDC, ID: idOf(p.URL, claims.subject), Roles: roles,
		Claims: flat, Evidence: evidence, Basis: p.basis,
	}
	kept := proven{p, claims, principal, generation}
	a.proven.Put(evidence, kept)
	return kept.now(a.now())
}

// now is the principal with what the token is still good for.
func (p proven) now(at time.Time) (identity.Principal, error) {
	out, issuer := p.principal, &p.provider.Issuer
	if err := p.claims.check(issuer, at, out.Roles); err != nil {
		return identity.Principal{}, err
	}
	out.Roles = p.claims.rolesNow(issuer, at, out.Roles)
	return out, nil
}

// verifySignature checks the token's one signature by a key of its provider, and
// gives the generation of the keys. The octets that are verified are those that were
// read: both are of the same text.
func (p *provider) verifySignature(ctx context.Context, text string, said peeked) (uint64, error) {
	signed, err := jose.ParseSignedCompact(text, p.algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return 0, &refusal{reason: "TOKEN_MALFORMED", detail: "the token cannot be read", err: err}
	}
	keys, generation, err := p.keys.find(ctx, said)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if _, err := signed.Verify(key); err == nil {
			return generation, nil
		}
	}
	return 0, &refusal{reason: "TOKEN_SIGNATURE", detail: "the token's signature is not by a key of its issuer"}
}

// refusal is why a token proves nobody.
type refusal struct {
	reason, detail, allowed, help string
	err                           error
}

// Error implements error.
func (r *refusal) Error() string { return r.detail }

func asProblem(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	help := r.help
	if help == "" {
		help = "ask the identity provider for a new token"
	}
	return &problem.Problem{
		Kind: problem.Unauthenticated, Reason: r.reason, Rule: "identity token", Detail: r.detail, Allowed: r.allowed, Help: help, Err: r.err,
	}
}
