package server

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// serverProfile is the profile of the server's own certificate.
const serverProfile = "server"

// serverPrincipal is the server as it asks for its own certificate.
func serverPrincipal() identity.Principal {
	return identity.Principal{Method: identity.System, ID: "server"}
}

// issuer is the one door.
type issuer interface {
	Issue(ctx context.Context, req identity.Request, attach ca.Attach) (ca.Issued, error)
}

// ownCertificate is the server's own TLS certificate: issued by its own CA
// through the one door, renewed at two thirds of its life.
type ownCertificate struct {
	issuer  issuer
	store   storage.CertificateReader
	signer  crypto.Signer
	names   []identity.Identifier
	chains  map[identity.KeyID][][]byte // of each issuer, DER, for a certificate that is used again
	root    []byte                      // DER; shown too, for clients that know its fingerprint only
	now     func() time.Time
	logger  *slog.Logger
	current atomic.Pointer[tls.Certificate]
	renewed chan struct{} // receives after each renewal; for tests
}

// retryOwn is how long the server waits after a renewal that failed.
const retryOwn = time.Minute

// get is for tls.Config.GetCertificate.
func (o *ownCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := o.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("the server has no certificate yet")
}

// start takes up the certificate of an earlier run, or has one issued.
func (o *ownCertificate) start(ctx context.Context) error {
	if cert := o.earlier(ctx); cert != nil {
		o.current.Store(cert)
		return nil
	}
	return o.renew(ctx)
}

// earlier is the newest certificate for this key and these names that need not be
// renewed yet; nil if there is none.
func (o *ownCertificate) earlier(ctx context.Context) *tls.Certificate {
	spki, err := identity.KeyIDOf(o.signer.Public())
	if err != nil {
		return nil
	}
	page, err := o.store.Certificates(ctx, storage.Query{Order: storage.BySPKI, Value: spki.String(), Descending: true, Limit: 20})
	if err != nil {
		return nil
	}
	for _, c := range page.Certificates {
		chain, known := o.chains[c.Issuer]
		if !known || c.State != storage.Issued || c.Revocation != nil || !slices.Equal(c.Names, o.names) || !renewAt(c.NotBefore, c.NotAfter).After(o.now()) {
			continue
		}
		if cert, err := o.certificate(c.DER, chain); err == nil {
			return cert
		}
	}
	return nil
}

// renew has a certificate issued and puts it in place.
func (o *ownCertificate) renew(ctx context.Context) error {
	issued, err := o.issuer.Issue(ctx, identity.Request{
		Kind: identity.X509, Profile: serverProfile, Principal: serverPrincipal(), Identifiers: o.names, PublicKey: o.signer.Public(),
	}, ca.Attach{})
	if err != nil {
		return fmt.Errorf("the server's own certificate: %w", err)
	}
	cert, err := o.certificate(issued.Certificate.DER, issued.Chain)
	if err != nil {
		return fmt.Errorf("the server's own certificate: %w", err)
	}
	o.current.Store(cert)
	o.logger.InfoContext(ctx, "the server's own certificate was issued", slog.String("serial", issued.Certificate.Serial.String()),
		slog.Time("not_after", issued.Certificate.NotAfter))
	return nil
}

func (o *ownCertificate) certificate(der []byte, chain [][]byte) (*tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: slices.Concat([][]byte{der}, chain, [][]byte{o.root}), PrivateKey: o.signer, Leaf: leaf}, nil
}

// renewAt is when a certificate is two thirds through its life.
func renewAt(notBefore, notAfter time.Time) time.Time {
	return notBefore.Add(notAfter.Sub(notBefore) * 2 / 3)
}

// run renews until ctx ends. A renewal that fails is logged and tried again.
func (o *ownCertificate) run(ctx context.Context) error {
	for {
		leaf := o.current.Load().Leaf
		wait := renewAt(leaf.NotBefore, leaf.NotAfter).Sub(o.now())
		if wait <= 0 {
			wait = retryOwn + rand.N(retryOwn/4) //nolint:gosec // jitter is no secret
			err := o.renew(ctx)
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the server ends
			}
			if err == nil {
				o.tell()
				continue
			}
			o.logger.ErrorContext(ctx, "the server's own certificate was not renewed",
				slog.Any("error", err), slog.Time("not_after", leaf.NotAfter), slog.Duration("again_in", wait))
		}
		// The wall clock may be set while the timer, which does not follow it, runs.
		timer := time.NewTimer(min(wait, time.Hour))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (o *ownCertificate) tell() {
	select {
	case o.renewed <- struct{}{}:
	default:
	}
}
