package policy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
)

// uriPattern is scheme://host/path. The name engine knows hosts only: scheme,
// port and path are judged here.
type uriPattern struct {
	scheme, port string
	host         string   // exact, if hosts is nil
	hosts        *nameSet // a dns pattern
	segments     []string // of the path behind its first slash; nil: no path
}

// compileURI reads a pattern without templates.
func compileURI(pattern string) (uriPattern, error) {
	if strings.ContainsAny(pattern, "?#%") {
		return uriPattern{}, errors.New("no query, fragment or escape")
	}
	scheme, rest, ok := strings.Cut(pattern, "://")
	authority, path, hasPath := strings.Cut(rest, "/")
	if !ok || authority == "" {
		return uriPattern{}, errors.New("it is written scheme://host/path")
	}
	// A stand-in for what the pattern leaves open shows whether the rest has the form of a URI.
	host, port, _ := strings.Cut(authority, ":")
	probe := scheme + "://" + strings.TrimPrefix(strings.TrimPrefix(authority, "*"), ".")
	if hasPath {
		probe += "/" + strings.ReplaceAll(strings.ReplaceAll(path, "**", "x"), "*", "x")
	}
	c, err := identity.Identifier{Type: identity.URI, Value: probe}.Canonical()
	if err != nil {
		return uriPattern{}, err
	}
	if c.Value != probe {
		return uriPattern{}, errors.New("it is not in canonical form: lower-case scheme and host, no default port")
	}
	p := uriPattern{scheme: scheme, port: port, host: host}
	if hasPath {
		p.segments = strings.Split(path, "/")
	}
	for i, s := range p.segments {
		if strings.Contains(s, "*") && s != "*" && (s != "**" || i < len(p.segments)-1) {
			return uriPattern{}, errors.New(`"*" is a whole segment, "**" the whole last one`)
		}
	}
	return p, p.compileHost()
}

// compileHost takes the host as a trust domain or as a dns pattern.
func (p *uriPattern) compileHost() error {
	if p.scheme == "spiffe" {
		if strings.HasPrefix(p.host, "*") || strings.HasPrefix(p.host, ".") {
			return errors.New("a trust domain is exact")
		}
		return nil
	}
	if err := checkDNSPattern(p.host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	var err error
	p.hosts, err = compile(identity.Names{DNS: []string{p.host}})
	return err
}

// covers judges a canonical URI.
func (p uriPattern) covers(u *url.URL) (bool, error) {
	if u.Scheme != p.scheme || u.Port() != p.port || u.RawQuery != "" || u.ForceQuery || u.Opaque != "" || u.User != nil {
		return false, nil
	}
	if p.hosts == nil && u.Hostname() != p.host {
		return false, nil
	}
	if p.hosts != nil {
		if ok, err := p.hosts.coversDNS(u.Hostname()); !ok || strings.Contains(u.Hostname(), "*") {
			return false, err
		}
	}
	return p.coversPath(u.EscapedPath()), nil
}

func (p uriPattern) coversPath(path string) bool {
	if path == "" || p.segments == nil {
		return path == "" && p.segments == nil
	}
	have := strings.Split(path[1:], "/")
	for i, want := range p.segments {
		switch {
		case i >= len(have):
			return false
		case want == "**":
			return !slices.Contains(have[i:], "")
		case want == "*" && have[i] == "", want != "*" && want != have[i]:
			return false
		}
	}
	return len(have) == len(p.segments)
}

// mailbox is a certificate with one mailbox: the name engine judges mailboxes
// only in certificates. Its patterns are in lower case.
func mailbox(address string) *x509.Certificate {
	return &x509.Certificate{EmailAddresses: []string{strings.ToLower(address)}}
}
