// Package egresstest has what the tests of everything that fetches need: a real DNS
// server, and canaries, listeners that must not be contacted. All on loopback.
package egresstest

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Respond makes the answer to a question; nil: no answer at all. network is "udp"
// or "tcp".
type Respond func(question *dns.Msg, network string) *dns.Msg

// DNS is a name server by UDP and TCP on one loopback port.
type DNS struct {
	Addr string // address:port, for egress.Config.Resolver

	mu      sync.Mutex
	records map[string][]dns.RR
	custom  map[string]Respond
	asked   []string
}

// NewDNS starts a server that ends with the test. It knows no names.
func NewDNS(t testing.TB) *DNS {
	t.Helper()
	d := &DNS{records: map[string][]dns.RR{}, custom: map[string]Respond{}}
	listener, packets := listen(t)
	d.Addr = packets.LocalAddr().String()
	var servers sync.WaitGroup
	for _, server := range []*dns.Server{
		{Listener: listener, Handler: d.handler("tcp")},
		{PacketConn: packets, Handler: d.handler("udp")},
	} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		servers.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Errorf("DNS server: %v", err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Errorf("DNS server: %v", err)
			}
		})
	}
	t.Cleanup(func() { d.mu.Lock(); clear(d.custom); d.mu.Unlock() })
	return d
}

// listen takes a TCP port whose UDP twin is free too.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	var err error
	for range 20 {
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
			break
		}
		var packets net.PacketConn
		if packets, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", listener.Addr().String()); err == nil {
			return listener, packets
		}
		_ = listener.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// Set replaces the records of name. Each is the end of a zone file's line:
// `A 127.0.0.1`, `TXT "text"`, `CNAME other.example.`. None: the name is there
// without records.
func (d *DNS) Set(t testing.TB, name string, records ...string) {
	t.Helper()
	name = dns.CanonicalName(name)
	rrs := []dns.RR{}
	for _, record := range records {
		rr, err := dns.NewRR(name + " 60 IN " + record)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[name] = rrs
}

// Respond lets f answer all questions about name.
func (d *DNS) Respond(name string, f Respond) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.custom[dns.CanonicalName(name)] = f
}

// Asked are the questions so far, as "name TYPE network", in order.
func (d *DNS) Asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.asked...)
}

func (d *DNS) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, question *dns.Msg) {
		q := question.Question[0]
		name := dns.CanonicalName(q.Name)
		d.mu.Lock()
		d.asked = append(d.asked, strings.TrimSuffix(name, ".")+" "+dns.TypeToString[q.Qtype]+" "+network)
		custom := d.custom[name]
		d.mu.Unlock()
		answer := d.answer(question, q)
		if custom != nil {
			answer = custom(question, network)
		}
		if answer == nil {
			return
		}
		if network == "udp" {
			answer.Truncate(1232)
		}
		// The asker may have gone: what it makes of that is what is tested.
		_ = w.WriteMsg(answer)
	}
}

// answer is the zone's: with CNAMEs followed as far as the zone goes.
func (d *DNS) answer(question *dns.Msg, q dns.Question) *dns.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetReply(question)
	name := dns.CanonicalName(q.Name)
	for range 32 {
		rrs, known := d.records[name]
		if !known {
			answer.Rcode = dns.RcodeNameError
			return answer
		}
		next := ""
		for _, rr := range rrs {
			if alias, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(alias.Target)
			}
			if rr.Header().Rrtype == q.Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				answer.Answer = append(answer.Answer, rr)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return answer
}
