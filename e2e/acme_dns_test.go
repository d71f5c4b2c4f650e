package e2e

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// zone is a name server by UDP and TCP for everything below "internal.": a name
// CLIENT.internal, or any depth below it, has the address of that client; TXT
// records are set by the clients' hooks, over HTTP or by call.
type zone struct {
	addr    string // host:port
	control string // base URL for hooks: POST /set?name=…&value=…, /clear?…

	mu      sync.Mutex
	hosts   map[string]net.IP   // label before "internal." → address
	txt     map[string][]string // canonical name → values
	aliases map[string]string   // canonical name → CNAME target
}

// newZone starts a name server that ends with the test.
func newZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{hosts: map[string]net.IP{}, txt: map[string][]string{}, aliases: map[string]string{}}
	listener, packets := listenBoth(t)
	z.addr = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{Listener: listener, Handler: z}, {PacketConn: packets, Handler: z}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	z.control = "http://" + serveHTTP(t, "127.0.0.1:0", http.HandlerFunc(z.hook))
	return z
}

// listenBoth takes a port of 127.0.0.1 that is free for TCP and UDP.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return listener, packets
		}
		_ = listener.Close()
	}
	t.Fatal("no port is free for TCP and UDP")
	return nil, nil
}

// hook is the control for shell scripts.
func (z *zone) hook(w http.ResponseWriter, r *http.Request) {
	name, value := r.FormValue("name"), r.FormValue("value")
	switch {
	case name == "" || r.Method != http.MethodPost:
		w.WriteHeader(http.StatusBadRequest)
	case r.URL.Path == "/set":
		z.set(name, value)
	case r.URL.Path == "/clear":
		z.clear(name, value)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// set adds a TXT record.
func (z *zone) set(name, value string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = dns.CanonicalName(name)
	z.txt[name] = append(z.txt[name], value)
}

// clear removes a TXT record.
func (z *zone) clear(name, value string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = dns.CanonicalName(name)
	z.txt[name] = slices.DeleteFunc(z.txt[name], func(v string) bool { return v == value })
}

// host gives a client's names an address.
func (z *zone) host(label, address string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.hosts[label] = net.ParseIP(address)
}

// alias makes a name a CNAME.
func (z *zone) alias(name, target string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.aliases[dns.CanonicalName(name)] = dns.CanonicalName(target)
}

const soa = "internal. 60 IN SOA ns.internal. hostmaster.internal. 1 3600 600 86400 60"

// ServeDNS implements dns.Handler.
func (z *zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(question)
	answer.Authoritative, answer.RecursionAvailable = true, true
	for _, q := range question.Question {
		z.answer(answer, dns.CanonicalName(q.Name), q.Qtype)
	}
	if len(answer.Answer) == 0 {
		answer.Ns = append(answer.Ns, record(soa))
	}
	_ = w.WriteMsg(answer) // who asked may have gone
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

func (z *zone) answer(answer *dns.Msg, name string, kind uint16) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for range 8 {
		target, ok := z.aliases[name]
		if !ok || kind == dns.TypeCNAME {
			break
		}
		answer.Answer = append(answer.Answer, record(name+" 60 IN CNAME "+target))
		name = target
	}
	rest, ours := strings.CutSuffix(name, ".internal.")
	if !ours && name != "internal." {
		answer.Rcode = dns.RcodeNameError
		return
	}
	labels := strings.Split(rest, ".")
	header := name + " 60 IN "
	switch kind {
	case dns.TypeA:
		if ip, ok := z.hosts[labels[len(labels)-1]]; ok {
			answer.Answer = append(answer.Answer, record(header+"A "+ip.String()))
		}
	case dns.TypeTXT:
		for _, value := range z.txt[name] {
			answer.Answer = append(answer.Answer, record(header+`TXT "`+value+`"`))
		}
	case dns.TypeCNAME:
		if target, ok := z.aliases[name]; ok {
			answer.Answer = append(answer.Answer, record(header+"CNAME "+target))
		}
	case dns.TypeSOA:
		if name == "internal." {
			answer.Answer = append(answer.Answer, record(soa))
		}
	case dns.TypeNS:
		if name == "internal." {
			answer.Answer = append(answer.Answer, record("internal. 60 IN NS ns.internal."))
		}
	}
}
