// Package tlsalpn01 validates the challenge tls-alpn-01 (RFC 8737) for DNS names
// and IP addresses (RFC 8738 §6): a TLS handshake with the protocol "acme-tls/1",
// in which the target shows a self-signed certificate for exactly the identifier,
// with the key authorization's digest in the critical extension acmeIdentifier.
package tlsalpn01

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

// Protocol is the ALPN protocol (RFC 8737 §6.2).
const Protocol = "acme-tls/1"

// Config of a Validator.
type Config struct {
	Egress *egress.Client
	// Port that is connected to; 0: 443. The egress client must allow it.
	Port int
}

// Validator of tls-alpn-01.
type Validator struct {
	egress *egress.Client
	port   int
}

// New is a Validator for cfg.
func New(cfg Config) *Validator {
	v := &Validator{egress: cfg.Egress, port: cfg.Port}
	if v.port == 0 {
		v.port = 443
	}
	return v
}

// Type is "tls-alpn-01".
func (*Validator) Type() string { return challenge.TLSALPN01 }

// Offers tells that DNS names and IP addresses can be proven, wildcards not.
func (*Validator) Offers(id identity.Identifier, wildcard bool) bool {
	return !wildcard && (id.Type == identity.DNS || id.Type == identity.IP)
}

// Validate makes the handshake once and looks at the certificate.
func (v *Validator) Validate(ctx context.Context, target challenge.Target) (challenge.Evidence, error) {
	if err := challenge.Refuse(v, target); err != nil {
		return challenge.Evidence{}, err
	}
	name, err := serverName(target.Identifier)
	if err != nil {
		return challenge.Evidence{}, &challenge.Error{Type: challenge.Malformed, Host: target.Identifier.Value, Detail: err.Error(), Err: err}
	}
	conn, tried, err := v.egress.DialTLS(ctx, target.Identifier.Value, v.port, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: name, NextProtos: []string{Protocol}, SessionTicketsDisabled: true,
		// The certificate is self-signed by definition: judge looks at it.
		InsecureSkipVerify: true, //nolint:gosec // see above
	})
	evidence := challenge.Evidence{Hops: []egress.Hop{{Host: target.Identifier.Value, Port: v.port, Addresses: tried}}}
	if err != nil {
		return evidence, challenge.FromEgress(challenge.TLSALPN01, err)
	}
	defer func() { _ = conn.Close() }()
	kind, what, hint := judge(conn.ConnectionState(), target)
	if what == "" {
		return evidence, nil
	}
	at := egress.Error{Host: target.Identifier.Value, Port: v.port, Addresses: tried}
	return evidence, &challenge.Error{
		Type: kind, Host: at.Host, Port: at.Port, Addresses: tried,
		Detail: fmt.Sprintf("%s: %s: %s", challenge.TLSALPN01, at.Target(), what), Hint: hint,
	}
}

// serverName is the name that the handshake asks for: of an IP address its reverse
// name (RFC 8738 §6), without the last dot.
func serverName(id identity.Identifier) (string, error) {
	if id.Type == identity.DNS {
		return id.Value, nil
	}
	addr, err := netip.ParseAddr(id.Value)
	if err != nil {
		return "", err
	}
	name, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return "", err
	}
	return name[:len(name)-1], nil
}
