// Package renewal makes a request for a new certificate of one that its holder
// shows: the same names, profile and owner, and the grant of the first. The policy
// decides about it like about any other.
//
// What was renewed is marked, so that after a grace a certificate that has a
// successor is renewed no more; the mark also hands on who had the first
// certificate of the line, by which the policy sees whether the grant is still for
// it.
package renewal

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// Collection holds the marks, by the fingerprint of what was renewed.
const Collection = "renewed"

// keepMark is longer than certificates live.
const keepMark = 800 * 24 * time.Hour

// Store is what is read of the storage.
type Store interface {
	storage.CertificateReader
	storage.RecordReader
}

// Config of Renewals. All but what is marked is required.
type Config struct {
	Store  Store
	Tokens *token.Tokens
	Policy func() *policy.Engine
	// Labels of a certificate.
	Labels func(context.Context, storage.Certificate) (map[string]string, error)
	// Grace is how long after its first renewal a certificate can be renewed once
	// more.
	Grace time.Duration
	Now   func() time.Time // nil: time.Now
}

// Renewals makes requests. Its methods may be called by many goroutines at once.
type Renewals struct{ config Config }

// New makes Renewals.
func New(c Config) *Renewals {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Renewals{config: c}
}

// Wish is what a holder asks for.
type Wish struct {
	ID string // fingerprint of the certificate, hexadecimal
	// Leaf is the certificate as the connection has it, if that is at hand.
	Leaf     *x509.Certificate
	CSR      string        // PEM; empty: the same key
	Validity time.Duration // 0: as long as before, if the profile still allows it
}

// mark is a certificate that was renewed.
type mark struct {
	First  time.Time `json:"first"`  // when it was first renewed
	Origin string    `json:"origin"` // principal that had the first of the line
}

// Request is the request by which the principal renews its certificate, and what
// belongs to it. The error is a *problem.Problem.
func (r *Renewals) Request(ctx context.Context, p identity.Principal, w Wish) (identity.Request, ca.Attach, error) {
	req := identity.Request{Kind: identity.X509, Principal: p}
	// 1. The certificate is the one that the caller shows, and no other.
	row, err := r.shown(ctx, p, w.ID)
	if err != nil {
		return req, ca.Attach{}, err
	}
	leaf := w.Leaf
	if leaf == nil || !bytes.Equal(leaf.Raw, row.DER) {
		if leaf, err = x509.ParseCertificate(row.DER); err != nil {
			return req, ca.Attach{}, fmt.Errorf("renewal: %w", err)
		}
	}
	req.Profile, req.Owner, req.Identifiers, req.PublicKey = row.Intent.Profile, row.Intent.Owner, row.Names, leaf.PublicKey
	req.Replaces = row.Fingerprint
	// 2. It was not replaced too long ago.
	m, marked, err := r.mark(ctx, req.Replaces)
	if err != nil {
		return req, ca.Attach{}, err
	}
	if marked && r.config.Now().Sub(m.First) > r.config.Grace {
		return req, ca.Attach{}, r.replaced(w.ID, m)
	}
	// 3. The grant that gave it, for who had the first of its line.
	origin := m.Origin
	if !marked {
		if origin, err = r.origin(ctx, row); err != nil {
			return req, ca.Attach{}, err
		}
	}
	if err := r.checkGrant(ctx, row, identity.OriginOf(origin)); err != nil {
		return req, ca.Attach{}, err
	}
	req.Principal.Bound = bound(row, identity.OriginOf(origin))
	// 4. The same key or a new one, for the same names.
	if w.CSR != "" {
		if err := rekey(&req, w.CSR); err != nil {
			return req, ca.Attach{}, err
		}
	}
	req.Validity = r.validity(row, w.Validity)
	if req.Labels, err = r.config.Labels(ctx, row); err != nil {
		return req, ca.Attach{}, err
	}
	if marked {
		return req, ca.Attach{}, nil
	}
	attach, err := r.putMark(req.Replaces, origin)
	return req, attach, err
}

// replaced is the refusal of a certificate that has had a successor for too long.
func (r *Renewals) replaced(id string, m mark) error {
	return &problem.Problem{
		Kind: problem.FailedPrecondition, Reason: "CERTIFICATE_REPLACED", Rule: "mtls.renewal_grace", Value: id,
		Detail:  "the certificate was renewed at " + m.First.UTC().Format(time.RFC3339) + " and has a successor",
		Allowed: "another renewal within " + policy.Duration(r.config.Grace).String(), Help: "renew the successor, or have a new certificate issued",
	}
}

// rekey puts the CSR's key in the place of the certificate's, if it is for the same
// names.
func rekey(req *identity.Request, text string) error {
	csr, err := ca.ParseCSR([]byte(text))
	if err != nil {
		return err
	}
	if !slices.Equal(csr.Identifiers, req.Identifiers) {
		return &problem.Problem{
			Kind: problem.BadCSR, Reason: "NAMES_DIFFER", Rule: "csr", Value: listed(csr.Identifiers), Allowed: listed(req.Identifiers),
			Detail: "the CSR has other names than the certificate that is renewed", Help: "put the certificate's names into the CSR, or sign a new certificate",
		}
	}
	req.PublicKey, req.CSRHash = csr.PublicKey, csr.Hash
	return nil
}

// shown is the certificate that the principal has proven to hold.
func (r *Renewals) shown(ctx context.Context, p identity.Principal, id string) (storage.Certificate, error) {
	fingerprint, err := hex.DecodeString(id)
	if p.Method != identity.MTLS || p.ID != id || err != nil || len(fingerprint) != 32 {
		return storage.Certificate{}, &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "NOT_THE_HOLDER", Rule: "renewal", Value: id, Allowed: p.ID,
			Detail: "a certificate is renewed by its holder alone, who shows it in TLS", Help: "connect with the certificate that is to be renewed, and name its id",
		}
	}
	row, err := r.config.Store.ByFingerprint(ctx, [32]byte(fingerprint))
	if err != nil {
		return row, fmt.Errorf("renewal: %w", err)
	}
	if row.Revocation != nil { // since it was shown
		return row, &problem.Problem{
			Kind: problem.Unauthenticated, Reason: "CERTIFICATE_REVOKED", Rule: "client certificate",
			Detail: "the client certificate is revoked", Help: "have a new one issued",
		}
	}
	return row, nil
}

func (r *Renewals) mark(ctx context.Context, replaced [32]byte) (m mark, found bool, err error) {
	stored, err := r.config.Store.Record(ctx, Collection, hex.EncodeToString(replaced[:]))
	if errors.Is(err, storage.ErrNotFound) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(stored.Body, &m)
	}
	if err != nil {
		return m, false, fmt.Errorf("renewal: %w", err)
	}
	return m, true, nil
}

// origin is who had the first certificate of the line: the requester, unless this
// one is a renewal, whose predecessor's mark has it.
func (r *Renewals) origin(ctx context.Context, row storage.Certificate) (string, error) {
	if row.Intent.Replaces == ([32]byte{}) {
		return row.Requester, nil
	}
	m, found, err := r.mark(ctx, row.Intent.Replaces)
	if err != nil || !found {
		return row.Requester, err
	}
	return m.Origin, nil
}

func (r *Renewals) putMark(replaced [32]byte, origin string) (ca.Attach, error) {
	now := r.config.Now().UTC()
	body, err := json.Marshal(mark{First: now, Origin: origin})
	if err != nil {
		return ca.Attach{}, fmt.Errorf("renewal: %w", err)
	}
	return ca.Attach{Complete: []storage.Command{storage.PutRecord{
		Collection: Collection, ID: hex.EncodeToString(replaced[:]), IfVersion: storage.AnyVersion, Body: body, Expires: now.Add(keepMark),
	}}}, nil
}

// checkGrant refuses what is not renewed here, and the grant of a token that was
// revoked. All else is the policy's.
func (r *Renewals) checkGrant(ctx context.Context, row storage.Certificate, o identity.Origin) error {
	if o.Method == identity.ACME {
		return &problem.Problem{
			Kind: problem.FailedPrecondition, Reason: "RENEW_BY_ACME", Rule: "renewal",
			Detail: "the certificate came by ACME: who renews it proves control of its names again", Help: "renew it by ACME",
		}
	}
	id, ok := strings.CutPrefix(row.Intent.Grant, string(identity.Token)+":")
	if !ok {
		return nil
	}
	// A token that has expired, or is used up, has given what it gave.
	t, err := r.config.Tokens.Get(ctx, id)
	var p *problem.Problem
	gone := errors.As(err, &p) && p.Kind == problem.NotFound
	if gone || err == nil && !t.Revoked.IsZero() {
		return &problem.Problem{Kind: problem.Denied, Detail: "the policy does not allow this certificate", Violations: []problem.Violation{{
			Reason: policy.ReasonGrantGone, Rule: "grant " + row.Intent.Grant, Value: row.Intent.Grant,
			Detail: "the join token that gave the certificate is revoked, or there is none", Help: "have a new certificate issued by who may have it today",
		}}}
	}
	return err
}

// bound is the grant of the renewal: what the certificate has.
func bound(row storage.Certificate, o identity.Origin) *identity.Bound {
	b := &identity.Bound{Name: row.Intent.Grant, Profiles: []string{row.Intent.Profile}, Owner: row.Intent.Owner, Renews: &o}
	for _, id := range row.Names {
		switch id.Type {
		case identity.DNS:
			b.Allow.DNS = append(b.Allow.DNS, id.Value)
		case identity.IP:
			b.Allow.IP = append(b.Allow.IP, id.Value)
		case identity.URI:
			b.Allow.URI = append(b.Allow.URI, id.Value)
		case identity.Email:
			b.Allow.Email = append(b.Allow.Email, id.Value)
		}
	}
	return b
}

// validity is the wish, or as long as before, both ends inclusive; a profile that
// has been shortened meanwhile shortens the latter.
func (r *Renewals) validity(row storage.Certificate, wish time.Duration) time.Duration {
	if wish > 0 {
		return wish
	}
	before := row.NotAfter.Sub(row.NotBefore) + time.Second
	if profile, ok := r.config.Policy().Profile(row.Intent.Profile); ok {
		before = min(before, time.Duration(profile.Validity.Max))
	}
	return before
}

func listed(ids []identity.Identifier) string {
	var all []string
	for _, id := range ids[:min(len(ids), 10)] {
		all = append(all, id.String())
	}
	return strings.Join(all, ", ")
}
