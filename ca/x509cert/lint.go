package x509cert

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// The sets of lints that a profile can name.
const (
	LintRFC5280    = "rfc5280"    // zlint's lints of RFC 5280
	LintCertwright = "certwright" // our own, below
	LintBaseline   = "baseline"   // zlint's of the CA/Browser Forum's Baseline Requirements: refuse internal names
)

func violation(name, detail, citation string) problem.Violation {
	return problem.Violation{
		Reason: "LINT", Rule: "lint " + name, Value: name, Detail: detail, Allowed: citation,
	}
}

// ownLints are the set "certwright": what holds for every certificate of this
// CA, whatever the profile says.
func ownLints(cert *x509.Certificate) []problem.Violation {
	var failed []problem.Violation
	add := func(name, format string, args ...any) {
		failed = append(failed, violation(name, fmt.Sprintf(format, args...), "certwright"))
	}
	if cert.SerialNumber.Sign() <= 0 || cert.SerialNumber.BitLen() < 8*10 {
		add("e_certwright_serial_short", "the serial number is shorter than its 80 random bits")
	}
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
		add("e_certwright_purpose_open", "the certificate is not limited to purposes by an extended key usage")
	}
	if _, isRSA := cert.PublicKey.(*rsa.PublicKey); !isRSA && cert.KeyUsage&(x509.KeyUsageKeyEncipherment|x509.KeyUsageDataEncipherment) != 0 {
		add("e_certwright_encipherment_without_rsa", "only an RSA key can encipher (RFC 8813 §3, RFC 8410 §5)")
	}
	if len(cert.CRLDistributionPoints) == 0 && len(cert.OCSPServer) == 0 {
		add("e_certwright_no_revocation_pointer", "the certificate names neither OCSP nor a CRL")
	}
	for _, id := range certificateNames(cert) {
		if again, err := id.Canonical(); err != nil || again != id {
			add("e_certwright_name_not_canonical", "%s is not in canonical form", id)
		}
	}
	return failed
}

func certificateNames(cert *x509.Certificate) []identity.Identifier {
	var out []identity.Identifier
	add := func(kind identity.IdentifierType, value string) {
		out = append(out, identity.Identifier{Type: kind, Value: value})
	}
	for _, n := range cert.DNSNames {
		add(identity.DNS, n)
	}
	for _, n := range cert.IPAddresses {
		add(identity.IP, n.String())
	}
	for _, n := range cert.URIs {
		add(identity.URI, n.String())
	}
	for _, n := range cert.EmailAddresses {
		add(identity.Email, n)
	}
	return out
}
