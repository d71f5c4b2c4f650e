// Package http01 validates the challenge http-01 (RFC 8555 §8.3) for DNS names and
// IP addresses (RFC 8738 §4): a GET of /.well-known/acme-challenge/TOKEN, redirects
// followed under egress's rules, whose answer is 200 and the key authorization.
package http01

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

// Config of a Validator.
type Config struct {
	Egress *egress.Client
	// Port of the first request; 0: 80. The egress client must allow it.
	Port int
}

// Validator of http-01.
type Validator struct {
	egress *egress.Client
	port   int
}

// New is a Validator for cfg.
func New(cfg Config) *Validator {
	v := &Validator{egress: cfg.Egress, port: cfg.Port}
	if v.port == 0 {
		v.port = 80
	}
	return v
}

// Type is "http-01".
func (*Validator) Type() string { return challenge.HTTP01 }

// Offers tells that DNS names and IP addresses can be proven, wildcards not.
func (*Validator) Offers(id identity.Identifier, wildcard bool) bool {
	return !wildcard && (id.Type == identity.DNS || id.Type == identity.IP)
}

// Validate fetches the key authorization once.
func (v *Validator) Validate(ctx context.Context, target challenge.Target) (challenge.Evidence, error) {
	if err := challenge.Refuse(v, target); err != nil {
		return challenge.Evidence{}, err
	}
	res, err := v.egress.Get(ctx, v.url(target), egress.Options{
		UserAgent: "certwright (http-01 validation)",
		// A target that asks for its first certificate cannot have one that
		// verifies; what is proven is control of the name's address.
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, //nolint:gosec // see above
	})
	if err != nil {
		return challenge.EvidenceOf(err), challenge.FromEgress(challenge.HTTP01, err)
	}
	return challenge.Evidence{Hops: res.Hops}, judge(res, target)
}

// url is the challenge's (RFC 8555 §8.3); an IPv6 address stands in brackets.
func (v *Validator) url(target challenge.Target) string {
	host := target.Identifier.Value
	if v.port != 80 {
		host = net.JoinHostPort(host, strconv.Itoa(v.port))
	} else if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	u := url.URL{Scheme: "http", Host: host, Path: "/.well-known/acme-challenge/" + target.Token}
	return u.String()
}

// judge compares the answer with the key authorization. White space at its end is
// let pass (RFC 8555 §8.3).
func judge(res *egress.Response, target challenge.Target) error {
	last := res.Hops[len(res.Hops)-1]
	fail := func(kind challenge.ErrorType, what, hint string) error {
		at := egress.Error{Host: last.Host, Port: last.Port, Addresses: last.Addresses, Hops: res.Hops[:len(res.Hops)-1]}
		return &challenge.Error{
			Type: kind, Host: last.Host, Port: last.Port, Addresses: last.Addresses,
			Detail: fmt.Sprintf("%s: %s: %s", challenge.HTTP01, at.Target(), what), Hint: hint,
		}
	}
	if res.Status != http.StatusOK {
		return fail(challenge.Unauthorized, fmt.Sprintf("status %d, expected 200", res.Status),
			"serve the key authorization at /.well-known/acme-challenge/"+target.Token)
	}
	body := bytes.TrimRight(res.Body, " \t\r\n")
	if res.Truncated || subtle.ConstantTimeCompare(body, []byte(target.KeyAuthorization)) != 1 {
		size := fmt.Sprintf("%d octets", len(res.Body))
		if res.Truncated {
			size = "more than " + size
		}
		if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
			size += ", compressed"
		}
		return fail(challenge.IncorrectResponse,
			fmt.Sprintf("the body (%s) is not the key authorization (%d octets)", size, len(target.KeyAuthorization)),
			"serve the key authorization of this token and this account, uncompressed and nothing else")
	}
	return nil
}
