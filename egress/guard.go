package egress

import (
	"fmt"
	"net/netip"
)

// refusal is a network that is never contacted, and its name.
type refusal struct {
	prefix netip.Prefix
	name   string
}

// refusals are contacted under no configuration. The metadata addresses outside
// of link-local space are those of the cloud providers that document one.
func refusals() []refusal {
	must := netip.MustParsePrefix
	return []refusal{
		{must("169.254.169.254/32"), "a cloud metadata address"},
		{must("169.254.0.0/16"), "link-local"},
		{must("0.0.0.0/8"), "unspecified"},
		{must("255.255.255.255/32"), "broadcast"},
		{must("224.0.0.0/4"), "multicast"},
		{must("240.0.0.0/4"), "reserved"},
		{must("100.100.100.200/32"), "a cloud metadata address"},
		{must("168.63.129.16/32"), "a cloud metadata address"},
		{must("192.0.0.192/32"), "a cloud metadata address"},
		{must("::/128"), "unspecified"},
		{must("fd00:ec2::254/128"), "a cloud metadata address"},
		{must("fd00:ec2::/32"), "a cloud metadata network"},
		{must("fd20:ce::254/128"), "a cloud metadata address"},
		{must("fe80::/10"), "link-local"},
		{must("fec0::/10"), "site-local"},
		{must("ff00::/8"), "multicast"},
		{must("64:ff9b:1::/48"), "NAT64 of local use, whose IPv4 address cannot be told"},
		{must("100::/64"), "discard-only"},
		{must("5f00::/16"), "a segment routing identifier"},
	}
}

// guard judges addresses.
type guard struct {
	allow, deny []netip.Prefix
	refuse      []refusal
	embedded    []embedding
}

// normalize brings the configured networks into the form in which addresses are
// compared: masked and unmapped.
func (g *guard) normalize() error {
	g.refuse, g.embedded = refusals(), embeddings()
	for _, list := range [][]netip.Prefix{g.allow, g.deny} {
		for i, p := range list {
			if !p.IsValid() {
				return fmt.Errorf("egress: network %d is not a prefix", i+1)
			}
			if p.Addr().Is4In6() {
				if p.Bits() < 96 {
					return fmt.Errorf("egress: network %s: write it as IPv4", p)
				}
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			list[i] = p.Masked()
		}
	}
	return nil
}

// judge says why the address may not be contacted; "" if it may. Every IPv4
// address inside it is judged as well, and Deny also by the form in which it is
// written.
func (g *guard) judge(addr netip.Addr) string {
	if !addr.IsValid() {
		return "not an address"
	}
	if addr.Zone() != "" {
		return "an address with a zone is link-local"
	}
	for _, p := range g.deny {
		if p.Contains(addr) {
			return "in the denied network " + p.String()
		}
	}
	for _, a := range g.reaches(addr) {
		if why := g.judgeOne(a); why != "" {
			if a != addr {
				why = "it stands for " + a.String() + ", " + why
			}
			return why
		}
	}
	return ""
}

func (g *guard) judgeOne(addr netip.Addr) string {
	for _, r := range g.refuse {
		if r.prefix.Contains(addr) {
			return r.name + ", which is never contacted"
		}
	}
	for _, p := range g.deny {
		if p.Contains(addr) {
			return "in the denied network " + p.String()
		}
	}
	for _, p := range g.allow {
		if p.Contains(addr) {
			return ""
		}
	}
	if len(g.allow) > 0 {
		return "in none of the allowed networks"
	}
	return ""
}

// embedding is a form of IPv6 address that has an IPv4 address inside.
type embedding struct {
	prefix netip.Prefix
	at     []int // where the IPv4 addresses stand
	flip   bool  // the last of them stands with its bits inverted
}

// embeddings are, in order: IPv4-mapped and IPv4-compatible (RFC 4291 §2.5.5),
// IPv4-translated (RFC 2765 §2.1), NAT64 (RFC 6052 §2.1), 6to4 (RFC 3056 §2),
// Teredo, with server and client (RFC 4380 §4).
func embeddings() []embedding {
	must := netip.MustParsePrefix
	return []embedding{
		{must("::ffff:0:0/96"), []int{12}, false},
		{must("::/96"), []int{12}, false},
		{must("::ffff:0:0:0/96"), []int{12}, false},
		{must("64:ff9b::/96"), []int{12}, false},
		{must("2002::/16"), []int{2}, false},
		{must("2001::/32"), []int{4, 12}, true},
	}
}

// reaches returns the addresses that a packet to addr may arrive at: the IPv4
// addresses inside it, else addr itself; of ISATAP (RFC 5214 §6.1) both.
func (g *guard) reaches(addr netip.Addr) []netip.Addr {
	if addr.Is4() || addr == netip.IPv6Unspecified() || addr == netip.IPv6Loopback() {
		return []netip.Addr{addr}
	}
	b := addr.As16()
	inside := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	for _, e := range g.embedded {
		// Prefix.Contains has nothing mapped in it: its form is told by netip.
		if !e.prefix.Contains(addr) && (!addr.Is4In6() || !e.prefix.Addr().Is4In6()) {
			continue
		}
		if e.flip {
			for i := 12; i < 16; i++ {
				b[i] = ^b[i]
			}
		}
		var out []netip.Addr
		for _, at := range e.at {
			out = append(out, inside(at))
		}
		return out
	}
	if b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return []netip.Addr{addr, inside(12)}
	}
	return []netip.Addr{addr}
}
