package x509cert

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/certwright/certwright/identity"
)

// CAConfig describes a CA certificate, made in a ceremony or at the first start
// with --dev; certificates of these keys to others go through ca.Authority.Issue.
type CAConfig struct {
	CommonName   string
	Organization string // optional
	NotBefore    time.Time
	NotAfter     time.Time // inclusive
	// MaxPathLen is how many CAs may stand between this one and a leaf (RFC
	// 5280 §4.2.1.9); 0: none, it issues leaves only.
	MaxPathLen int
	// Permit and Exclude are name constraints (RFC 5280 §4.2.1.10) in the RFC's
	// forms: a DNS or email domain with all below it, a CIDR, a URI's host; empty:
	// unlimited.
	Permit, Exclude identity.Names
	URLs            URLs // of the certificate's own issuer; not for a root
}

// Root makes a self-signed CA certificate, in DER.
func Root(cfg CAConfig, signer crypto.Signer) (*x509.Certificate, error) {
	template, err := caTemplate(cfg)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	return createCA(template, template, signer.Public(), signer)
}

// Intermediate makes the CA certificate of the key public under parent. It must
// not outlive parent.
func Intermediate(cfg CAConfig, public crypto.PublicKey, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, error) {
	template, err := caTemplate(cfg)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	if !parent.IsCA || parent.MaxPathLen == 0 && parent.MaxPathLenZero {
		return nil, errors.New("CA certificate: the certificate above it does not allow a CA below it")
	}
	if template.NotAfter.After(parent.NotAfter) {
		return nil, errors.New("CA certificate: it would outlive the certificate above it")
	}
	if cfg.URLs.OCSP != "" {
		template.OCSPServer = []string{cfg.URLs.OCSP}
	}
	if cfg.URLs.CAIssuers != "" {
		template.IssuingCertificateURL = []string{cfg.URLs.CAIssuers}
	}
	if cfg.URLs.CRL != "" {
		template.CRLDistributionPoints = []string{cfg.URLs.CRL}
	}
	cert, err := createCA(template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	if err := cert.CheckSignatureFrom(parent); err != nil {
		return nil, fmt.Errorf("CA certificate: the key is not that of the certificate above it: %w", err)
	}
	return cert, nil
}

func caTemplate(cfg CAConfig) (*x509.Certificate, error) {
	if cfg.CommonName == "" {
		return nil, errors.New("a common name is needed")
	}
	if !cfg.NotAfter.After(cfg.NotBefore) {
		return nil, errors.New("it would end before it begins")
	}
	t := &x509.Certificate{
		SerialNumber: identity.NewSerial(cfg.NotBefore).Big(), Subject: pkix.Name{CommonName: cfg.CommonName},
		NotBefore: cfg.NotBefore.UTC(), NotAfter: cfg.NotAfter.UTC(), IsCA: true, BasicConstraintsValid: true,
		MaxPathLen: cfg.MaxPathLen, MaxPathLenZero: cfg.MaxPathLen == 0,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, // the last signs OCSP responses
	}
	if cfg.Organization != "" {
		t.Subject.Organization = []string{cfg.Organization}
	}
	var err, err2 error
	t.PermittedDNSDomains, t.ExcludedDNSDomains = slices.Clone(cfg.Permit.DNS), slices.Clone(cfg.Exclude.DNS)
	t.PermittedURIDomains, t.ExcludedURIDomains = slices.Clone(cfg.Permit.URI), slices.Clone(cfg.Exclude.URI)
	t.PermittedEmailAddresses, t.ExcludedEmailAddresses = slices.Clone(cfg.Permit.Email), slices.Clone(cfg.Exclude.Email)
	t.PermittedIPRanges, err = ipRanges(cfg.Permit.IP)
	t.ExcludedIPRanges, err2 = ipRanges(cfg.Exclude.IP)
	t.PermittedDNSDomainsCritical = !cfg.Permit.Empty() || !cfg.Exclude.Empty()
	return t, errors.Join(err, err2)
}

func ipRanges(list []string) ([]*net.IPNet, error) {
	var out []*net.IPNet
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("name constraint %.64q is not a CIDR", text)
		}
		p = p.Masked()
		out = append(out, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return out, nil
}

func createCA(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer) //nolint:forbidigo // a CA's certificate is made in a ceremony, not asked for
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// RootCRL makes an empty CRL of a CA (RFC 5280 §5), in DER: what relying parties
// need of a root whose key is offline.
func RootCRL(issuer *x509.Certificate, signer crypto.Signer, number uint64, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: new(big.Int).SetUint64(number), ThisUpdate: thisUpdate.UTC(), NextUpdate: nextUpdate.UTC(),
	}, issuer, signer)
	if err != nil {
		return nil, fmt.Errorf("root CRL: %w", err)
	}
	return der, nil
}
