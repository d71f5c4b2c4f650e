package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/local"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// rooms are the opened rooms.
type rooms struct {
	now       func() time.Time
	store     *bolt.Store
	log       *ledger.Log
	refusals  *ca.Refusals
	policies  *ca.Policies
	authority *ca.Authority
	tokens    *token.Tokens
	inventory *inventory.Inventory
	expiries  *inventory.Expiries
	api       *api.Server
	acme      *acme.Server // nil: no https listener
	own       *ownCertificate
	clock     *clockGuard
	watch     *watch
}

// openRooms opens everything below the listeners, floor by floor.
func openRooms(ctx context.Context, s *Server, format datadir.Format) (r *rooms, err error) {
	c, logger := &s.options.Config, s.logger
	r = &rooms{now: s.options.Now}
	defer func() {
		if err != nil {
			err, r = errors.Join(err, r.close()), nil
		}
	}()
	r.store, err = bolt.Open(ctx, bolt.Config{
		Path: c.Path(strings.TrimPrefix(c.Storage, "bolt:")), Queue: c.Limits.Queue, Now: r.now, Logger: logger,
	})
	if err != nil {
		return r, err
	}
	head, err := r.store.Head(ctx)
	if err != nil {
		return r, err
	}
	r.clock = newClockGuard(r.now, sinceBoot, head.LastTime, logger)
	r.watch = &watch{store: r.store, logger: logger}
	opened, err := r.openPolicy(ctx, s)
	if err != nil {
		return r, err
	}
	r.refusals = ca.NewRefusals(ca.RefusalsConfig{Store: r.store, Logger: logger})
	r.authority, err = ca.New(ca.Config{
		Store: r.store, Policy: r.policies.Engine, Issuers: opened.authority,
		HTTPBase: c.HTTPBase(s.listeners.addresses().HTTP), Shards: c.CRL.Shards, Server: format.Server,
		Refusals: r.refusals, Hold: r.clock.err, Abandoned: r.abandoned(), Now: r.now, Logger: logger,
	})
	if err != nil {
		return r, err
	}
	if n, err := r.authority.Settle(ctx); err != nil {
		return r, fmt.Errorf("unresolved intents of an earlier run: %w", err)
	} else if n > 0 {
		logger.WarnContext(ctx, "intents of an earlier run were abandoned", countAttr(n))
	}
	if err := r.openACME(s, format.Server); err != nil {
		return r, err
	}
	if err := r.openAPI(s); err != nil {
		return r, err
	}
	return r, r.openOwn(ctx, s)
}

// openPolicy opens the issuers, the ledger and the policy in force.
func (r *rooms) openPolicy(ctx context.Context, s *Server) (issuers, error) {
	c := &s.options.Config
	file, data, err := firstPolicy(ctx, c, r.store)
	if err != nil {
		return issuers{}, err
	}
	doc, err := policy.Parse(file, data)
	if err != nil {
		return issuers{}, err
	}
	opened, err := openIssuers(ctx, c, doc)
	if err != nil {
		return issuers{}, err
	}
	names, err := config.Identifiers(c.ServerNames)
	if err != nil {
		return issuers{}, fmt.Errorf("server_names: %w", err)
	}
	signer, err := keys.Open(ctx, keys.Config{URI: c.Ledger.CheckpointKey, Dir: c.Data, Passphrase: c.Passphrase()})
	if err != nil {
		return issuers{}, err
	}
	r.log, err = ledger.Open(ctx, ledger.Config{
		Store: r.store, Origin: c.Ledger.Origin, Signer: signer, Lock: c.Path(c.Ledger.Lock),
		Interval: time.Duration(c.Ledger.CheckpointInterval), Now: r.now, Logger: s.logger,
	})
	if err != nil {
		return issuers{}, err
	}
	r.policies, err = ca.OpenPolicies(ctx, ca.PoliciesConfig{
		Store: r.store, Issuers: opened.policy, System: policy.System{Names: names, Profile: serverProfile},
		First: data, File: file, Now: r.now,
	})
	return opened, err
}

// openAPI opens what callers meet.
func (r *rooms) openAPI(s *Server) (err error) {
	c, logger := &s.options.Config, s.logger
	r.tokens = token.New(token.Config{
		Store: r.store, Now: r.now, Logger: logger,
		Check: func(b identity.Bound) error { return r.policies.Engine().CheckBound(b) },
	})
	var named []inventory.Issuer
	for _, info := range r.authority.Issuers() {
		named = append(named, inventory.Issuer{Name: info.Name, KeyID: info.KeyID})
	}
	if r.inventory, err = inventory.New(inventory.Config{Store: r.store, Ledger: r.store, Issuers: named, Now: r.now}); err != nil {
		return err
	}
	r.expiries = r.inventory.Expiries()
	r.api, err = api.New(api.Config{
		Authority: r.authority, Policies: r.policies, Refusals: r.refusals, Ledger: r.log, Store: r.store,
		Tokens: r.tokens, Inventory: r.inventory, ACME: r.shownACME(), Authenticators: []api.Authenticator{r.tokens, local.New(local.Config{})},
		Roots: []*x509.Certificate{s.root}, LedgerLock: c.Path(c.Ledger.Lock),
		Limits: api.Limits{Message: c.Limits.GRPCBytes}, Now: r.now, Logger: logger,
	})
	return err
}

// abandoned gives what belongs to the end of an intent whose server has died: a
// token's use is given back, an ACME order becomes invalid.
func (r *rooms) abandoned() func(storage.Certificate) []storage.Command {
	order := acme.Abandoned(r.store)
	return func(c storage.Certificate) []storage.Command {
		return slices.Concat(token.Abandoned(c), order(c))
	}
}

// openOwn opens the server's key and has its certificate issued.
func (r *rooms) openOwn(ctx context.Context, s *Server) error {
	c := &s.options.Config
	signer, err := keys.Open(ctx, keys.Config{URI: "file:" + datadir.ServerKey, Dir: c.Data, Passphrase: c.Passphrase()})
	if err != nil {
		return err
	}
	names, err := config.Identifiers(c.ServerNames)
	if err != nil {
		return fmt.Errorf("server_names: %w", err)
	}
	r.own = &ownCertificate{
		issuer: r.authority, store: r.store, signer: signer, names: names, now: r.now, logger: s.logger,
		root: s.root.Raw, chains: map[identity.KeyID][][]byte{}, renewed: make(chan struct{}, 1),
	}
	for _, info := range r.authority.Issuers() {
		for _, cert := range info.Chain {
			r.own.chains[info.KeyID] = append(r.own.chains[info.KeyID], cert.Raw)
		}
	}
	return r.own.start(ctx)
}

func (r *rooms) close() error {
	if r.store == nil {
		return nil
	}
	return r.store.Close()
}
