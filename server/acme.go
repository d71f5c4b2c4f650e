package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/acme/dns01"
	"github.com/certwright/certwright/acme/http01"
	"github.com/certwright/certwright/acme/tlsalpn01"
	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/server/config"
)

// openACME opens the ACME server; without an https listener nobody reaches it.
func (r *rooms) openACME(s *Server, id [8]byte) error {
	c := &s.options.Config
	base := c.HTTPSBase(s.listeners.addresses().HTTPS)
	if base == "" {
		return nil
	}
	client, err := validationClient(c)
	if err != nil {
		return err
	}
	domains, err := issuerDomains(c)
	if err != nil {
		return err
	}
	seal, err := sealer(c, id)
	if err != nil {
		return err
	}
	cfg := acme.Config{
		Authority: r.authority, Policy: r.policies.Engine, Store: r.store, Base: base, IssuerDomains: domains,
		Validators: validators(c, client, domains), EAB: acme.Mode(c.ACME.EAB), Terms: c.ACME.TermsOfService,
		Website: c.ACME.Website, MaxNames: maxACMENames, Server: id, Now: r.now, Logger: s.logger, CAA: caaCheck(c, client), Refusals: r.refusals, Seal: seal,
		Places: calls(c),
		Limits: acme.Limits{
			Accounts: c.ACME.Limits.Accounts, Orders: c.ACME.Limits.Orders,
			OrdersPerName: c.ACME.Limits.OrdersPerName, Failures: c.ACME.Limits.Failures,
		},
	}
	r.acme, err = acme.New(cfg)
	return err
}

// calls is limits.calls, or what it stands for.
func calls(c *config.Config) int {
	if c.Limits.Calls > 0 {
		return c.Limits.Calls
	}
	return acme.DefaultPlaces(runtime.GOMAXPROCS(0))
}

// shownACME is what the API shows of the ACME server; nil if there is none.
func (r *rooms) shownACME() *api.ACME {
	if r.acme == nil {
		return nil
	}
	return &api.ACME{Accounts: r.acme, EABKeys: r.acme, Orders: r.acme, Directory: r.acme.Directory()}
}

// sealRounds is what an attempt at the passphrase costs whoever has the store.
const sealRounds = 600_000

// sealer encrypts the secrets of EAB keys under the passphrase of the key files, so
// that a backup of the store does not hold them; nil with --dev, which has none.
func sealer(c *config.Config, id [8]byte) (cipher.AEAD, error) {
	passphrase := c.Passphrase()
	if passphrase == nil {
		return nil, nil //nolint:nilnil // without a passphrase there is none
	}
	text, err := passphrase()
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(sha256.New, string(text), append([]byte("certwright eab keys "), id[:]...), sealRounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// caaCheck is the check of CAA records, if it is configured.
func caaCheck(c *config.Config, client *egress.Client) func(context.Context, challenge.CAAQuery) error {
	if c.ACME.CAA == config.Off {
		return nil
	}
	return func(ctx context.Context, q challenge.CAAQuery) error { return challenge.CheckCAA(ctx, client, q) }
}

// maxACMENames is how many names one order can have: as many as a certificate.
const maxACMENames = 100

// validationClient is the one client by which validation reaches others.
func validationClient(c *config.Config) (*egress.Client, error) {
	allow, err := config.Prefixes(c.ACME.Networks.Allow)
	if err != nil {
		return nil, err
	}
	deny, err := config.Prefixes(c.ACME.Networks.Deny)
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Config{
		Allow: allow, Deny: deny, Ports: []int{c.ACME.HTTP01Port, c.ACME.TLSALPN01Port}, Resolver: c.ACME.Resolver,
	})
}

// issuerDomains are the names of this CA in DNS records.
func issuerDomains(c *config.Config) ([]string, error) {
	if len(c.ACME.CAAIdentities) > 0 {
		return c.ACME.CAAIdentities, nil
	}
	names, err := config.Identifiers(c.ServerNames)
	if err != nil {
		return nil, err
	}
	var domains []string
	for _, name := range names {
		if name.Type == identity.DNS && !name.Wildcard() {
			domains = append(domains, name.Value)
		}
	}
	return domains, nil
}

// validators are those of the configured types, in the configured order.
func validators(c *config.Config, client *egress.Client, domains []string) []challenge.Validator {
	known := []challenge.Validator{
		http01.New(http01.Config{Egress: client, Port: c.ACME.HTTP01Port}), dns01.New(client),
		tlsalpn01.New(tlsalpn01.Config{Egress: client, Port: c.ACME.TLSALPN01Port}), dns01.NewAccount(client),
	}
	if len(domains) > 0 {
		known = append(known, dns01.NewPersist(dns01.PersistConfig{Egress: client, IssuerDomains: domains}))
	}
	var offered []challenge.Validator
	for _, kind := range c.ACME.Challenges {
		i := slices.IndexFunc(known, func(v challenge.Validator) bool { return v.Type() == kind })
		if i >= 0 {
			offered = append(offered, known[i])
		}
	}
	return offered
}

// withACME sends what is under /acme to the ACME server.
func (r *rooms) withACME(next http.Handler) http.Handler {
	if r.acme == nil {
		return next
	}
	orders := r.acme.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, acme.Prefix+"/") {
			orders.ServeHTTP(w, q)
			return
		}
		next.ServeHTTP(w, q)
	})
}
