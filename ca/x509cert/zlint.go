//go:build linux || darwin

package x509cert

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	zx509 "github.com/zmap/zcrypto/x509"
	_ "github.com/zmap/zlint/v3" // registers the lints of all sources
	"github.com/zmap/zlint/v3/lint"

	"github.com/certwright/certwright/problem"
)

// Linter holds the sets of lints. It is made once: choosing from zlint's
// registry is slow. Safe for concurrent use.
type Linter struct {
	sets map[string]zlints
	crls []*lint.RevocationListLint // of RFC 5280

	crlConfig lint.Configuration
}

// zlints are some of zlint's lints, with the configuration they run under.
type zlints struct {
	lints  []scoped
	config lint.Configuration
}

// scoped is a lint; it has nothing to say of a certificate without the extension
// that it needs.
type scoped struct {
	*lint.CertificateLint
	needs string // OID; empty: none
}

// neededBy is the extension that the lints whose names begin so look at alone.
func neededBy(name string) string {
	for prefix, oid := range map[string]string{
		"e_ext_ian_": "2.5.29.18", "e_ext_name_constraints_": "2.5.29.30", "e_name_constraint_": "2.5.29.30",
		"e_ext_policy_constraints_": "2.5.29.36", "e_ext_policy_map_": "2.5.29.33", "w_ext_policy_map_": "2.5.29.33",
		"e_ext_cert_policy_": "2.5.29.32", "e_ext_freshest_crl_": "2.5.29.46", "e_inhibit_any_policy_": "2.5.29.54",
		"e_ext_subject_directory_attr_": "2.5.29.9", "e_subject_info_access_": "1.3.6.1.5.5.7.1.11",
	} {
		if strings.HasPrefix(name, prefix) {
			return oid
		}
	}
	return ""
}

// NewLinter makes the Linter of all sets.
func NewLinter() (*Linter, error) {
	l := &Linter{sets: map[string]zlints{}}
	for name, source := range map[string]lint.LintSource{
		LintRFC5280: lint.RFC5280, LintBaseline: lint.CABFBaselineRequirements,
	} {
		registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{source}})
		if err != nil {
			return nil, fmt.Errorf("lints %s: %w", name, err)
		}
		set := zlints{config: registry.GetConfiguration()}
		for _, z := range registry.CertificateLints().Lints() {
			if !onlyWarns(z) {
				set.lints = append(set.lints, scoped{z, neededBy(z.Name)})
			}
		}
		if len(set.lints) == 0 {
			return nil, fmt.Errorf("lints %s: there are none", name)
		}
		l.sets[name] = set
		if name == LintRFC5280 {
			l.crls, l.crlConfig = registry.RevocationListLints().Lints(), registry.GetConfiguration()
		}
	}
	return l, nil
}

// onlyWarns tells of a lint of RFC 5280 that what it finds is a warning or a notice,
// as its name says: it cannot fail a certificate, so it is not run. One of them
// has a fatal end too and stays; those of other sources are not held to their names.
func onlyWarns(z *lint.CertificateLint) bool {
	return z.Source == lint.RFC5280 && z.Name != "w_ext_policy_map_not_in_cert_policy" &&
		(strings.HasPrefix(z.Name, "w_") || strings.HasPrefix(z.Name, "n_"))
}

// lint runs the named sets on a certificate whose signature is a placebo.
// Errors and fatal results fail; warnings and notices do not.
func (l *Linter) lint(cert *x509.Certificate, sets []string) error {
	var failed []problem.Violation
	var parsed *zx509.Certificate
	for _, name := range sets {
		if name == LintCertwright {
			failed = append(failed, ownLints(cert)...)
			continue
		}
		set, ok := l.sets[name]
		if !ok {
			return problem.New(problem.Internal, "profile names unknown lints %.32q", name)
		}
		if parsed == nil {
			var err error
			if parsed, err = zx509.ParseCertificate(cert.Raw); err != nil {
				return &problem.Problem{Kind: problem.Internal, Reason: "DRAFT_DIFFERS", Err: fmt.Errorf("draft is not readable to the linter: %w", err)}
			}
		}
		for _, z := range set.lints {
			if _, has := parsed.ExtensionsMap[z.needs]; !has && z.needs != "" {
				continue
			}
			subject := parsed
			if z.Name == lintURIHost {
				subject = withoutSPIFFE(parsed)
			}
			if r := z.Execute(subject, set.config); r.Status >= lint.Error {
				failed = append(failed, violation(z.Name, strings.TrimSpace(z.Description+" "+r.Details), z.Citation))
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &problem.Problem{
		Kind: problem.Denied, Detail: "the certificate would break rules of form", Violations: failed,
		Help: "change the request, or the profile that makes it so",
	}
}

func (l *Linter) lintCRL(der []byte) error {
	parsed, err := zx509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("it is not readable to the linter: %w", err)
	}
	var failed []problem.Violation
	for _, each := range l.crls {
		if r := each.Execute(parsed, l.crlConfig); r.Status >= lint.Error {
			failed = append(failed, violation(each.Name, strings.TrimSpace(each.Description+" "+r.Details), each.Citation))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &problem.Problem{Kind: problem.Internal, Reason: "LINT", Detail: "the CRL would break rules of form", Violations: failed}
}

// lintURIHost is zlint's of RFC 5280 §4.2.1.6: the host of a URI is a fully
// qualified domain name or an IP address.
const lintURIHost = "e_ext_san_uri_host_not_fqdn_or_ip"

// withoutSPIFFE is the certificate as lintURIHost is to see it. What stands in the
// place of the host in a SPIFFE ID is a trust domain, which names no host and need
// not be a DNS name (SPIFFE-ID §2.1); its form is that of SPIFFE, which every
// identifier is held to (identity.Identifier.Canonical). All other URIs are linted.
func withoutSPIFFE(cert *zx509.Certificate) *zx509.Certificate {
	isSPIFFE := func(uri string) bool { return strings.HasPrefix(uri, "spiffe://") }
	if !slices.ContainsFunc(cert.URIs, isSPIFFE) {
		return cert
	}
	view := *cert
	view.URIs = slices.DeleteFunc(slices.Clone(cert.URIs), isSPIFFE)
	return &view
}
