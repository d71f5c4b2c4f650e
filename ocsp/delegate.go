package ocsp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
)

// oidNoCheck is id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1); never changed.
var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// maxRetry is the longest wait between two tries to obtain a certificate.
const maxRetry = 5 * time.Minute

// Renew obtains the responder certificates that are missing or due. An issuer
// that cannot have one does not keep the others from it; the error names each.
func (r *Responder) Renew(ctx context.Context) error {
	var failed error
	for _, is := range r.issuers {
		if is.profile == "" {
			continue
		}
		if err := r.renew(ctx, is); err != nil {
			failed = errors.Join(failed, fmt.Errorf("ocsp: responder certificate of issuer %s: %w", is.name, err))
		}
	}
	return failed
}

// renew obtains the issuer's responder certificate if it is due.
func (r *Responder) renew(ctx context.Context, is *issuer) error {
	is.mu.Lock()
	defer is.mu.Unlock()
	if s := is.delegated.Load(); s != nil && r.now().Before(s.renewAt) {
		return nil
	}
	s, err := r.obtain(ctx, is)
	if err != nil {
		text := err.Error()
		is.lastError.Store(&text)
		is.retryAt = r.now().Add(min(maxRetry, time.Second<<min(is.failed, 16)))
		is.failed++
		return err
	}
	is.failed, is.retryAt = 0, time.Time{}
	is.lastError.Store(nil)
	is.delegated.Store(s)
	r.counters.renewals.Add(1)
	r.logger.Info("OCSP responder certificate", slog.String("issuer", is.name), slog.Time("not_after", s.notAfter))
	return nil
}

// obtain makes a key and has it certified.
func (r *Responder) obtain(ctx context.Context, is *issuer) (*signer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	der, err := r.issue(ctx, identity.Request{
		Kind: identity.X509, Profile: is.profile, Principal: systemPrincipal(), Identifiers: slices.Clone(r.names), PublicKey: private.Public(),
	})
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := checkDelegate(cert, is.cert, r.now()); err != nil {
		return nil, err
	}
	s, err := newSigner(private, cert)
	if err != nil {
		return nil, err
	}
	s.certificate = der
	life := cert.NotAfter.Sub(r.now())
	s.renewAt = cert.NotAfter.Add(-max(life/3, min(r.lifetime, life/2)))
	return s, nil
}

// checkDelegate holds a responder certificate against RFC 6960 §4.2.2.2.
func checkDelegate(cert, issuer *x509.Certificate, now time.Time) error {
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("responder certificate: %w", err)
	}
	noCheck := false
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidNoCheck) {
			noCheck = bytes.Equal(e.Value, null)
		}
	}
	switch {
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("responder certificate: its extended key usage is not OCSPSigning")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("responder certificate: its key usage is not digitalSignature")
	case !noCheck:
		return errors.New("responder certificate: it has no id-pkix-ocsp-nocheck")
	case now.Add(minLifetime).After(cert.NotAfter) || now.Before(cert.NotBefore):
		return errors.New("responder certificate: it is not valid for long enough")
	}
	return nil
}
