package bounds

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

// The server's own grant and its built-in profiles, which stand in no document.
const (
	systemGrant      = "system"
	systemActor      = "system:server"
	responderProfile = "ocsp-responder:"
	// clockSlack is how long before its entry a certificate may have been decided,
	// beyond its backdate: requests wait, and clocks differ.
	clockSlack = 10 * time.Minute
)

// responder is the built-in profile of OCSP responder certificates (RFC 6960
// §4.2.2.2); how long they last is the server's configuration.
func responder() profile {
	return profile{Keys: []string{"ecdsa-p256"}, ExtKeyUsage: []string{"ocsp_signing"}, MaxNames: 100,
		Validity: validity{Max: duration(21 * 24 * time.Hour), Backdate: duration(time.Minute)}}
}

// check gathers what is out of bounds.
type check struct {
	book.Issued
	broken []string
}

func (c *check) fail(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

// Check implements book.Rules.
func (r *rules) Check(i book.Issued) []string {
	c := &check{Issued: i}
	p, ok := r.profiles[i.Profile]
	if strings.HasPrefix(i.Profile, responderProfile) && i.Actor == systemActor && i.Grant == systemGrant {
		p, ok = responder(), true
	}
	if !ok {
		c.fail("the policy in force has no profile %.64q", i.Profile)
		return c.broken
	}
	c.form(p)
	c.period(p)
	c.usages(p)
	c.names(p)
	r.granted(c)
	return c.broken
}

// form checks the key, and that the certificate is a leaf's.
func (c *check) form(p profile) {
	if key := keyName(c.Certificate.PublicKey); !slices.Contains(p.Keys, key) {
		c.fail("a key of %s; the profile %s allows %s", key, c.Profile, strings.Join(p.Keys, ", "))
	}
	if c.Certificate.IsCA {
		c.fail("it is a CA's certificate, and no profile allows one")
	}
}

// keyName is how profiles name the algorithm of a key.
func keyName(key any) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ecdsa-" + strings.ToLower(strings.ReplaceAll(k.Curve.Params().Name, "-", ""))
	case ed25519.PublicKey:
		return "ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	}
	return fmt.Sprintf("%T", key)
}

// period checks the validity; its last second counts.
func (c *check) period(p profile) {
	from, to := c.Certificate.NotBefore, c.Certificate.NotAfter
	if length := to.Sub(from) + time.Second; length > time.Duration(p.Validity.Max) {
		c.fail("valid for %s; the profile %s allows %s", length, c.Profile, time.Duration(p.Validity.Max))
	}
	backdate := time.Duration(p.Validity.Backdate)
	if backdate == 0 {
		backdate = time.Minute
	}
	if before := c.Time.Sub(from); before > backdate+clockSlack {
		c.fail("it begins %s before it was recorded; the profile %s allows %s", before.Truncate(time.Second), c.Profile, backdate)
	}
	if from.Sub(c.Time) > time.Duration(p.Validity.Max) {
		c.fail("it begins %s after it was recorded", from.Sub(c.Time).Truncate(time.Second))
	}
}

// The usages by the names that profiles have for them.
func keyUsages() map[string]x509.KeyUsage {
	return map[string]x509.KeyUsage{
		"digital_signature": x509.KeyUsageDigitalSignature, "content_commitment": x509.KeyUsageContentCommitment,
		"key_encipherment": x509.KeyUsageKeyEncipherment, "data_encipherment": x509.KeyUsageDataEncipherment, "key_agreement": x509.KeyUsageKeyAgreement,
	}
}

func extKeyUsages() map[string]x509.ExtKeyUsage {
	return map[string]x509.ExtKeyUsage{
		"server_auth": x509.ExtKeyUsageServerAuth, "client_auth": x509.ExtKeyUsageClientAuth, "email_protection": x509.ExtKeyUsageEmailProtection,
		"code_signing": x509.ExtKeyUsageCodeSigning, "time_stamping": x509.ExtKeyUsageTimeStamping, "ocsp_signing": x509.ExtKeyUsageOCSPSigning,
	}
}

// usages checks what the certificate may be used for.
func (c *check) usages(p profile) {
	allowed := x509.KeyUsage(0)
	for _, name := range p.KeyUsage {
		allowed |= keyUsages()[name]
	}
	if allowed == 0 {
		allowed = x509.KeyUsageDigitalSignature
	}
	if c.Certificate.KeyUsage&^allowed != 0 {
		c.fail("it has key usages that the profile %s does not have", c.Profile)
	}
	var purposes []x509.ExtKeyUsage
	for _, name := range p.ExtKeyUsage {
		if purpose, ok := extKeyUsages()[name]; ok {
			purposes = append(purposes, purpose)
		}
	}
	have := c.Certificate.ExtKeyUsage
	beyond := func(purpose x509.ExtKeyUsage) bool { return !slices.Contains(purposes, purpose) }
	if len(have) == 0 || len(c.Certificate.UnknownExtKeyUsage) > 0 || slices.ContainsFunc(have, beyond) {
		c.fail("it has no purpose, or one that the profile %s does not have: that has %s", c.Profile, strings.Join(p.ExtKeyUsage, ", "))
	}
}

// names checks how many names there are, and wildcards.
func (c *check) names(p profile) {
	cert := c.Certificate
	n := len(cert.DNSNames) + len(cert.IPAddresses) + len(cert.URIs) + len(cert.EmailAddresses)
	if n == 0 || n > p.MaxNames {
		c.fail("it has %d names; the profile %s allows 1 to %d", n, c.Profile, p.MaxNames)
	}
	for _, name := range cert.DNSNames {
		if strings.Contains(name, "*") && !p.Wildcards {
			c.fail("the wildcard %s; the profile %s has none", name, c.Profile)
		}
	}
	if cn := cert.Subject.CommonName; cn != "" && !slices.Contains(cert.DNSNames, cn) {
		c.fail("the common name %.128q is none of its DNS names", cn)
	}
}

// granted checks the names against the grant that the entry names. A grant that a
// credential carries stands in no document: of it only what the document denies to
// everybody is known.
func (r *rules) granted(c *check) {
	if c.Grant == systemGrant {
		if c.Actor != systemActor {
			c.fail("the server's own grant, used by %.64q", c.Actor)
		}
		return
	}
	r.each(c, r.deny.meets, "the name %s is denied to everybody")
	g, ok := r.grants[c.Grant]
	if !ok {
		if method, _, bound := strings.Cut(c.Grant, ":"); !bound || method == "" {
			c.fail("the policy in force has no grant %.64q", c.Grant)
		}
		return
	}
	if !slices.Contains(g.Profiles, c.Profile) {
		c.fail("the grant %s has not the profile %s", c.Grant, c.Profile)
	}
	r.each(c, func(n name) bool { return !g.allow.covers(n) }, "the name %s is not one that the grant "+c.Grant+" allows")
	r.each(c, g.deny.meets, "the name %s is one that the grant "+c.Grant+" denies")
}

// name is one name of a certificate.
type name struct {
	shown  string
	covers func(patterns) bool
	meets  func(patterns) bool
}

func (p patterns) covers(n name) bool { return n.covers(p) }
func (p patterns) meets(n name) bool  { return n.meets(p) }

// each says what for each name that fails.
func (r *rules) each(c *check, fails func(name) bool, what string) {
	for _, n := range namesOf(c.Certificate) {
		if fails(n) {
			c.fail(what, n.shown)
		}
	}
}

func namesOf(cert *x509.Certificate) []name {
	var all []name
	for _, dns := range cert.DNSNames {
		all = append(all, name{"dns:" + dns, func(p patterns) bool { return p.hasDNS(dns) }, func(p patterns) bool { return p.meetsDNS(dns) }})
	}
	add := func(shown string, covers func(patterns) bool) { all = append(all, name{shown, covers, covers}) }
	for _, ip := range cert.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		add("ip:"+ip.String(), func(p patterns) bool { return p.hasIP(addr) })
	}
	for _, u := range cert.URIs {
		add("uri:"+u.String(), func(p patterns) bool { return p.hasURI(u) })
	}
	for _, mail := range cert.EmailAddresses {
		add("email:"+mail, func(p patterns) bool { return p.hasEmail(mail) })
	}
	return all
}
