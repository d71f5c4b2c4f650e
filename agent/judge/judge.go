// Package judge decides whether what a server answered is the certificate that was
// asked for. A server may be hostile, mistaken or another one: nothing that it says
// is kept before this.
package judge

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
)

// Limits of an answer.
const (
	maxAnswer = 128 << 10
	maxChain  = 10
	skew      = 5 * time.Minute // how far the server's clock may be ahead
)

// Want is what was asked for.
type Want struct {
	Public crypto.PublicKey
	Names  []identity.Identifier
	Roots  *x509.CertPool // nil: those of the system
	Now    time.Time
}

// Chain is the certificate and those of its issuers, if the answer is good.
func Chain(certificate, chain []byte, w Want) ([]*x509.Certificate, error) {
	if len(certificate)+len(chain) > maxAnswer {
		return nil, fmt.Errorf("the server answered %d bytes; a certificate and its chain have at most %d", len(certificate)+len(chain), maxAnswer)
	}
	certs, err := parse(certificate, nil)
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, errors.New("the server's answer holds no certificate in PEM")
	}
	if certs, err = parse(chain, certs); err != nil {
		return nil, err
	}
	leaf := certs[0]
	if err := leafIs(leaf, w); err != nil {
		return nil, fmt.Errorf("the server answered %w", err)
	}
	if err := timely(leaf, w.Now); err != nil {
		return nil, err
	}
	verified, err := path(leaf, certs[1:], w)
	if err != nil {
		return nil, fmt.Errorf("the server answered %w", err)
	}
	return verified, nil
}

// path is the way from the certificate to a root, without the root: what is not on it
// was checked by nobody, and who trusts the root has it.
func path(leaf *x509.Certificate, others []*x509.Certificate, w Want) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range others {
		between.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: w.Roots, Intermediates: between, CurrentTime: within(leaf, w.Now), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("a certificate that does not lead to a trusted root: %w", err)
	}
	return paths[0][:max(len(paths[0])-1, 1)], nil
}

// Found is nil if a certificate that was found, with its chain, is what is wanted, and
// neither over nor not yet begun.
func Found(chain []*x509.Certificate, w Want) error {
	leaf := chain[0]
	switch {
	case w.Now.After(leaf.NotAfter):
		return fmt.Errorf("it ended at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case leaf.NotBefore.After(w.Now.Add(skew)):
		return fmt.Errorf("it is valid from %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	err := leafIs(leaf, w)
	if err == nil {
		_, err = path(leaf, chain[1:], w)
	}
	if err != nil {
		return fmt.Errorf("it is %w", err)
	}
	return nil
}

// Leads tells whether a certificate, whether over or not, leads to a root that is
// trusted.
func Leads(chain []*x509.Certificate, roots *x509.CertPool) error {
	w := Want{Roots: roots, Now: chain[0].NotAfter}
	if _, err := path(chain[0], chain[1:], w); err != nil {
		return fmt.Errorf("it is %w", err)
	}
	return nil
}

func parse(text []byte, certs []*x509.Certificate) ([]*x509.Certificate, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certs, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the server's answer holds a %.40q", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the server's answer: %w", err)
		}
		if certs = append(certs, c); len(certs) > maxChain {
			return nil, fmt.Errorf("the server answered more than %d certificates", maxChain)
		}
	}
}

// leafIs compares key and names with what was asked for.
func leafIs(leaf *x509.Certificate, w Want) error {
	if public, ok := w.Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return fmt.Errorf("a certificate for another key (serial %x)", leaf.SerialNumber)
	}
	if leaf.IsCA {
		return errors.New("a certificate of a CA")
	}
	want, err := identity.CanonicalSet(w.Names)
	if err != nil {
		return err
	}
	if err := onlyKnown(leaf); err != nil {
		return err
	}
	have, err := identity.CanonicalSet(NamesOf(leaf))
	if err != nil {
		return fmt.Errorf("a certificate with odd names: %w", err)
	}
	if !slices.Equal(want, have) {
		return fmt.Errorf("a certificate for %s; asked for was %s", listed(have), listed(want))
	}
	if cn := leaf.Subject.CommonName; cn != "" && !slices.ContainsFunc(have, func(id identity.Identifier) bool { return strings.EqualFold(id.Value, cn) }) {
		return fmt.Errorf("a certificate with the common name %.64q, which was not asked for", cn)
	}
	return nil
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// onlyKnown refuses names of other types than can be asked for: otherName,
// directoryName and the like, which x509 passes over.
func onlyKnown(leaf *x509.Certificate) error {
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(subjectAltName) {
			continue
		}
		var all []asn1.RawValue
		if _, err := asn1.Unmarshal(extension.Value, &all); err != nil || len(all) != len(NamesOf(leaf)) {
			return errors.New("a certificate with names of a type that was not asked for")
		}
	}
	return nil
}

// NamesOf are the subject alternative names of a certificate.
func NamesOf(leaf *x509.Certificate) []identity.Identifier {
	var ids []identity.Identifier
	add := func(kind identity.IdentifierType, value string) {
		ids = append(ids, identity.Identifier{Type: kind, Value: value})
	}
	for _, name := range leaf.DNSNames {
		add(identity.DNS, name)
	}
	for _, ip := range leaf.IPAddresses {
		add(identity.IP, ip.String())
	}
	for _, u := range leaf.URIs {
		add(identity.URI, u.String())
	}
	for _, mail := range leaf.EmailAddresses {
		add(identity.Email, mail)
	}
	return ids
}

// timely refuses what is over, or nearly.
func timely(leaf *x509.Certificate, now time.Time) error {
	life, left := leaf.NotAfter.Sub(leaf.NotBefore), leaf.NotAfter.Sub(now)
	switch {
	case life < 0:
		return errors.New("the server answered a certificate that ends before it begins")
	case left <= 0:
		return fmt.Errorf("the server answered a certificate that is over: it ended %d s ago, at %s", int64(-left/time.Second), leaf.NotAfter.UTC().Format(time.RFC3339))
	case life == 0:
		return errors.New("the server answered a certificate that is valid for one second only")
	case leaf.NotBefore.After(now.Add(skew)):
		return fmt.Errorf("the server answered a certificate that is valid from %s: compare the clocks", leaf.NotBefore.UTC().Format(time.RFC3339))
	case left < life/2:
		return fmt.Errorf("the server answered a certificate that is old already: it ends at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// within is now, or the certificate's begin if the server's clock is ahead.
func within(leaf *x509.Certificate, now time.Time) time.Time {
	if leaf.NotBefore.After(now) {
		return leaf.NotBefore
	}
	return now
}

func listed(ids []identity.Identifier) string {
	var all []string
	for _, id := range ids[:min(len(ids), 5)] {
		all = append(all, fmt.Sprintf("%.100q", id.Value))
	}
	if len(ids) > 5 {
		all = append(all, "…")
	}
	if len(all) == 0 {
		return "no names"
	}
	return strings.Join(all, ", ")
}
