package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/crl"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ocsp"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/server/config"
)

// Paths of what is asked about revocation; certificates name them.
const (
	ocspPath    = "/ocsp"
	crlPath     = "/crl/"
	rootCRLPath = "/crl/root.crl" // beside the path that issuers' certificates name
)

// responderLife is how long OCSP responder certificates last: an answer never
// outlives them, and they are renewed in good time before their end.
func responderLife(c *config.Config) time.Duration {
	return max(7*24*time.Hour, 3*time.Duration(c.OCSP.Lifetime))
}

// openRevocation opens what says which certificates are revoked.
func (r *rooms) openRevocation(ctx context.Context, s *Server) error {
	c := &s.options.Config
	names, err := config.Identifiers(c.ServerNames)
	if err != nil {
		return fmt.Errorf("server_names: %w", err)
	}
	oc := ocsp.Config{
		Store: r.store, Names: names, Lifetime: time.Duration(c.OCSP.Lifetime), CacheBytes: c.OCSP.CacheBytes,
		Path: ocspPath, Now: r.now, Logger: s.logger,
	}
	if c.OCSP.Signer != "issuer" {
		oc.Issue = r.issueResponder
	}
	for _, info := range r.authority.Issuers() {
		each := ocsp.IssuerConfig{Name: info.Name, Certificate: info.Certificate, Profile: policy.ResponderProfile(info.Name)}
		signer, err := r.authority.OCSPSigner(info.Name)
		switch {
		case err == nil:
			each.Signer = signer
		case oc.Issue == nil:
			return fmt.Errorf("ocsp.signer: issuer %s: %w", info.Name, err)
		}
		oc.Issuers = append(oc.Issuers, each)
	}
	responder, err := ocsp.New(oc)
	if err != nil {
		return err
	}
	if err := responder.Renew(ctx); err != nil { // Run tries again
		s.logger.ErrorContext(ctx, "OCSP has no responder certificate yet", slog.Any("error", err))
	}
	limit := c.CRL.CompleteLimit
	if limit == 0 {
		limit = -1
	}
	crls, err := crl.Open(ctx, crl.Config{
		Store: r.store, Signers: r.authority.CRLSigners(), Lifetime: time.Duration(c.CRL.Lifetime),
		RebuildDelay: time.Duration(c.CRL.RebuildDelay), CompleteLimit: limit, Hold: r.clock.jumpErr, Now: r.now, Logger: s.logger,
	})
	r.ocsp, r.crls = responder, crls
	return err
}

// issueResponder has a responder certificate issued: through the one door.
func (r *rooms) issueResponder(ctx context.Context, req identity.Request) ([]byte, error) {
	issued, err := r.authority.Issue(ctx, req, ca.Attach{})
	return issued.Certificate.DER, err
}

// revoked carries the news of a revocation to who keeps answers and lists. What
// is settled before these are open, they read themselves.
func (r *rooms) revoked(c ca.Change) {
	if r.ocsp == nil || r.crls == nil {
		return
	}
	r.ocsp.Changed(c.Issuer, c.Serial)
	r.crls.Changed(c)
	if r.own != nil {
		r.own.lost(c)
	}
}
