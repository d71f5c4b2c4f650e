package policy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	smallstep "github.com/smallstep/certificates/policy"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// issuer is what decisions need of an Issuer.
type issuer struct {
	name                string
	notBefore, notAfter time.Time
	permitted, excluded *subtrees // nil: no name constraints
}

// subtrees are the name constraints of one side (RFC 5280 §4.2.1.10).
type subtrees struct {
	set       *nameSet // dns, ip, whole mailboxes and the domains of mailboxes themselves
	mailHosts *nameSet // domains below which mailboxes may be
	uriHosts  *nameSet
	has       map[identity.IdentifierType]bool
	shown     map[identity.IdentifierType]string
}

func newIssuer(in Issuer) (*issuer, error) {
	i := &issuer{name: in.Name, notAfter: in.NotAfter.UTC().Truncate(time.Second)}
	c := in.Certificate
	if c == nil {
		if in.NotAfter.IsZero() {
			return nil, errors.New("neither its end nor its certificate is known")
		}
		return i, nil
	}
	i.notBefore = c.NotBefore.UTC()
	if in.NotAfter.IsZero() || c.NotAfter.Before(in.NotAfter) {
		i.notAfter = c.NotAfter.UTC().Truncate(time.Second)
	}
	var err, other error
	i.permitted, err = newSubtrees(c.PermittedDNSDomains, c.PermittedIPRanges, c.PermittedEmailAddresses, c.PermittedURIDomains, false)
	i.excluded, other = newSubtrees(c.ExcludedDNSDomains, c.ExcludedIPRanges, c.ExcludedEmailAddresses, c.ExcludedURIDomains, true)
	return i, errors.Join(err, other)
}

// newSubtrees writes constraints as patterns. A DNS constraint "x" is x and all
// below it; a mailbox or URI constraint "x" is that host, ".x" all below it. Some
// relying parties take "x" there for all below it too: wide, of what is excluded,
// does as they do.
func newSubtrees(dns []string, ips []*net.IPNet, emails, uris []string, wide bool) (*subtrees, error) {
	if len(dns)+len(ips)+len(emails)+len(uris) == 0 {
		return nil, nil
	}
	s := &subtrees{
		has: map[identity.IdentifierType]bool{
			identity.DNS: len(dns) > 0, identity.IP: len(ips) > 0, identity.Email: len(emails) > 0, identity.URI: len(uris) > 0,
		},
		shown: map[identity.IdentifierType]string{
			identity.DNS: strings.Join(dns, ", "), identity.Email: strings.Join(emails, ", "), identity.URI: strings.Join(uris, ", "),
		},
	}
	var names, hosts, urls identity.Names
	for _, d := range dns {
		if !strings.HasPrefix(d, ".") {
			names.DNS = append(names.DNS, strings.ToLower(d))
		}
		names.DNS = append(names.DNS, "."+strings.TrimPrefix(strings.ToLower(d), "."))
	}
	for _, m := range emails {
		if strings.HasPrefix(m, ".") {
			hosts.DNS = append(hosts.DNS, strings.ToLower(m))
		} else {
			names.Email = append(names.Email, strings.ToLower(m))
		}
		if wide && !strings.ContainsAny(m, "@") {
			hosts.DNS = append(hosts.DNS, "."+strings.TrimPrefix(strings.ToLower(m), "."))
		}
	}
	for _, u := range uris {
		urls.DNS = append(urls.DNS, strings.ToLower(u))
		if wide && !strings.HasPrefix(u, ".") {
			urls.DNS = append(urls.DNS, "."+strings.ToLower(u))
		}
	}
	var failed [4]error
	s.set, failed[0] = compile(names)
	s.mailHosts, failed[1] = compile(hosts)
	s.uriHosts, failed[2] = compile(urls)
	if err := errors.Join(failed[:]...); err != nil {
		return nil, fmt.Errorf("its name constraints: %w", err)
	}
	if len(ips) > 0 {
		s.set.hasIP = true
		s.set.engine, failed[3] = smallstep.New(smallstep.WithAllowLiteralWildcardNames(), smallstep.WithPermittedIPRanges(ips...),
			smallstep.WithPermittedDNSDomains(oneLabel(names.DNS)...), smallstep.WithPermittedEmailAddresses(names.Email...))
		for _, n := range ips {
			s.shown[identity.IP] = strings.TrimPrefix(s.shown[identity.IP]+", "+n.String(), ", ")
		}
	}
	return s, failed[3]
}

// oneLabel leaves the patterns out that the deep engine answers.
func oneLabel(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		if !strings.HasPrefix(p, ".") {
			out = append(out, p)
		}
	}
	return out
}

// covers tells whether the name lies in one of the subtrees; wide also counts a
// wildcard that stands for such a name.
func (s *subtrees) covers(id identity.Identifier, wide bool) (bool, error) {
	switch id.Type {
	case identity.Email:
		if ok, err := s.set.covers(id); ok || err != nil {
			return ok, err
		}
		_, host, _ := strings.Cut(id.Value, "@")
		return s.mailHosts.coversDNS(host)
	case identity.URI:
		u, err := url.Parse(id.Value)
		if err != nil {
			return false, err
		}
		if net.ParseIP(u.Hostname()) != nil {
			return false, errors.New("a URI without a host name cannot be held against name constraints (RFC 5280 §4.2.1.10)")
		}
		return s.uriHosts.coversDNS(u.Hostname())
	}
	if wide {
		return s.set.meets(id)
	}
	return s.set.covers(id)
}

// constraints are the violations of the issuer's name constraints: a relying
// party would refuse the certificate.
func (i *issuer) constraints(ids []identity.Identifier) []problem.Violation {
	var all []problem.Violation
	for _, id := range ids {
		v := problem.Violation{Reason: ReasonConstraint, Value: id.String(), Help: "take another profile, whose issuer may sign the name"}
		if i.permitted != nil && i.permitted.has[id.Type] {
			if ok, err := i.permitted.covers(id, false); !ok || err != nil {
				v.Rule, v.Allowed = "issuer "+i.name+": permitted subtrees", i.permitted.shown[id.Type]
				v.Detail = fmt.Sprintf("the issuer's certificate does not permit it to sign %q", id.Value)
				all = append(all, v)
				continue
			}
		}
		if i.excluded != nil && i.excluded.has[id.Type] {
			if ok, err := i.excluded.covers(id, true); ok || err != nil {
				v.Rule, v.Allowed = "issuer "+i.name+": excluded subtrees", "none of: "+i.excluded.shown[id.Type]
				v.Detail = fmt.Sprintf("the issuer's certificate excludes %q", id.Value)
				all = append(all, v)
			}
		}
	}
	return all
}
