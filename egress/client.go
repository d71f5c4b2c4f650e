// Package egress is the one guarded client for whatever is fetched from
// addresses that others choose: the targets of ACME validation (RFC 8555 §8), key
// sets, webhooks. What it holds to, whoever names the target:
//
//   - A host is resolved once per connection, each address is judged (see Config),
//     and only a judged address is dialled; the socket's own peer is judged again
//     before it connects. A name that resolves otherwise a moment later changes
//     nothing.
//   - Link-local, metadata, unspecified, multicast, broadcast and reserved
//     addresses are never contacted, also not inside IPv6 (IPv4-mapped,
//     IPv4-compatible, NAT64, 6to4, Teredo, ISATAP); no configuration allows them.
//   - Only configured ports; http and https only; no credentials in URLs; no
//     proxy, cookies, keep-alive or decompression; each redirect is a new target
//     under the same rules.
//   - Sizes, redirects, records, aliases and times are bounded.
//   - Errors name the host, the addresses, the port, what happened and what to do,
//     and nothing of what was fetched.
package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The defaults of Config.
const (
	DefaultTimeout      = 10 * time.Second
	DefaultMaxBytes     = 1 << 10
	DefaultMaxRedirects = 10
)

// Config says what may be contacted, and how much of it is read.
type Config struct {
	// Allow are the networks that may be contacted; empty: all, private and
	// loopback ones included, as an internal CA needs. It never opens what is
	// refused always (see the package comment). The IPv4 address inside an IPv6
	// address decides.
	Allow []netip.Prefix
	// Deny are networks that may not be contacted; they win over Allow.
	Deny []netip.Prefix
	// Ports that may be contacted by http, https and Dial; empty: 80 and 443.
	Ports []int
	// Resolver is the DNS server as "address:port"; empty: the name servers of
	// /etc/resolv.conf, after /etc/hosts for addresses. It is the administrator's
	// choice and therefore outside Allow and Deny.
	Resolver string
	// Timeout bounds each call as a whole: lookups, connections, redirects and
	// reading; 0: 10 s.
	Timeout time.Duration
	// MaxBytes of a body are read; 0: 1 KiB.
	MaxBytes int
	// MaxRedirects are followed; 0: 10; negative: none.
	MaxRedirects int
}

// Client fetches under the rules of its Config. It is safe for concurrent use and
// keeps no connections.
type Client struct {
	guard        guard
	ports        []int
	resolver     resolver
	timeout      time.Duration
	maxBytes     int
	maxRedirects int
}

// New is a Client for cfg, or an error that names the field that is wrong.
func New(cfg Config) (*Client, error) {
	c := &Client{
		guard:        guard{allow: slices.Clone(cfg.Allow), deny: slices.Clone(cfg.Deny)},
		ports:        slices.Clone(cfg.Ports),
		timeout:      cfg.Timeout,
		maxBytes:     cfg.MaxBytes,
		maxRedirects: max(cfg.MaxRedirects, 0),
	}
	if err := c.guard.normalize(); err != nil {
		return nil, err
	}
	if len(c.ports) == 0 {
		c.ports = []int{80, 443}
	}
	for _, port := range c.ports {
		if port < 1 || port > 65535 {
			return nil, fmt.Errorf("egress: port %d is not between 1 and 65535", port)
		}
	}
	if cfg.Timeout < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("egress: timeout %s and %d bytes: neither may be negative", cfg.Timeout, cfg.MaxBytes)
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.maxBytes == 0 {
		c.maxBytes = DefaultMaxBytes
	}
	if cfg.MaxRedirects == 0 {
		c.maxRedirects = DefaultMaxRedirects
	}
	var err error
	c.resolver, err = newResolver(cfg.Resolver)
	return c, err
}
