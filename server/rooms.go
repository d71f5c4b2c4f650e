package server

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/auth/mtls"
	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/auth/renewal"
	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/tally"
	"github.com/certwright/certwright/crl"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/inventory/bulk"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/ocsp"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

// rooms are the opened rooms.
type rooms struct {
	now       func() time.Time
	keys      ownKeys
	store     *bolt.Store
	log       *ledger.Log
	witnesses *witness.Witnesses
	refusals  *ca.Refusals
	policies  *ca.Policies
	authority *ca.Authority
	tokens    *token.Tokens
	oidc      *oidc.Authenticator
	mtls      *mtls.Authenticator
	sessions  *session.Sessions
	renewals  *renewal.Renewals
	inventory *inventory.Inventory
	expiries  *inventory.Expiries
	bulk      *bulk.Operations
	api       *api.Server
	ocsp      *ocsp.Responder
	crls      *crl.Publisher
	acme      *acme.Server // nil: no https listener
	own       *ownCertificate
	clock     *clockGuard
	watch     *watch
	tally     *tally.Tally
}

// ownKeys are the keys of the server itself and the names of its certificate.
type ownKeys struct {
	checkpoint, server crypto.Signer
	names              []identity.Identifier
}

// openKeys opens the keys of the server itself.
func openKeys(ctx context.Context, c *config.Config) (own ownKeys, err error) {
	if own.names, err = config.Identifiers(c.ServerNames); err != nil {
		return own, fmt.Errorf("server_names: %w", err)
	}
	own.checkpoint, err = keys.Open(ctx, keys.Config{URI: c.Ledger.CheckpointKey, Dir: c.Data, Passphrase: c.Passphrase()})
	if err != nil {
		return own, err
	}
	own.server, err = keys.Open(ctx, keys.Config{URI: "file:" + datadir.ServerKey, Dir: c.Data, Passphrase: c.Passphrase()})
	return own, err
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
	if _, err := r.store.Head(ctx); err != nil {
		return r, err
	}
	if r.clock, err = newClockGuard(ctx, r.now, sinceBoot, r.store, logger); err != nil {
		return r, err
	}
	r.watch = &watch{store: r.store, logger: logger}
	opened, err := r.openPolicy(ctx, s)
	if err != nil {
		return r, err
	}
	r.refusals = ca.NewRefusals(ca.RefusalsConfig{Store: r.store, Logger: logger})
	r.authority, err = ca.New(ca.Config{
		Store: r.store, Policy: r.policies.Engine, InForce: r.policies.InForce, Issuers: opened.authority,
		Keys: []crypto.PublicKey{s.root.PublicKey, r.keys.checkpoint.Public()}, ServerKey: r.keys.server.Public(),
		HTTPBase: c.HTTPBase(s.listeners.addresses().HTTP), Shards: c.CRL.Shards, Server: format.Server,
		Refusals: r.refusals, Hold: r.held, Abandoned: r.abandoned(), Revoked: r.revoked, Now: r.now, Logger: logger,
	})
	if err != nil {
		return r, err
	}
	if n, err := r.authority.Settle(ctx); err != nil {
		return r, fmt.Errorf("unresolved intents of an earlier run: %w", err)
	} else if n > 0 {
		logger.WarnContext(ctx, "intents of an earlier run were abandoned", countAttr(n))
	}
	if r.tally, err = tally.Open(ctx, tally.Config{Store: r.store, Signatures: r.authority.CertificateSignatures, Logger: logger}); err != nil {
		return r, err
	}
	if err := r.openRevocation(ctx, s); err != nil {
		return r, err
	}
	if err := r.openWitnesses(s); err != nil {
		return r, err
	}
	if err := r.openACME(s, format.Server); err != nil {
		return r, err
	}
	if err := r.openAPI(s); err != nil {
		return r, err
	}
	return r, r.startOwn(ctx, s)
}

// held is nil, or why nothing may be issued: the clock cannot be trusted, or the
// ledger goes on somewhere else, too.
func (r *rooms) held() error {
	if err := r.clock.err(); err != nil {
		return err
	}
	return r.log.Hold()
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
	opened, err := openIssuers(ctx, c, doc, s.root)
	if err != nil {
		return issuers{}, err
	}
	if r.keys, err = openKeys(ctx, c); err != nil {
		return issuers{}, err
	}
	r.log, err = ledger.Open(ctx, ledger.Config{
		Store: r.store, Origin: c.Ledger.Origin, Signer: r.keys.checkpoint, Lock: c.Path(c.Ledger.Lock), MissingLock: s.options.missingLock(),
		Interval: time.Duration(c.Ledger.CheckpointInterval), Now: r.now, Logger: s.logger,
	})
	if err != nil {
		return issuers{}, err
	}
	r.policies, err = ca.OpenPolicies(ctx, ca.PoliciesConfig{
		Store: r.store, Issuers: opened.policy, System: policy.System{Names: r.keys.names, Profile: serverProfile, Responders: responderLife(c)},
		ServerKey: r.keys.server.Public(), First: data, File: file, Now: r.now, Logger: s.logger,
		Openable: func(doc *policy.Document) error {
			_, err := openIssuers(context.WithoutCancel(ctx), c, doc, s.root)
			return err
		},
	})
	if err != nil {
		return issuers{}, err
	}
	return opened, recordIssuers(ctx, r.store, opened)
}

// missingLock is what a missing last-seen file means to the ledger.
func (o *Options) missingLock() ledger.MissingLock {
	switch {
	case o.AcceptMissingLock:
		return ledger.AcceptMissing
	case o.Config.Dev:
		return ledger.WarnMissing
	}
	return ledger.RefuseMissing
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
	r.bulk, err = bulk.New(bulk.Config{Store: r.store, Authority: r.authority, Inventory: r.inventory, Now: r.now, Logger: logger})
	if err != nil {
		return err
	}
	if err = r.openAuth(s); err != nil {
		return err
	}
	authenticators, err := r.authenticators(c)
	if err != nil {
		return err
	}
	r.api, err = api.New(api.Config{
		CRLs: r.crls, Bulk: r.bulk, Completeness: r.tally.Now,
		Authority: r.authority, Policies: r.policies, Refusals: r.refusals, Ledger: r.log, Witnesses: r.witnesses, Store: r.store,
		Tokens: r.tokens, Sessions: r.sessions, Providers: providers(c), Issuers: issuerURLs(c), DeviceCAs: deviceNames(c), Renewals: r.renewals, Inventory: r.inventory, ACME: r.shownACME(), Authenticators: authenticators,
		Maintenance: maintenance{clockGuard: r.clock, rooms: r, options: &s.options},
		Roots:       []*x509.Certificate{s.root}, GRPCBase: c.GRPCBase(s.listeners.addresses().GRPC), LedgerLock: c.Path(c.Ledger.Lock),
		Limits: api.Limits{Message: c.Limits.GRPCBytes, Calls: calls(c)}, Now: r.now, Logger: logger,
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

// startOwn has the server's own certificate issued.
func (r *rooms) startOwn(ctx context.Context, s *Server) error {
	r.own = &ownCertificate{
		issuer: r.authority, store: r.store, signer: r.keys.server, names: r.keys.names, now: r.now, logger: s.logger,
		staple: r.ocsp.Staple, rekey: func(ctx context.Context) (crypto.Signer, error) { return newServerKey(ctx, &s.options.Config) },
		root: s.root.Raw, chains: map[identity.KeyID][][]byte{}, keyIDs: map[string]identity.KeyID{},
		revoked: make(chan struct{}, 1), renewed: make(chan struct{}, 1),
	}
	for _, info := range r.authority.Issuers() {
		r.own.keyIDs[string(info.Certificate.SubjectKeyId)] = info.KeyID
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
