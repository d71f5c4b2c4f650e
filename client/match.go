package client

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Match tells by its certificate whether a peer is accepted; nil is yes. It is asked
// after the certificate was found to lead to the CA's roots, at every handshake, also
// of a resumed session.
type Match func(leaf *x509.Certificate) error

// AnyPeer accepts whoever has a certificate of the CA.
func AnyPeer(*x509.Certificate) error { return nil }

// WithURI accepts a certificate that has one of these URIs, letter by letter: SPIFFE
// IDs, as in spiffe://internal/ns/web/sa/api.
func WithURI(ids ...string) Match {
	return func(leaf *x509.Certificate) error {
		var has []string
		for _, u := range leaf.URIs {
			if slices.Contains(ids, u.String()) {
				return nil
			}
			has = append(has, u.String())
		}
		return unexpected("URIs", has, ids)
	}
}

// WithinURI accepts a certificate that has a URI below one of these, whose last
// character is a slash: spiffe://internal/ns/web/.
func WithinURI(prefixes ...string) Match {
	return func(leaf *x509.Certificate) error {
		var has []string
		for _, u := range leaf.URIs {
			for _, prefix := range prefixes {
				if rest, ok := strings.CutPrefix(u.String(), prefix); ok && rest != "" && strings.HasSuffix(prefix, "/") {
					return nil
				}
			}
			has = append(has, u.String())
		}
		return unexpected("URIs", has, prefixes)
	}
}

// WithHost accepts a certificate that is valid for one of these DNS names or IP
// addresses.
func WithHost(names ...string) Match {
	return func(leaf *x509.Certificate) error {
		for _, name := range names {
			if leaf.VerifyHostname(name) == nil {
				return nil
			}
		}
		has := leaf.DNSNames
		for _, ip := range leaf.IPAddresses {
			has = append(has, ip.String())
		}
		return unexpected("names", has, names)
	}
}

// AnyOf accepts what one of the matches accepts.
func AnyOf(matches ...Match) Match {
	return func(leaf *x509.Certificate) error {
		errs := make([]error, 0, len(matches))
		for _, match := range matches {
			err := match(leaf)
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

func unexpected(kind string, has, want []string) error {
	return fmt.Errorf("the peer's certificate has the %s %.256q; expected is %.256q", kind, strings.Join(has, ", "), strings.Join(want, ", "))
}
