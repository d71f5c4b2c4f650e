package bounds

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// patterns are names' patterns of one side of a grant. A claim of the caller, which an
// auditor does not know, stands for whatever a claim can be in that place.
type patterns struct {
	dns, uri, email []*regexp.Regexp
	ip              []netip.Prefix
	exact           []string // the DNS names without star, dot and claim
}

// claim finds "{claims.NAME}".
var claim = regexp.MustCompile(`\{claims\.[A-Za-z0-9_:/-]{1,64}\}`)

// What a claim can be, by where it stands.
const (
	inDNS     = `[a-z0-9-]+`
	inPath    = `[A-Za-z0-9._~-]+`
	inMailbox = `[A-Za-z0-9._+-]+`
)

// literal is an expression for the text itself, with any claim in its place.
func literal(text, form string) string {
	var b strings.Builder
	for {
		at := claim.FindStringIndex(text)
		if at == nil {
			return b.String() + regexp.QuoteMeta(text)
		}
		b.WriteString(regexp.QuoteMeta(text[:at[0]]) + form)
		text = text[at[1]:]
	}
}

func compile(n names) (patterns, error) {
	var p patterns
	add := func(to *[]*regexp.Regexp, expression string) error {
		re, err := regexp.Compile(`^(?:` + expression + `)$`)
		*to = append(*to, re)
		return err
	}
	for _, text := range n.DNS {
		if err := add(&p.dns, hostPattern(text)); err != nil {
			return p, err
		}
		if !strings.HasPrefix(text, "*") && !strings.HasPrefix(text, ".") && !claim.MatchString(text) {
			p.exact = append(p.exact, text)
		}
	}
	for _, text := range n.URI {
		expression, err := uriPattern(text)
		if err == nil {
			err = add(&p.uri, expression)
		}
		if err != nil {
			return p, fmt.Errorf("uri pattern %.128q: %w", text, err)
		}
	}
	for _, text := range n.Email {
		if err := add(&p.email, mailPattern(text)); err != nil {
			return p, err
		}
	}
	for _, text := range n.IP {
		prefix, err := parsePrefix(text)
		if err != nil {
			return p, fmt.Errorf("ip pattern %.64q is neither an address nor a prefix", text)
		}
		p.ip = append(p.ip, prefix)
	}
	return p, nil
}

// mailPattern is a mailbox, or a domain with or without "@" before it.
func mailPattern(text string) string {
	local, domain, ok := strings.Cut(text, "@")
	if !ok {
		local, domain = "", text
	}
	expression := `[^@]+`
	if local != "" {
		expression = literal(local, inMailbox)
	}
	return `(?i)` + expression + `@` + literal(domain, inDNS)
}

// hostPattern is "a.x", "*.x" (one more label) or ".x" (any depth below x).
func hostPattern(text string) string {
	const label = `(?:\*|[^.*]+)`
	switch {
	case strings.HasPrefix(text, "*."):
		return label + literal(text[1:], inDNS)
	case strings.HasPrefix(text, "."):
		return label + `(?:\.[^.*]+)*` + literal(text, inDNS)
	}
	return literal(text, inDNS)
}

// uriPattern is scheme://host/path, "*" a segment, a last "**" one or more.
func uriPattern(text string) (string, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	host, path, hasPath := strings.Cut(rest, "/")
	if !ok || host == "" {
		return "", fmt.Errorf("it is not scheme://host/path")
	}
	name, port, hasPort := strings.Cut(host, ":")
	expression := regexp.QuoteMeta(scheme) + "://"
	if scheme == "spiffe" {
		expression += regexp.QuoteMeta(name)
	} else {
		expression += strings.ReplaceAll(hostPattern(name), `(?:\*|[^.*]+)`, `[^.*/:]+`)
	}
	if hasPort {
		expression += ":" + regexp.QuoteMeta(port)
	}
	if !hasPath {
		return expression, nil
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch {
		case s == "**" && i == len(segments)-1:
			expression += `(?:/[^/?]+)+`
		case s == "*":
			expression += `/[^/?]+`
		default:
			expression += "/" + literal(s, inPath)
		}
	}
	return expression, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}

func matches(list []*regexp.Regexp, text string) bool {
	for _, re := range list {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

func (p patterns) hasDNS(name string) bool   { return matches(p.dns, name) }
func (p patterns) hasEmail(text string) bool { return matches(p.email, text) }
func (p patterns) hasURI(u *url.URL) bool    { return matches(p.uri, u.String()) }

func (p patterns) hasIP(addr netip.Addr) bool {
	for _, prefix := range p.ip {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// meetsDNS tells whether a denied pattern covers the name or, if it is a wildcard,
// any name that it stands for.
func (p patterns) meetsDNS(name string) bool {
	if p.hasDNS(name) {
		return true
	}
	under, wildcard := strings.CutPrefix(name, "*.")
	for _, exact := range p.exact {
		if _, above, ok := strings.Cut(exact, "."); wildcard && ok && above == under {
			return true
		}
	}
	return false
}
