package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// certificateService implements certwright.v1.CertificateService.
type certificateService struct {
	certwrightv1.UnimplementedCertificateServiceServer
	*Server
	malformed *budget // of CSRs that are noted among the refusals
	strikes   *strikes
}

// SignCertificate implements certwright.v1.CertificateService.
func (s *certificateService) SignCertificate(ctx context.Context, in *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	call := callOf(ctx)
	if err := s.strikes.check(call, s.config.Now()); err != nil {
		return nil, err
	}
	out, err := s.sign(ctx, in)
	if err != nil {
		s.strikes.count(call, err, s.config.Now())
	}
	return out, err
}

func (s *certificateService) sign(ctx context.Context, in *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	principal := callOf(ctx).principal
	req, err := s.request(principal, in)
	req.Call = callOf(ctx).requestID
	if err != nil {
		if !in.GetValidateOnly() {
			s.noteMalformed(req, err)
		}
		return nil, err
	}
	if in.GetValidateOnly() {
		return s.preview(ctx, req)
	}
	use, err := s.config.Tokens.Use(ctx, principal, req.Key())
	if err != nil {
		return nil, err
	}
	out, err := s.issue(ctx, req, ca.Attach{Reserve: use.Reserve, Abandon: use.Abandon, Decided: s.once(principal)})
	if err == nil && in.GetWithProof() {
		out.LedgerProof = s.proofOf(ctx, out.GetLedgerIndex())
	}
	return out, err
}

// once gives what a grant asks for that takes identity tokens once.
func (s *certificateService) once(p identity.Principal) func(context.Context, policy.Decision) (ca.Attach, error) {
	return func(ctx context.Context, d policy.Decision) (ca.Attach, error) {
		if !d.SingleUse {
			return ca.Attach{}, nil
		}
		return oidc.Once(ctx, s.config.Store, p)
	}
}

// issue has a certificate issued and answers it.
func (s *certificateService) issue(ctx context.Context, req identity.Request, attach ca.Attach) (*certwrightv1.Certificate, error) {
	issued, err := s.config.Authority.Issue(ctx, req, attach)
	if err != nil {
		return nil, err
	}
	labels := req.Labels
	if issued.Repeated {
		if labels, err = s.config.Inventory.Labels(ctx, issued.Certificate); err != nil {
			return nil, err
		}
	}
	out := s.certificateMessage(issued.Certificate, labels)
	out.ChainPem, out.KeyAlgorithm = pemChain(issued.Chain), keys.Algorithm(req.PublicKey)
	return out, nil
}

// proofTimeout is how long an answer waits for the checkpoint that covers it.
const proofTimeout = 15 * time.Second

// proofOf waits for a checkpoint that covers an entry, and gives the proof as a file.
// The certificate is issued: what fails here must not keep it from its holder.
func (s *certificateService) proofOf(ctx context.Context, index uint64) string {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	err := s.config.Ledger.Wait(ctx, index)
	if err == nil {
		var proof ledger.Proof
		if proof, err = s.config.Ledger.Proof(ctx, index); err == nil {
			var file []byte
			if file, err = proof.File(); err == nil {
				return string(file)
			}
		}
	}
	s.config.Logger.LogAttrs(ctx, slog.LevelWarn, "a certificate went out without the proof that was asked for",
		slog.Uint64("index", index), slog.Any("error", err))
	return ""
}

// noteMalformed keeps among the refusals a request that never reached the
// authority, as far as the budget goes: anybody with a token can send as many as
// the network carries.
func (s *certificateService) noteMalformed(req identity.Request, err error) {
	now := s.config.Now()
	if !s.malformed.take(now) {
		return
	}
	req.Profile, req.Owner = clean(req.Profile), clean(req.Owner)
	refusal := ca.NewRefusal(req, err, now)
	refusal.Detail = clean(refusal.Detail)
	s.config.Refusals.Note(refusal)
}

// preview answers what a certificate for the request would have, or what the one
// has that the same request has got before.
func (s *certificateService) preview(ctx context.Context, req identity.Request) (*certwrightv1.Certificate, error) {
	would, err := s.config.Authority.Preview(ctx, req)
	if err != nil {
		return nil, err
	}
	if again := would.Again.Certificate; would.Again.Repeated {
		return previewMessage(req, policy.Decision{
			Profile: policy.Profile{Name: again.Intent.Profile}, Issuer: would.Again.Issuer, Owner: again.Intent.Owner, Grant: again.Intent.Grant,
			Policy: again.Intent.Policy, NotBefore: again.NotBefore, NotAfter: again.NotAfter,
		}), nil
	}
	if err := s.config.Tokens.Available(ctx, req.Principal); err != nil {
		return nil, err
	}
	return previewMessage(req, would.Decision), nil
}

// GetCertificate implements certwright.v1.CertificateService. What is not the
// caller's answers exactly as what is not there.
func (s *certificateService) GetCertificate(ctx context.Context, in *certwrightv1.GetCertificateRequest) (*certwrightv1.Certificate, error) {
	c, err := s.byID(ctx, in.GetId())
	if err != nil {
		return nil, err
	}
	return s.whole(ctx, c)
}

// checkID holds the form of a certificate's ID.
func checkID(text string) error {
	if id, err := hex.DecodeString(text); err != nil || len(id) != 32 || strings.ToLower(text) != text {
		return invalid("id", text, "the id of a certificate is the SHA-256 of its DER", "64 lower-case hexadecimal digits")
	}
	return nil
}

// byID is the certificate of an ID, if it is one that the caller may see.
func (s *certificateService) byID(ctx context.Context, text string) (storage.Certificate, error) {
	if err := checkID(text); err != nil {
		return storage.Certificate{}, err
	}
	id, err := hex.DecodeString(text)
	if err != nil {
		return storage.Certificate{}, err
	}
	c, err := s.config.Store.ByFingerprint(ctx, [32]byte(id))
	if err == nil && !mayRead(callOf(ctx), text, c) || errors.Is(err, storage.ErrNotFound) {
		return storage.Certificate{}, &problem.Problem{
			Kind: problem.NotFound, Value: text, Detail: "there is no such certificate, or it is not yours",
		}
	} else if err != nil {
		return storage.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

// mayRead tells whether the caller may see the certificate with this ID: its own,
// or one that a role of its shows.
func mayRead(c *call, id string, row storage.Certificate) bool {
	shown := c.principal.Method == identity.MTLS && c.principal.ID == id
	return c.view.sees(row.Intent.Owner) || c.view.own && (shown || row.Requester == c.principal.String())
}

// whole is a certificate with all that is known of it.
func (s *certificateService) whole(ctx context.Context, c storage.Certificate) (*certwrightv1.Certificate, error) {
	labels, err := s.config.Inventory.Labels(ctx, c)
	if err != nil {
		return nil, err
	}
	out := s.certificateMessage(c, labels)
	out.KeyAlgorithm = keyAlgorithm(c.DER)
	if out.Superseded, err = s.config.Inventory.Superseded(ctx, c); err != nil {
		return nil, err
	}
	out.ChainPem = s.chainOf(c.Issuer)
	return out, nil
}

// chainOf is the chain of an issuer's certificates.
func (s *Server) chainOf(issuer identity.KeyID) string {
	for _, info := range s.config.Authority.Issuers() {
		if info.KeyID == issuer {
			return pemCertificates(info.Chain)
		}
	}
	return ""
}

// ListCertificates implements certwright.v1.CertificateService.
func (s *certificateService) ListCertificates(ctx context.Context, in *certwrightv1.ListCertificatesRequest) (*certwrightv1.ListCertificatesResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	answer, err := s.config.Inventory.Search(ctx, inventory.Question{
		Filter: in.GetFilter(), OrderBy: in.GetOrderBy(), PageSize: size, PageToken: in.GetPageToken(),
		Owners: callOf(ctx).view.owners,
	})
	if err != nil {
		return nil, err
	}
	rows, err := s.rowMessages(ctx, answer.Rows)
	return &certwrightv1.ListCertificatesResponse{Certificates: rows, NextPageToken: answer.Next}, err
}

// rowMessages are certificates in a list.
func (s *Server) rowMessages(ctx context.Context, rows []inventory.Row) ([]*certwrightv1.Certificate, error) {
	var out []*certwrightv1.Certificate
	for _, row := range rows {
		labels, err := s.config.Inventory.Labels(ctx, row.Certificate)
		if err != nil {
			return nil, err
		}
		m := s.certificateMessage(row.Certificate, labels)
		m.Superseded, m.KeyAlgorithm = row.Superseded, keyAlgorithm(row.DER)
		out = append(out, m)
	}
	return out, nil
}
