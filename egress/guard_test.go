package egress

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/certwright/certwright/egress/egresstest"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestJudge(t *testing.T) {
	open := Config{}
	inside := Config{Allow: prefixes("10.0.0.0/8", "127.0.0.0/8", "fd12::/16")}
	wide := Config{Allow: prefixes("0.0.0.0/0", "::/0")}
	denied := Config{Deny: prefixes("127.0.0.2/32", "192.0.2.0/24", "2001:db8:bad::/48")}
	tests := []struct {
		name string
		cfg  Config
		addr string
		why  string // part of the reason; "" is allowed
	}{
		{"public", open, "192.0.2.1", ""},
		{"public v6", open, "2001:db8::1", ""},
		{"private", open, "10.1.2.3", ""},
		{"private v6", open, "fd12:3456::1", ""},
		{"loopback", open, "127.0.0.1", ""},
		{"loopback v6", open, "::1", ""},
		{"NAT64 of a good one", open, "64:ff9b::c000:201", ""},
		{"metadata", open, "169.254.169.254", "metadata"},
		{"metadata of ECS", open, "169.254.170.2", "link-local"},
		{"metadata v6", open, "fd00:ec2::254", "metadata"},
		{"metadata of others", open, "100.100.100.200", "metadata"},
		{"link-local v6", open, "fe80::1", "link-local"},
		{"zone", open, "fe80::1%lo", "zone"},
		{"zone of another", open, "2001:db8::1%lo", "zone"},
		{"unspecified", open, "0.0.0.0", "unspecified"},
		{"this network", open, "0.1.2.3", "unspecified"},
		{"unspecified v6", open, "::", "unspecified"},
		{"multicast", open, "224.0.0.1", "multicast"},
		{"multicast v6", open, "ff02::1", "multicast"},
		{"broadcast", open, "255.255.255.255", "broadcast"},
		{"reserved", open, "240.0.0.1", "reserved"},
		{"mapped metadata", open, "::ffff:169.254.169.254", "metadata"},
		{"compatible metadata", open, "::169.254.169.254", "metadata"},
		{"translated metadata", open, "::ffff:0:169.254.169.254", "metadata"},
		{"NAT64 metadata", open, "64:ff9b::a9fe:a9fe", "metadata"},
		{"NAT64 of local use", open, "64:ff9b:1::1", "NAT64"},
		{"6to4 metadata", open, "2002:a9fe:a9fe::1", "metadata"},
		{"Teredo client metadata", open, "2001:0:c000:201::5601:5601", "metadata"},
		{"Teredo server metadata", open, "2001:0:a9fe:a9fe::3fff:fdfe", "metadata"},
		{"ISATAP metadata", open, "2001:db8::5efe:a9fe:a9fe", "metadata"},
		{"ISATAP metadata, global", open, "2001:db8::200:5efe:a9fe:a9fe", "metadata"},

		{"in the allowed", inside, "10.1.2.3", ""},
		{"mapped in the allowed", inside, "::ffff:10.1.2.3", ""},
		{"outside of the allowed", inside, "172.16.0.1", "none of the allowed"},
		{"v6 outside of the allowed", inside, "::1", "none of the allowed"},
		{"allow opens no metadata", wide, "169.254.169.254", "metadata"},
		{"allow opens no mapped metadata", wide, "::ffff:169.254.169.254", "metadata"},
		{"allow opens no link-local", wide, "fe80::1", "link-local"},
		{"allow opens no multicast", wide, "ff02::1", "multicast"},

		{"denied", denied, "127.0.0.2", "denied network 127.0.0.2/32"},
		{"beside the denied", denied, "127.0.0.3", ""},
		{"mapped denied", denied, "::ffff:192.0.2.9", "denied"},
		{"NAT64 denied", denied, "64:ff9b::192.0.2.9", "denied"},
		{"6to4 denied", denied, "2002:c000:209::1", "denied"},
		{"v6 denied", denied, "2001:db8:bad::1", "denied"},
		{"deny wins", Config{Allow: prefixes("10.0.0.0/8"), Deny: prefixes("10.9.0.0/16")}, "10.9.1.1", "denied"},
		{"deny of a mapped network", Config{Deny: prefixes("::ffff:10.9.0.0/112")}, "10.9.1.1", "denied"},
		{"deny of NAT64 itself", Config{Deny: prefixes("64:ff9b::/96")}, "64:ff9b::c000:201", "denied"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := New(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			why := c.guard.judge(netip.MustParseAddr(test.addr))
			if (why == "") != (test.why == "") || !strings.Contains(why, test.why) {
				t.Errorf("%s: %q, want %q", test.addr, why, test.why)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"port":     {Ports: []int{0}},
		"timeout":  {Timeout: -1},
		"bytes":    {MaxBytes: -1},
		"network":  {Allow: []netip.Prefix{{}}},
		"mapped":   {Deny: prefixes("::ffff:0.0.0.0/90")},
		"resolver": {Resolver: "127.0.0.1"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is let pass", name)
		}
	}
}

// TestPeerIsJudgedAgain goes around the first judgement: the socket's own check is
// the last one.
func TestPeerIsJudgedAgain(t *testing.T) {
	denied := egresstest.Canary(t, "127.0.0.2:0")
	c, err := New(Config{Deny: prefixes("127.0.0.2/32"), Ports: []int{int(denied.Port())}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := withTimeout(t, c)
	defer cancel()
	for _, addr := range []string{"127.0.0.2", "::ffff:127.0.0.2"} {
		if conn, err := c.connect(ctx, netip.MustParseAddr(addr), int(denied.Port()), 1); err == nil {
			conn.Close()
			t.Errorf("%s was connected to", addr)
		}
	}
}

// FuzzJudge holds that whatever the form, an address through which a refused IPv4
// address is reached is refused.
func FuzzJudge(f *testing.F) {
	for _, addr := range []string{"169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::1", "2002::1", "::1", "2001::"} {
		f.Add(netip.MustParseAddr(addr).AsSlice())
	}
	c, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		why, plain := c.guard.judge(addr), c.guard.judge(addr.Unmap())
		if (why == "") != (plain == "") {
			t.Errorf("%s: %q, unmapped %q", addr, why, plain)
		}
		for _, a := range c.guard.reaches(addr) {
			if a.Is4In6() || !a.IsValid() {
				t.Errorf("%s reaches %s", addr, a)
			}
			if why == "" && (a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()) {
				t.Errorf("%s reaches %s and is let pass", addr, a)
			}
		}
	})
}
