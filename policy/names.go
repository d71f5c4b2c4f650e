package policy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	smallstep "github.com/smallstep/certificates/policy"

	"github.com/certwright/certwright/identity"
)

// nameSet is a compiled set of patterns: what it covers, and nothing else.
type nameSet struct {
	engine *smallstep.NamePolicyEngine
	deep   *smallstep.NamePolicyEngine // "*.x" for each ".x": asked for the name and each of its parents
	uris   []uriPattern
	// What the engines hold. They allow a type that they hold nothing of, so they
	// are not asked for it.
	hasDNS, hasDeep, hasIP, hasEmail bool
	// exact are the DNS names without a pattern's star or dot: a wildcard name
	// meets them one label below itself.
	exact []string
}

// compile reads patterns without templates.
func compile(names identity.Names) (*nameSet, error) {
	var s nameSet
	var one, deep, mail []string
	for _, p := range names.DNS {
		if err := checkDNSPattern(p); err != nil {
			return nil, fmt.Errorf("dns pattern %q: %w", p, err)
		}
		switch {
		case strings.HasPrefix(p, "."):
			deep = append(deep, "*"+p)
		case strings.HasPrefix(p, "*."):
			one = append(one, p)
		default:
			one = append(one, p)
			s.exact = append(s.exact, p)
		}
	}
	for _, p := range names.Email {
		if err := checkEmailPattern(p); err != nil {
			return nil, fmt.Errorf("email pattern %q: %w", p, err)
		}
		mail = append(mail, strings.TrimPrefix(p, "@"))
	}
	nets := make([]*net.IPNet, 0, len(names.IP))
	for _, p := range names.IP {
		prefix, err := parsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("ip pattern %q: %w", p, err)
		}
		nets = append(nets, &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())})
	}
	for _, p := range names.URI {
		u, err := compileURI(p)
		if err != nil {
			return nil, fmt.Errorf("uri pattern %q: %w", p, err)
		}
		s.uris = append(s.uris, u)
	}
	s.hasDNS, s.hasDeep, s.hasIP, s.hasEmail = len(one) > 0, len(deep) > 0, len(nets) > 0, len(mail) > 0
	var err, deepErr error
	s.engine, err = smallstep.New(smallstep.WithAllowLiteralWildcardNames(), smallstep.WithPermittedDNSDomains(one...),
		smallstep.WithPermittedIPRanges(nets...), smallstep.WithPermittedEmailAddresses(mail...))
	s.deep, deepErr = smallstep.New(smallstep.WithAllowLiteralWildcardNames(), smallstep.WithPermittedDNSDomains(deep...))
	return &s, errors.Join(err, deepErr)
}

// covers tells whether a pattern covers the canonical name. The error is a name
// that could not be judged: it is then neither covered nor safely not denied.
func (s *nameSet) covers(id identity.Identifier) (bool, error) {
	switch id.Type {
	case identity.DNS:
		return s.coversDNS(id.Value)
	case identity.IP:
		addr, err := netip.ParseAddr(id.Value)
		if err != nil || !s.hasIP {
			return false, err
		}
		return answer(s.engine.IsIPAllowed(addr.AsSlice()))
	case identity.URI:
		u, err := url.Parse(id.Value)
		if err != nil {
			return false, err
		}
		for _, p := range s.uris {
			if ok, err := p.covers(u); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case identity.Email:
		if !s.hasEmail {
			return false, nil
		}
		return answer(s.engine.IsX509CertificateAllowed(mailbox(id.Value)))
	}
	return false, fmt.Errorf("identifier type %q", id.Type)
}

// coversDNS asks for ".x" by asking whether the name, or a name above it, is one
// label below x.
func (s *nameSet) coversDNS(name string) (bool, error) {
	if s.hasDNS {
		if ok, err := answer(s.engine.IsDNSAllowed(name)); ok || err != nil {
			return ok, err
		}
	}
	if !s.hasDeep {
		return false, nil
	}
	for rest, more := name, true; more && strings.Contains(rest, "."); _, rest, more = strings.Cut(rest, ".") {
		if ok, err := answer(s.deep.IsDNSAllowed(rest)); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// meets tells whether the set, of denied names, covers the name or, if it is a
// wildcard, any name that it stands for.
func (s *nameSet) meets(id identity.Identifier) (bool, error) {
	if ok, err := s.covers(id); ok || err != nil || !id.Wildcard() {
		return ok, err
	}
	for _, name := range s.exact {
		if _, above, ok := strings.Cut(name, "."); ok && above == id.Value[len("*."):] {
			return true, nil
		}
	}
	return false, nil
}

// answer tells a name that no pattern covers from one that was not understood.
func answer(err error) (bool, error) {
	var refused *smallstep.NamePolicyError
	if errors.As(err, &refused) && refused.Reason == smallstep.NotAllowed {
		return false, nil
	}
	return err == nil, err
}

// checkDNSPattern holds a pattern to the form of the names it is to cover:
// "a.x", "*.x" or ".x" with canonical names.
func checkDNSPattern(pattern string) error {
	name := pattern
	if strings.HasPrefix(name, ".") {
		name = name[1:]
		if strings.HasPrefix(name, "*") {
			return errors.New(`a pattern begins with "*." or ".", not both`)
		}
	}
	c, err := identity.Identifier{Type: identity.DNS, Value: name}.Canonical()
	if err != nil {
		return err
	}
	if c.Value != name {
		return fmt.Errorf("it is written %q", strings.TrimSuffix(pattern, name)+c.Value)
	}
	return nil
}

func checkEmailPattern(pattern string) error {
	if pattern != strings.ToLower(pattern) {
		return errors.New("it is written in lower case; it covers every case")
	}
	local, domain, ok := strings.Cut(pattern, "@")
	if !ok {
		domain = pattern
	}
	if !ok || local == "" {
		local = "any"
	}
	if strings.Contains(local, "*") {
		return errors.New(`it is a mailbox or a domain, without "*"`)
	}
	_, err := identity.Identifier{Type: identity.Email, Value: local + "@" + domain}.Canonical()
	return err
}

// parsePrefix reads an address or a CIDR prefix, in the form of netip.
func parsePrefix(pattern string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(pattern); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errors.New("no zone, and IPv4 as IPv4")
		}
		return addr.Prefix(addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(pattern)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("not an address or CIDR prefix")
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, errors.New("write IPv4 as IPv4")
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("it has bits behind the prefix: did you mean %q?", prefix.Masked())
	}
	return prefix, nil
}
