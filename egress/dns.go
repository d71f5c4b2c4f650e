package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of the answers that are taken.
const (
	maxRecords = 128 // in one answer section
	maxAliases = 8   // CNAMEs from the asked name to the records
	udpSize    = 1232
	tryTime    = 2 * time.Second // for one question to one server
	tries      = 2               // rounds through the servers
)

// resolvConf and hostsFile are the system's.
const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
)

// CAA is one CAA record (RFC 8659 §4.1). Tag is in lower case.
type CAA struct {
	Critical bool
	Tag      string
	Value    string
}

// resolver asks name servers.
type resolver struct {
	servers []string // address:port
	system  bool     // the system's: its hosts file comes first
}

func newResolver(configured string) (resolver, error) {
	if configured != "" {
		if _, _, err := net.SplitHostPort(configured); err != nil {
			return resolver{}, fmt.Errorf("egress: resolver %q is not address:port: %w", configured, err)
		}
		return resolver{servers: []string{configured}}, nil
	}
	r := resolver{system: true}
	if conf, err := dns.ClientConfigFromFile(resolvConf); err == nil {
		for _, server := range conf.Servers[:min(len(conf.Servers), 3)] {
			r.servers = append(r.servers, net.JoinHostPort(server, conf.Port))
		}
	}
	if len(r.servers) == 0 { // resolv.conf(5): without a file or a nameserver, the local one
		r.servers = []string{"127.0.0.1:53"}
	}
	return r, nil
}

// LookupTXT returns the TXT records of name, each with its strings joined, after
// following CNAMEs, and the name they stand under. No records is an *Error of
// StageDNS, as everything that fails.
func (c *Client) LookupTXT(ctx context.Context, name string) (values []string, at string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	rrs, at, err := c.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, at, err
	}
	for _, rr := range rrs {
		if txt, ok := rr.(*dns.TXT); ok {
			values = append(values, unescape(strings.Join(txt.Txt, "")))
		}
	}
	return values, at, nil
}

// LookupAddrs returns the addresses of name, a DNS name: AAAA and A, after
// following CNAMEs. They are not judged.
func (c *Client) LookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.lookupAddrs(ctx, name)
}

// LookupCAA climbs from name to its top-level domain until CAA records are found
// (RFC 8659 §3), and returns them and where they stand; none at all is no error.
// A lookup that fails is one: then nothing is known.
func (c *Client) LookupCAA(ctx context.Context, name string) (records []CAA, at string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for at = strings.TrimSuffix(name, "."); at != ""; {
		rrs, _, err := c.lookup(ctx, at, dns.TypeCAA)
		if err != nil && !IsNoRecords(err) {
			return nil, at, err
		}
		for _, rr := range rrs {
			if caa, ok := rr.(*dns.CAA); ok {
				records = append(records, CAA{Critical: caa.Flag&0x80 != 0, Tag: strings.ToLower(caa.Tag), Value: unescape(caa.Value)})
			}
		}
		if len(records) > 0 {
			return records, at, nil
		}
		_, at, _ = strings.Cut(at, ".")
	}
	return nil, "", nil
}

func (c *Client) lookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	if c.resolver.system {
		if addrs := staticAddrs(hostsFile, name); len(addrs) > 0 {
			return addrs, nil
		}
	}
	v4, v6, err4, err6 := c.bothFamilies(ctx, name)
	addrs := addresses(append(v6, v4...))
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case err4 != nil && !IsNoRecords(err4):
		return nil, err4
	case err6 != nil && !IsNoRecords(err6):
		return nil, err6
	case err4 != nil:
		var e *Error
		if errors.As(err4, &e) && !errors.Is(err4, errNXDomain) {
			e.What = "the name has no A and no AAAA records"
		}
		return nil, err4
	}
	return nil, noRecords(name, name, "address")
}

// bothFamilies looks up A and AAAA records: by one socket, as far as the first name
// server answers, and else each by itself. Servers that swallow questions for AAAA
// do not take all the time.
func (c *Client) bothFamilies(ctx context.Context, name string) (v4, v6 []dns.RR, err4, err6 error) {
	var first4, first6 *dns.Msg
	if at := dns.CanonicalName(name); isName(at) {
		first4, first6 = c.resolver.both(ctx, at)
	}
	if first6 != nil {
		v4, _, err4 = c.lookupFrom(ctx, name, dns.TypeA, first4)
		ctx, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		v6, _, err6 = c.lookupFrom(ctx, name, dns.TypeAAAA, first6)
		return v4, v6, err4, err6
	}
	var both sync.WaitGroup
	ctx6, cancel6 := context.WithCancel(ctx)
	defer cancel6()
	both.Go(func() { v6, _, err6 = c.lookup(ctx6, name, dns.TypeAAAA) })
	if v4, _, err4 = c.lookupFrom(ctx, name, dns.TypeA, first4); err4 == nil {
		wait := tryTime
		if first4 != nil { // it has had that time
			wait = 0
		}
		defer time.AfterFunc(wait, cancel6).Stop()
	}
	both.Wait()
	return v4, v6, err4, err6
}

// addresses are those of A and AAAA records.
func addresses(rrs []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range rrs {
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A.To4())
		}
		if addr.IsValid() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// lookup asks for the records of one type, and follows CNAMEs: through the answer,
// and with a new question where the answer ends at one.
func (c *Client) lookup(ctx context.Context, name string, kind uint16) ([]dns.RR, string, error) {
	return c.lookupFrom(ctx, name, kind, nil)
}

func isName(at string) bool {
	_, ok := dns.IsDomainName(at)
	return ok && at != "."
}

// lookupFrom is lookup with the first answer, or nil.
func (c *Client) lookupFrom(ctx context.Context, name string, kind uint16, msg *dns.Msg) ([]dns.RR, string, error) {
	at := dns.CanonicalName(name)
	if !isName(at) {
		return nil, name, &Error{Stage: StageDNS, Host: clip(name), What: "not a DNS name", Hint: "check the name"}
	}
	left := maxAliases
	for ; ; msg = nil {
		if msg == nil {
			var err error
			if msg, err = c.resolver.ask(ctx, at, kind); err != nil {
				return nil, show(at), err
			}
		}
		rrs, end, err := walk(msg, at, kind, &left)
		switch {
		case err != nil:
			return nil, show(at), answerError(at, kind, err)
		case len(rrs) > 0:
			return rrs, show(end), nil
		case msg.Rcode == dns.RcodeNameError:
			return nil, show(end), &Error{
				Stage: StageDNS, Host: show(name), What: "the name " + show(end) + " does not exist (NXDOMAIN)", Temporary: true, Err: errNXDomain,
				Hint: "create the record, or wait until the name servers know it",
			}
		case end == at:
			return nil, show(end), noRecords(show(name), show(end), dns.TypeToString[kind])
		}
		at = end
	}
}

// walk finds the records of a type for name in an answer, along its CNAMEs, of
// which it takes at most *left. Without records, end is where the aliases lead.
func walk(msg *dns.Msg, name string, kind uint16, left *int) (rrs []dns.RR, end string, err error) {
	if len(msg.Answer) > maxRecords {
		return nil, name, fmt.Errorf("%d records: at most %d are taken", len(msg.Answer), maxRecords)
	}
	for {
		next := ""
		for _, rr := range msg.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
				continue
			}
			if h.Rrtype == kind {
				rrs = append(rrs, rr)
			} else if alias, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(alias.Target)
			}
		}
		if len(rrs) > 0 || next == "" {
			return rrs, name, nil
		}
		if *left == 0 {
			return nil, name, fmt.Errorf("more than %d CNAMEs in a row", maxAliases)
		}
		*left--
		name = next
	}
}
