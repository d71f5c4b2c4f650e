package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// authority is the CA as a Keeper sees it. Each call makes its own connection: what a
// connection has shown in its handshake is what the call is judged by.
type authority interface {
	// sign asks by the wish's own credentials.
	sign(ctx context.Context, req *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error)
	// renew asks by the certificate that is renewed.
	renew(ctx context.Context, current *tls.Certificate, req *certwrightv1.RenewCertificateRequest) (*certwrightv1.Certificate, error)
	// window is when that certificate is to be renewed.
	window(ctx context.Context, current *tls.Certificate) (*certwrightv1.RenewalInfo, error)
	// roots are the roots as they are now.
	roots(ctx context.Context) ([]*x509.Certificate, error)
}

// remote is a server.
type remote struct{ config Config }

func (r *remote) sign(ctx context.Context, req *certwrightv1.SignCertificateRequest) (c *certwrightv1.Certificate, err error) {
	err = with(ctx, r.config, func(ca certwrightv1.CertificateServiceClient) error {
		c, err = ca.SignCertificate(ctx, req)
		return err
	})
	return c, err
}

// renews tells whether a certificate can be shown to the server: over the admin
// socket there is no TLS.
func (c *Config) renews() bool { return !strings.HasPrefix(c.Server, "unix:") }

// holding is the configuration of a call that shows the certificate, and no token: who
// shows both means the token.
func (r *remote) holding(current *tls.Certificate) Config {
	c := r.config
	c.Token = nil
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current, nil }
	return c
}

func (r *remote) renew(ctx context.Context, current *tls.Certificate, req *certwrightv1.RenewCertificateRequest) (c *certwrightv1.Certificate, err error) {
	err = with(ctx, r.holding(current), func(ca certwrightv1.CertificateServiceClient) error {
		c, err = ca.RenewCertificate(ctx, req)
		return err
	})
	return c, err
}

func (r *remote) window(ctx context.Context, current *tls.Certificate) (w *certwrightv1.RenewalInfo, err error) {
	err = with(ctx, r.holding(current), func(ca certwrightv1.CertificateServiceClient) error {
		w, err = ca.GetRenewalInfo(ctx, &certwrightv1.GetRenewalInfoRequest{Id: idOf(current)})
		return err
	})
	return w, err
}

func (r *remote) roots(ctx context.Context) ([]*x509.Certificate, error) {
	if r.config.CAFile != "" {
		return readRoots(r.config.CAFile)
	}
	root, err := ShownRoot(ctx, r.config)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{root}, nil
}

func with(ctx context.Context, config Config, call func(certwrightv1.CertificateServiceClient) error) error {
	conn, err := Dial(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	return call(certwrightv1.NewCertificateServiceClient(conn))
}

// idOf is the certificate's ID at the server.
func idOf(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// refusal tells whether the CA will not renew a certificate however often it is asked,
// or does not let its holder in.
func refusal(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.NotFound, codes.InvalidArgument:
		return true
	default:
		return alerted(err)
	}
}

// perhaps tells whether it may be the certificate that was not taken: what breaks a
// connection off may arrive before the alert that says why.
func perhaps(err error) bool {
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || len(st.Details()) > 0 {
		return false
	}
	for _, sign := range []string{"broken pipe", "connection reset", "server preface", "EOF"} {
		if strings.Contains(st.Message(), sign) {
			return true
		}
	}
	return false
}

// proves tells whether the wish's own credentials can get a certificate.
func (c *Config) proves() bool {
	return c.Token != nil || c.GetClientCertificate != nil || strings.HasPrefix(c.Server, "unix:")
}

// pending is a request whose answer may have been lost: made again under the same ID,
// it has the same certificate.
type pending struct {
	id  string
	csr string
	key crypto.Signer
}

// request is the wish as it is asked for.
func (w *Wish) request(p *pending) *certwrightv1.SignCertificateRequest {
	req := &certwrightv1.SignCertificateRequest{Csr: p.csr, Profile: w.Profile, Owner: w.Owner, Labels: w.Labels, RequestId: p.id}
	if w.Validity > 0 {
		req.Validity = durationpb.New(w.Validity)
	}
	return req
}

func newRequestID() string { return "client-" + strings.ToLower(rand.Text()) }
