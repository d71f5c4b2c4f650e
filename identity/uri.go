package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Characters of RFC 3986 §2 and §3.3.
const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	unreserved   = alphanumeric + "-._~"
	pathChars    = unreserved + "!$&'()*+,;=:@/"
	queryChars   = pathChars + "?"
)

// defaultPorts are those that a canonical URI leaves out.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ldap": "389", "ldaps": "636"}

func canonicalURI(text string) (string, error) {
	if len(text) == 0 || len(text) > 2048 {
		return "", fmt.Errorf("URI of %d octets: 1 to 2048 are allowed", len(text))
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return "", fmt.Errorf("%.64q has a character that is not printable ASCII", text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Opaque != "" {
		return "", fmt.Errorf("%.64q is not an absolute URI with a host", text)
	}
	if u.User != nil || strings.Contains(text, "#") {
		return "", fmt.Errorf("%.64q has user information or a fragment", text)
	}
	if u.Scheme == "spiffe" {
		return canonicalSPIFFE(text, u)
	}
	authority, err := canonicalAuthority(u)
	if err != nil {
		return "", fmt.Errorf("%.64q: %w", text, err)
	}
	// What stands behind the authority is taken from the text: url.URL writes some
	// characters another way than they came.
	_, rest, _ := strings.Cut(text, "://")
	path, err := canonicalPath(rest[min(len(u.Host), len(rest)):])
	if err != nil {
		return "", fmt.Errorf("%.64q: %w", text, err)
	}
	return u.Scheme + "://" + authority + path, nil
}

// canonicalPath is path and query.
func canonicalPath(text string) (string, error) {
	path, query, hasQuery := strings.Cut(text, "?")
	path, err := canonicalEscapes(path, pathChars)
	if err != nil {
		return "", err
	}
	if err := checkSegments(path); err != nil || !hasQuery {
		return path, err
	}
	if query == "" {
		return "", errors.New("empty query")
	}
	query, err = canonicalEscapes(query, queryChars)
	return path + "?" + query, err
}

// canonicalAuthority is host and port.
func canonicalAuthority(u *url.URL) (string, error) {
	if strings.Contains(u.Host, "%") {
		return "", errors.New("the host has an escape or zone")
	}
	host, err := canonicalHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" && !strings.HasSuffix(u.Host, ":") || port != "" && port == defaultPorts[u.Scheme] {
		return host, nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("port %.8q is not 1 to 65535", port)
	}
	return host + ":" + port, nil
}

// canonicalHost is a DNS name or an address; an IPv6 address stands in brackets.
func canonicalHost(host string, brackets bool) (string, error) {
	addr, err := netip.ParseAddr(host)
	switch {
	case brackets && (err != nil || !addr.Is6() || addr.Is4In6()):
		return "", errors.New("the host in brackets is not an IPv6 address")
	case brackets:
		return "[" + addr.String() + "]", nil
	case err == nil:
		return addr.String(), nil
	}
	if host, err = canonicalDNS(host); err != nil {
		return "", fmt.Errorf("host: %w", err)
	}
	if strings.HasPrefix(host, "*") {
		return "", errors.New("the host is a wildcard")
	}
	return host, nil
}

// canonicalEscapes writes escapes in upper case, and none for a character that
// needs none. An escaped slash, percent sign or control character reads one way
// here and another there, and is refused.
func canonicalEscapes(text, allowed string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' {
			if strings.IndexByte(allowed, c) < 0 {
				return "", fmt.Errorf("%q must be escaped", c)
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(text) {
			return "", errors.New("an escape is cut off")
		}
		n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%q is not an escape", text[i:i+3])
		}
		i += 2
		switch c := byte(n); {
		case c < ' ' || c == 0x7f || c == '/' || c == '\\' || c == '%':
			return "", fmt.Errorf("an escaped %q is not allowed", c)
		case strings.IndexByte(unreserved, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), nil
}

// checkSegments refuses a path whose segments could be taken away: empty ones
// but the last, "." and "..".
func checkSegments(path string) error {
	if path == "" {
		return nil
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			return errors.New("an empty or relative path segment")
		}
	}
	return nil
}

// canonicalSPIFFE holds the SPIFFE-ID specification §2: no port, query or escape,
// trust domain of lower-case letters, digits, "-", "_" and ".", path segments
// of letters, digits, "-", "_" and ".", none empty, "." or "..".
func canonicalSPIFFE(text string, u *url.URL) (string, error) {
	domain := strings.ToLower(u.Host)
	if strings.ContainsAny(text, "%?") || strings.Contains(domain, ":") {
		return "", fmt.Errorf("SPIFFE ID %.64q has a port, query or escape", text)
	}
	if strings.Trim(domain, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(domain) > 255 {
		return "", fmt.Errorf("SPIFFE ID %.64q: trust domain has characters beyond a-z, 0-9, \"-\", \"_\", \".\"", text)
	}
	if u.Path == "" {
		return "spiffe://" + domain, nil
	}
	for _, segment := range strings.Split(u.Path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", fmt.Errorf("SPIFFE ID %.64q has an empty or relative path segment", text)
		}
		if strings.Trim(segment, alphanumeric+"-_.") != "" {
			return "", fmt.Errorf("SPIFFE ID %.64q: path segment has characters beyond letters, digits, \"-\", \"_\", \".\"", text)
		}
	}
	return "spiffe://" + domain + u.Path, nil
}
