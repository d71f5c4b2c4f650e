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
func refusals() [19]refusal {
	must := netip.MustParsePrefix
	return [...]refusal{
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
	refuse      [19]refusal
}

// normalize brings the configured networks into the form in which addresses are
// compared: masked and unmapped.
func (g *guard) normalize() error {
	g.refuse = refusals()
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
	for _, a := range reaches(addr) {
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

// reaches returns the addresses that a packet to addr may arrive at: the IPv4
// addresses inside it (RFC 4291 §2.5.5, RFC 6052, RFC 2765, RFC 3056, RFC 4380,
// RFC 5214), else addr itself.
func reaches(addr netip.Addr) []netip.Addr {
	if addr.Is4() {
		return []netip.Addr{addr}
	}
	b := addr.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	zero := func(from, to int) bool {
		for _, x := range b[from:to] {
			if x != 0 {
				return false
			}
		}
		return true
	}
	switch {
	case addr.Is4In6():
		return []netip.Addr{v4(12)}
	case zero(0, 8) && b[8] == 0xff && b[9] == 0xff && b[10] == 0 && b[11] == 0: // ::ffff:0:a.b.c.d
		return []netip.Addr{v4(12)}
	case zero(0, 12) && !zero(12, 15): // ::a.b.c.d; not :: and ::1
		return []netip.Addr{v4(12)}
	case b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b && zero(4, 12): // 64:ff9b::/96
		return []netip.Addr{v4(12)}
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return []netip.Addr{v4(2)}
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo: server, and client with its bits flipped
		return []netip.Addr{v4(4), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		return []netip.Addr{addr, v4(12)}
	}
	return []netip.Addr{addr}
}
