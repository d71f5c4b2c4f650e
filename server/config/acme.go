package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/certwright/certwright/identity"
)

// acme checks the section acme.
func (v *validator) acme(a *ACME) {
	v.oneOf("acme.eab", a.EAB, "required", "optional", Off)
	v.between("acme.http01_port", a.HTTP01Port, 1, 65535)
	v.between("acme.tlsalpn01_port", a.TLSALPN01Port, 1, 65535)
	if a.Resolver != "" {
		host, port, err := net.SplitHostPort(a.Resolver)
		_, perr := strconv.ParseUint(port, 10, 16)
		v.check(err == nil && perr == nil && host != "", "acme.resolver", "%.128q is not host:port, such as 10.0.0.53:53", a.Resolver)
	}
	v.networks("acme.networks", a.Networks)
	v.check(len(a.Challenges) > 0, "acme.challenges", "at least one type is needed")
	for i, kind := range a.Challenges {
		v.oneOf("acme.challenges", kind, Default().ACME.Challenges...)
		v.check(!slices.Contains(a.Challenges[:i], kind), "acme.challenges", "%.32q stands twice", kind)
	}
	v.oneOf("acme.caa", a.CAA, "check", Off)
	for _, name := range a.CAAIdentities {
		_, err := identity.Identifier{Type: identity.DNS, Value: name}.Canonical()
		v.check(err == nil, "acme.caa_identities", "%v", err)
	}
	v.link("acme.terms_of_service", a.TermsOfService)
	v.link("acme.website", a.Website)
	v.between("acme.limits.accounts", a.Limits.Accounts, -1, maxPerHour)
	v.between("acme.limits.orders", a.Limits.Orders, -1, maxPerHour)
	v.between("acme.limits.orders_per_name", a.Limits.OrdersPerName, -1, maxPerHour)
	v.between("acme.limits.failures", a.Limits.Failures, -1, maxPerHour)
	for key, n := range map[string]int{
		"accounts": a.Limits.Accounts, "orders": a.Limits.Orders, "orders_per_name": a.Limits.OrdersPerName, "failures": a.Limits.Failures,
	} {
		v.check(n != 0, "acme.limits."+key, "0 would allow nothing: -1 is no limit")
	}
}

const maxPerHour = 1_000_000_000

// link checks a URL that clients are shown.
func (v *validator) link(key, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	v.check(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "", key, "%.128q is not a URL", text)
}

// Prefixes are networks in CIDR notation; an address alone is a network of one.
func Prefixes(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%.64q is not a network such as 10.0.0.0/8", text)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}
