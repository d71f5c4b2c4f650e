// Package direct gets certificates from a Certwright server over gRPC: the first
// with what the platform gives (a token, the certificate of a device), the next ones
// with the certificate that is renewed.
package direct

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/agent/config"
	"github.com/certwright/certwright/agent/folder"
	"github.com/certwright/certwright/agent/source"
	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// patience is how long one call may take.
const patience = time.Minute

// Source is one server, with one way of proving who the agent is.
type Source struct {
	Server    string
	CAFile    string
	OwnSocket bool // see client.Config
	Auth      config.Auth
	UserAgent string
}

// Obtain renews the predecessor, if there is one. If that is refused for good, or
// there is none, it asks for a new certificate by what Auth says.
func (s *Source) Obtain(ctx context.Context, r source.Request) (source.Answer, error) {
	note := ""
	if p := r.Predecessor; p != nil && !s.local() {
		if time.Now().Before(p.Leaf().NotAfter) {
			answer, err := s.renew(ctx, r)
			if err == nil || !source.Of(err).Refused {
				return answer, err
			}
			note = "the renewal was refused: " + err.Error()
		} else {
			note = "the certificate expired before it was renewed"
		}
		if s.Auth.Ways() == 0 {
			return source.Answer{}, source.Refusal(fmt.Errorf("%s; no auth is set by which a new one could be asked for", note))
		}
	}
	answer, err := s.sign(ctx, r)
	if err != nil && note != "" {
		f := source.Of(err)
		f.Err = fmt.Errorf("%s; then: %w", note, f.Err)
		return answer, &f
	}
	answer.Note = note
	return answer, err
}

// local tells whether the server is reached by its admin socket, where there is no
// TLS to show a certificate in.
func (s *Source) local() bool { return strings.HasPrefix(s.Server, "unix:") }

func (s *Source) renew(ctx context.Context, r source.Request) (source.Answer, error) {
	request := &certwrightv1.RenewCertificateRequest{Id: r.Predecessor.ID(), Csr: r.CSRPEM, RequestId: r.ID}
	if r.Validity > 0 {
		request.Validity = durationpb.New(r.Validity)
	}
	return s.call(ctx, proof{certificate: r.Predecessor.TLS()}, func(ctx context.Context, c certwrightv1.CertificateServiceClient) (*certwrightv1.Certificate, error) {
		return c.RenewCertificate(ctx, request)
	})
}

func (s *Source) sign(ctx context.Context, r source.Request) (source.Answer, error) {
	request := &certwrightv1.SignCertificateRequest{
		Csr: r.CSRPEM, Profile: r.Profile, Owner: r.Owner, Labels: r.Labels, RequestId: r.ID,
	}
	if r.Validity > 0 {
		request.Validity = durationpb.New(r.Validity)
	}
	p, err := s.prove(ctx)
	if err != nil {
		return source.Answer{}, err
	}
	return s.call(ctx, p, func(ctx context.Context, c certwrightv1.CertificateServiceClient) (*certwrightv1.Certificate, error) {
		return c.SignCertificate(ctx, request)
	})
}

// call makes one call on a connection of its own: between two certificates there is
// nothing to keep one for.
func (s *Source) call(ctx context.Context, p proof, do func(context.Context, certwrightv1.CertificateServiceClient) (*certwrightv1.Certificate, error)) (source.Answer, error) {
	var answer source.Answer
	err := s.with(ctx, p, func(ctx context.Context, conn *grpc.ClientConn) error {
		c, err := do(ctx, certwrightv1.NewCertificateServiceClient(conn))
		answer.Certificate, answer.Chain = []byte(c.GetPem()), []byte(c.GetChainPem())
		return err
	})
	return answer, err
}

func (s *Source) with(ctx context.Context, p proof, do func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := client.Config{Server: s.Server, OwnSocket: s.OwnSocket, UserAgent: s.UserAgent}
	if !s.local() {
		c.CAFile = s.CAFile
	}
	if p.token != "" {
		c.Token = func(context.Context) (string, error) { return p.token, nil }
	}
	if p.certificate != nil {
		c.GetClientCertificate = p.show
	}
	conn, err := client.Dial(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	err = do(ctx, conn)
	if status.Code(err) == codes.Unavailable && p.certificate != nil {
		if alert := s.rejects(ctx, p); alert != nil {
			return &source.Failure{Refused: true, Rejected: true, Err: fmt.Errorf("the server does not take the certificate: %w", alert)}
		}
	}
	return failure(err)
}

// Window asks when the certificate is to be renewed.
func (s *Source) Window(ctx context.Context, h *folder.Held) (source.Window, error) {
	var w source.Window
	p := proof{certificate: h.TLS()}
	if s.local() {
		p = proof{}
	}
	err := s.with(ctx, p, func(ctx context.Context, conn *grpc.ClientConn) error {
		info, err := certwrightv1.NewCertificateServiceClient(conn).GetRenewalInfo(ctx, &certwrightv1.GetRenewalInfoRequest{Id: h.ID()})
		if err != nil {
			return err
		}
		if info.GetStartTime().CheckValid() != nil || info.GetEndTime().CheckValid() != nil {
			return errors.New("the server's renewal window is no time")
		}
		w = source.Window{Start: info.GetStartTime().AsTime(), End: info.GetEndTime().AsTime(), AskAgain: info.GetRetryAfter().AsDuration()}
		return nil
	})
	return w, err
}
