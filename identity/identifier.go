package identity

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// IdentifierType is the kind of name an Identifier holds (RFC 8555 §9.7.7 and
// the GeneralName choices of RFC 5280 §4.2.1.6).
type IdentifierType string

// The identifier types that can be issued.
const (
	DNS   IdentifierType = "dns"
	IP    IdentifierType = "ip"
	URI   IdentifierType = "uri"
	Email IdentifierType = "email"
)

// Identifier is one name of a certificate. Two identifiers name the same thing
// exactly if they are equal after Canonical.
type Identifier struct {
	Type  IdentifierType
	Value string
}

// String is "type:value".
func (i Identifier) String() string { return string(i.Type) + ":" + i.Value }

// Wildcard tells whether this is a DNS name whose leftmost label is "*".
func (i Identifier) Wildcard() bool {
	return i.Type == DNS && strings.HasPrefix(i.Value, "*.")
}

// Canonical is the one form in which the identifier is compared, judged, signed
// and stored, or an error that says which rule of form it breaks. DNS names:
// letters, digits and hyphens, lower case, no trailing dot, labels of at most 63
// and names of at most 253 octets, valid A-labels, "*" only as the whole
// leftmost label, nothing that reads as an IP address. IP: netip's form, unmapped,
// no zone. URI (RFC 3986 §6.2.2): absolute, with lower-case scheme and a DNS name
// or address as host, no user information, no default port, no fragment, no
// empty or relative path segments, escapes in upper case and only where they are
// needed; SPIFFE IDs besides as their specification says. Email: dot-atom and
// canonical domain (RFC 5321 §4.1.2).
func (i Identifier) Canonical() (Identifier, error) {
	var value string
	var err error
	switch i.Type {
	case DNS:
		value, err = canonicalDNS(i.Value)
	case IP:
		value, err = canonicalIP(i.Value)
	case URI:
		value, err = canonicalURI(i.Value)
	case Email:
		value, err = canonicalEmail(i.Value)
	default:
		return Identifier{}, fmt.Errorf("identifier type %.32q is not one of dns, ip, uri, email", i.Type)
	}
	if err != nil {
		return Identifier{}, err
	}
	return Identifier{Type: i.Type, Value: value}, nil
}

// CanonicalSet brings all identifiers into canonical form, sorted by type and
// value, each once.
func CanonicalSet(ids []Identifier) ([]Identifier, error) {
	out := make([]Identifier, 0, len(ids))
	for _, id := range ids {
		c, err := id.Canonical()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id.Type, err)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Identifier) int {
		if c := strings.Compare(string(a.Type), string(b.Type)); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return slices.Compact(out), nil
}

func canonicalDNS(name string) (string, error) {
	if len(name) == 0 || len(name) > 253 {
		return "", fmt.Errorf("name of %d octets: 1 to 253 are allowed", len(name))
	}
	// Before lower-casing: the Kelvin sign has the lower case "k".
	if i := strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		return "", fmt.Errorf("%.253q has a character that is not ASCII: write IDN as A-labels", name)
	}
	lower := strings.ToLower(name)
	rest := strings.TrimPrefix(lower, "*.")
	if _, err := netip.ParseAddr(rest); err == nil {
		return "", fmt.Errorf("%q is an IP address, not a DNS name", name)
	}
	labels := strings.Split(rest, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", fmt.Errorf("%.253q: %w", name, err)
		}
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return "", fmt.Errorf("%.253q: the last label is a number, which reads as an IP address", name)
	}
	return lower, nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("empty label (a leading, trailing or doubled dot)")
	case len(label) > 63:
		return fmt.Errorf("label of %d octets: 63 are allowed", len(label))
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("label %q begins or ends with a hyphen", label)
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("label %q has %q: only letters, digits and hyphens are allowed (IDN as A-labels, \"*\" only as the whole leftmost label)", label, c)
		}
	}
	if len(label) >= 4 && label[2:4] == "--" {
		return checkALabel(label)
	}
	return nil
}

func canonicalIP(text string) (string, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", fmt.Errorf("%.64q is not an IP address", text)
	}
	if addr.Zone() != "" {
		return "", fmt.Errorf("%.64q has a zone", text)
	}
	return addr.Unmap().String(), nil
}

func canonicalEmail(text string) (string, error) {
	local, domain, ok := strings.Cut(text, "@")
	if len(text) > 254 || !ok || local == "" || len(local) > 64 || strings.Contains(domain, "@") {
		return "", fmt.Errorf("%.64q is not a mailbox", text)
	}
	if strings.Trim(local, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.") != "" ||
		local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return "", fmt.Errorf("%.64q: the local part is not a dot-atom (RFC 5321 §4.1.2)", text)
	}
	host, err := canonicalDNS(domain)
	if err != nil || strings.HasPrefix(host, "*") {
		return "", fmt.Errorf("%.64q: the domain is not a DNS name", text)
	}
	return local + "@" + host, nil
}
