package egress

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/egress/egresstest"
)

func TestLookupTXT(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "one.example", `TXT "a" "b;\" \\ \228"`, `TXT "second"`, "A 127.0.0.1")
	zone.Set(t, "alias.example", "CNAME next.example.")
	zone.Set(t, "next.example", "CNAME one.example.")
	zone.Set(t, "empty.example")
	zone.Set(t, "dangling.example", "CNAME nowhere.example.")
	zone.Set(t, "hollow.example", "CNAME empty.example.")
	zone.Set(t, "loop.example", "CNAME pool.example.")
	zone.Set(t, "pool.example", "CNAME loop.example.")
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf(`TXT "record %d"`, i))
	}
	zone.Set(t, "many.example", many...)
	zone.Set(t, "hundred.example", many[:100]...)
	for i := range 10 {
		zone.Set(t, fmt.Sprintf("c%d.example", i), fmt.Sprintf("CNAME c%d.example.", i+1))
	}
	zone.Set(t, "c10.example", `TXT "end"`)
	// A name server that does not follow CNAMEs itself.
	zone.Respond("lazy.example", func(q *dns.Msg, _ string) *dns.Msg {
		answer := new(dns.Msg).SetReply(q)
		answer.Answer = []dns.RR{&dns.CNAME{
			Hdr:    dns.RR_Header{Name: "LAZY.example.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET},
			Target: "One.Example.",
		}}
		return answer
	})
	c := client(t, Config{Resolver: zone.Addr})
	ab := []string{"ab;\" \\ \xe4", "second"}
	good := map[string]struct {
		at     string
		values []string
	}{
		"one.example": {"one.example", ab}, "ONE.example.": {"one.example", ab}, "alias.example": {"one.example", ab},
		"lazy.example": {"one.example", ab}, "c2.example": {"c10.example", []string{"end"}},
	}
	for name, want := range good {
		values, at, err := c.LookupTXT(t.Context(), name)
		if err != nil || at != want.at || !reflect.DeepEqual(values, want.values) {
			t.Errorf("%s: %q at %s, %v", name, values, at, err)
		}
	}
	if values, _, err := c.LookupTXT(t.Context(), "hundred.example"); err != nil || len(values) != 100 {
		t.Errorf("over TCP: %d records, %v", len(values), err)
	}
	if !slices.Contains(zone.Asked(), "hundred.example TXT tcp") {
		t.Error("a truncated answer was not asked for by TCP")
	}
	bad := map[string]string{
		"nowhere.example": "does not exist (NXDOMAIN)", "empty.example": "the name has no TXT records",
		"dangling.example": "nowhere.example does not exist", "hollow.example": "its alias empty.example has no TXT records",
		"loop.example": "more than 8 CNAMEs", "c0.example": "more than 8 CNAMEs", "many.example": "200 records",
		"": "not a DNS name", "a..example": "not a DNS name", strings.Repeat("x", 64) + ".example": "not a DNS name",
	}
	for name, part := range bad {
		_, _, err := c.LookupTXT(t.Context(), name)
		fails(t, err, StageDNS, part)
	}
}

func TestLookupAddrs(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "both.example", "A 10.0.0.1", "AAAA fd12::1", "A 10.0.0.2")
	zone.Set(t, "none.example", `TXT "x"`)
	zone.Set(t, "half.example", "A 10.0.0.3")
	zone.Respond("half.example", func(q *dns.Msg, _ string) *dns.Msg {
		answer := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeAAAA {
			answer.Rcode = dns.RcodeServerFailure
			return answer
		}
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "half.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{10, 0, 0, 3}}}
		return answer
	})
	zone.Respond("broken.example", func(q *dns.Msg, _ string) *dns.Msg {
		answer := new(dns.Msg).SetReply(q)
		answer.Rcode = dns.RcodeServerFailure
		return answer
	})
	c := client(t, Config{Resolver: zone.Addr})
	for name, want := range map[string]string{"both.example": "fd12::1, 10.0.0.1, 10.0.0.2", "half.example": "10.0.0.3"} {
		addrs, err := c.LookupAddrs(t.Context(), name)
		if err != nil || JoinAddrs(addrs) != want {
			t.Errorf("%s: %s, %v", name, addrs, err)
		}
	}
	_, err := c.LookupAddrs(t.Context(), "none.example")
	fails(t, err, StageDNS, "no A and no AAAA")
	if !IsNoRecords(err) {
		t.Error("no records are not told from a failure")
	}
	_, err = c.LookupAddrs(t.Context(), "gone.example")
	fails(t, err, StageDNS, "NXDOMAIN")
	_, err = c.LookupAddrs(t.Context(), "broken.example")
	fails(t, err, StageDNS, "SERVFAIL", zone.Addr)
	if IsNoRecords(err) {
		t.Error("a failure passes for no records")
	}
}

func TestLookupCAA(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "a.b.example", "A 127.0.0.1")
	zone.Set(t, "b.example", `CAA 0 issue "ca.example"`, `CAA 128 ISSUEWILD ";"`)
	zone.Set(t, "www.example", "CNAME b.example.")
	zone.Set(t, "free.other")
	zone.Respond("broken.test", func(q *dns.Msg, _ string) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
	c := client(t, Config{Resolver: zone.Addr})
	want := []CAA{{false, "issue", "ca.example"}, {true, "issuewild", ";"}}
	for name, at := range map[string]string{"x.a.b.example": "b.example", "b.example": "b.example", "www.example": "www.example"} {
		got, where, err := c.LookupCAA(t.Context(), name)
		if err != nil || where != at || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v at %s, %v", name, got, where, err)
		}
	}
	if got, _, err := c.LookupCAA(t.Context(), "x.free.other"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	_, _, err := c.LookupCAA(t.Context(), "x.broken.test")
	fails(t, err, StageDNS, "SERVFAIL")
}

// TestForeignAnswers has a server that answers something else: nothing of it may be
// taken for the answer.
func TestForeignAnswers(t *testing.T) {
	rr, err := dns.NewRR(`x.example. 0 IN TXT "forged"`)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]func(*dns.Msg){
		"id":          func(m *dns.Msg) { m.Id++ },
		"no response": func(m *dns.Msg) { m.Response = false },
		"name":        func(m *dns.Msg) { m.Question[0].Name = "y.example." },
		"type":        func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
		"class":       func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question": func(m *dns.Msg) { m.Question = nil },
		"opcode":      func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		"owner":       func(m *dns.Msg) { m.Answer[0].Header().Name = "other.example." },
		"rr class":    func(m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS },
		"silence":     nil,
	}
	for name, spoil := range wrong {
		t.Run(name, func(t *testing.T) {
			zone := egresstest.NewDNS(t)
			zone.Respond("x.example", func(q *dns.Msg, _ string) *dns.Msg {
				if spoil == nil {
					return nil
				}
				answer := new(dns.Msg).SetReply(q)
				answer.Question = slices.Clone(answer.Question)
				answer.Answer = []dns.RR{dns.Copy(rr)}
				spoil(answer)
				return answer
			})
			c := client(t, Config{Resolver: zone.Addr, Timeout: 200 * time.Millisecond})
			values, _, err := c.LookupTXT(t.Context(), "x.example")
			if len(values) > 0 {
				t.Errorf("%q was taken", values)
			}
			fails(t, err, StageDNS, "x.example")
		})
	}
}

func TestLookupIsCancelled(t *testing.T) {
	zone := egresstest.NewDNS(t)
	ctx, cancel := context.WithCancel(t.Context())
	zone.Respond("x.example", func(*dns.Msg, string) *dns.Msg { cancel(); return nil })
	_, _, err := client(t, Config{Resolver: zone.Addr, Timeout: time.Hour}).LookupTXT(ctx, "x.example")
	fails(t, err, StageDNS, "cancelled")
}

func TestStaticAddrs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	text := "# comment\n10.0.0.1\tweb.internal WEB # web2\nfd12::1 web.internal\nnot-an-address web\n10.0.0.9\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Web.Internal.": "10.0.0.1, fd12::1", "web": "10.0.0.1", "web2": "", "localhost": "::1, 127.0.0.1",
		"app.localhost": "::1, 127.0.0.1", "notlocalhost": "",
	} {
		if got := JoinAddrs(staticAddrs(file, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := staticAddrs(file+".gone", "web"); got != nil {
		t.Errorf("%s", got)
	}
}

// FuzzAnswer feeds the bytes of a name server to what reads them: no panic, nothing
// of another name or type, no more than is allowed.
func FuzzAnswer(f *testing.F) {
	question := new(dns.Msg).SetQuestion("x.example.", dns.TypeTXT)
	question.Id = 7
	seed := func(truncated bool, records ...string) {
		m := new(dns.Msg).SetReply(question)
		m.Truncated = truncated
		for _, record := range records {
			rr, err := dns.NewRR(record)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(wire[:len(wire)-3])
	}
	seed(false)
	seed(true, `x.example. 0 IN TXT "a" "b"`)
	seed(false, `x.example. 0 IN CNAME y.example.`, `y.example. 0 IN TXT "\255"`, `z.example. 0 IN TXT "z"`)
	seed(false, `x.example. 0 IN CNAME x.example.`)
	seed(false, `x.example. 0 IN CAA 128 issue "a;b=c"`, `x.example. 0 IN A 127.0.0.1`, `x.example. 0 IN AAAA ::ffff:1.2.3.4`)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wire []byte) {
		msg, err := parseAnswer(wire, question)
		if err != nil {
			return
		}
		left := maxAliases
		rrs, end, err := walk(msg, "x.example.", dns.TypeTXT, &left)
		if err != nil {
			return
		}
		if len(rrs) > maxRecords || left < 0 {
			t.Fatalf("%d records, %d aliases left", len(rrs), left)
		}
		for _, rr := range rrs {
			txt, ok := rr.(*dns.TXT)
			if !ok {
				t.Fatalf("%T for TXT", rr)
			}
			if dns.CanonicalName(txt.Hdr.Name) != end {
				t.Fatalf("%s under %s", txt, end)
			}
			if s := unescape(strings.Join(txt.Txt, "")); len(s) > 65535 {
				t.Fatalf("%d octets", len(s))
			}
		}
		for _, c := range []byte(show(end)) {
			if c <= ' ' || c > '~' {
				t.Fatalf("%q is shown", show(end))
			}
		}
	})
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`a`: "a", `\"`: `"`, `\\`: `\`, `\065`: "A", `\`: `\`, `\1`: "1", `\255x`: "\xffx"} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSystemResolver(t *testing.T) {
	c := client(t, Config{})
	if !c.resolver.system || len(c.resolver.servers) == 0 {
		t.Errorf("%+v", c.resolver)
	}
	for _, server := range c.resolver.servers {
		if _, err := netip.ParseAddrPort(server); err != nil {
			t.Error(err)
		}
	}
	addrs, err := c.LookupAddrs(t.Context(), "localhost")
	if err != nil || len(addrs) == 0 || !addrs[0].IsLoopback() {
		t.Errorf("%s, %v", addrs, err)
	}
}
