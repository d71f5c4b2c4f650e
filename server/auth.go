package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/auditor"
	"github.com/certwright/certwright/auth/local"
	"github.com/certwright/certwright/auth/mtls"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/server/config"
)

// openAuth opens what proves who is calling.
func (r *rooms) openAuth(s *Server) (err error) {
	c := &s.options.Config
	if r.oidc, err = openOIDC(c, s); err != nil {
		return err
	}
	own := []*x509.Certificate{s.root}
	for _, info := range r.authority.Issuers() {
		own = append(own, info.Certificate)
	}
	devices, err := deviceCAs(c)
	if err != nil {
		return err
	}
	r.mtls, err = mtls.New(mtls.Config{Store: r.store, Own: own, Devices: devices, Now: r.now, Logger: s.logger})
	if err != nil {
		return err
	}
	r.sessions = session.New(session.Config{Store: r.store, Still: r.still, Lifetime: time.Duration(c.Sessions.Lifetime), Now: r.now, Logger: s.logger})
	r.watch.sessions = r.sessions
	r.renewals = renewal.New(renewal.Config{
		Store: r.store, Tokens: r.tokens, Policy: r.policies.Engine, Labels: r.inventory.Labels,
		Grace: time.Duration(c.MTLS.RenewalGrace), Now: r.now,
	})
	return nil
}

// authenticators in the order in which they are asked: who shows a token means the
// token, on the socket and beside a client certificate too.
func (r *rooms) authenticators(c *config.Config) ([]api.Authenticator, error) {
	all := []api.Authenticator{r.tokens, r.sessions, r.oidc}
	if c.Ledger.AuditorTokens != "" {
		auditors, err := auditor.New(auditor.Config{File: c.Path(c.Ledger.AuditorTokens)})
		if err != nil {
			return nil, fmt.Errorf("ledger.auditor_tokens: %w", err)
		}
		all = append(all, auditors)
	}
	return append(all, r.mtls, local.New(local.Config{})), nil
}

// sweeper deletes what authentication has kept long enough.
func (r *rooms) sweeper(s *Server) auth.Sweeper {
	return auth.Sweeper{Store: r.store, Collections: append(session.Collections(), oidc.UsedCollection, renewal.Collection), Now: r.now, Logger: s.logger}
}

// still proves again what a session was opened with.
func (r *rooms) still(ctx context.Context, p identity.Principal) (identity.Principal, error) {
	if p.Method == identity.OIDC {
		return p, r.oidc.Still(p)
	}
	return r.mtls.Still(ctx, p)
}

// issuerURLs are those of all identity providers.
func issuerURLs(c *config.Config) []string {
	var all []string
	for _, issuer := range c.OIDC.Issuers {
		all = append(all, issuer.URL)
	}
	return all
}

// deviceNames are those of all CAs of devices.
func deviceNames(c *config.Config) []string {
	var all []string
	for _, ca := range c.MTLS.DeviceCAs {
		all = append(all, ca.Name)
	}
	return all
}

// providers are those at which people log in.
func providers(c *config.Config) []api.Provider {
	var out []api.Provider
	for _, issuer := range c.OIDC.Issuers {
		if issuer.LoginClientID == "" {
			continue
		}
		p := api.Provider{Issuer: issuer.URL, ClientID: issuer.LoginClientID, Scopes: []string{"openid"}}
		for _, scope := range issuer.LoginScopes {
			if !slices.Contains(p.Scopes, scope) {
				p.Scopes = append(p.Scopes, scope)
			}
		}
		out = append(out, p)
	}
	return out
}

func openOIDC(c *config.Config, s *Server) (*oidc.Authenticator, error) {
	cfg := oidc.Config{Now: s.options.Now, Logger: s.logger}
	for _, issuer := range c.OIDC.Issuers {
		believed := issuer.Believed(c)
		if issuer.CAFile != "" {
			roots, err := readCertificates(c.Path(issuer.CAFile))
			if err != nil {
				return nil, fmt.Errorf("oidc.issuers: %s: ca_file: %w", issuer.URL, err)
			}
			believed.TLS = &tls.Config{RootCAs: pool(roots), MinVersion: tls.VersionTLS12}
			believed.TLSRoots = roots
		}
		cfg.Issuers = append(cfg.Issuers, believed)
	}
	allow, err := config.Prefixes(c.OIDC.Networks.Allow)
	if err != nil {
		return nil, err
	}
	deny, err := config.Prefixes(c.OIDC.Networks.Deny)
	if err != nil {
		return nil, err
	}
	cfg.Egress, err = egress.New(egress.Config{
		Allow: allow, Deny: deny, Ports: c.OIDC.Ports(), Resolver: c.ACME.Resolver, MaxBytes: oidc.MaxBytes, MaxRedirects: -1, Timeout: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return oidc.New(cfg)
}

func deviceCAs(c *config.Config) ([]mtls.DeviceCA, error) {
	var out []mtls.DeviceCA
	for _, d := range c.MTLS.DeviceCAs {
		roots, err := readCertificates(c.Path(d.RootsFile))
		if err != nil {
			return nil, fmt.Errorf("mtls.device_cas: %s: roots_file: %w", d.Name, err)
		}
		out = append(out, mtls.DeviceCA{Name: d.Name, Roots: roots, Names: d.Names()})
	}
	return out, nil
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}
