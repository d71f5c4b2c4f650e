package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Causes of an *Error of StageDNS.
var (
	errNXDomain  = errors.New("egress: the name does not exist")
	errNoRecords = errors.New("egress: the name has no such records")
	errForeign   = errors.New("egress: the answer does not belong to the question")
)

// IsNoRecords tells whether err says that there are no such records, as against a
// lookup that failed.
func IsNoRecords(err error) bool {
	return errors.Is(err, errNXDomain) || errors.Is(err, errNoRecords)
}

// ask puts one question to the servers in turn, until one answers it.
func (r resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	what, hint := "no name server answered", "check the server's resolver (acme.resolver)"
	var cause error
	for range tries {
		for _, server := range r.servers {
			msg, err := exchange(ctx, server, name, kind)
			switch {
			case ctx.Err() != nil:
				what, _ = network(ctx.Err())
				return nil, lookupError(name, kind, what+" from the name server", hint, ctx.Err())
			case err != nil:
				what, _ = network(err)
				if errors.Is(err, errForeign) {
					what = "the answer is not well-formed"
				}
				what, cause = fmt.Sprintf("name server %s: %s", server, what), err
			case msg.Rcode == dns.RcodeSuccess, msg.Rcode == dns.RcodeNameError:
				return msg, nil
			default:
				what = fmt.Sprintf("name server %s answered %s", server, rcode(msg.Rcode))
				hint = "check the zone's name servers, and DNSSEC if it is signed"
			}
		}
	}
	return nil, lookupError(name, kind, what, hint, cause)
}

// exchange asks one server by UDP, and by TCP if the answer was truncated.
func exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	question := newQuestion(name, kind)
	msg, err := roundTrip(ctx, "udp", server, question)
	if err == nil && msg.Truncated {
		msg, err = roundTrip(ctx, "tcp", server, question)
		if err == nil && msg.Truncated {
			err = errForeign
		}
	}
	return msg, err
}

// newQuestion is a question with an ID of its own.
func newQuestion(name string, kind uint16) *dns.Msg {
	question := new(dns.Msg)
	question.SetQuestion(name, kind)
	question.Id = dns.Id() // from crypto/rand
	question.SetEdns0(udpSize, false)
	return question
}

func roundTrip(ctx context.Context, network, server string, question *dns.Msg) (*dns.Msg, error) {
	answers, err := roundTrips(ctx, network, server, question)
	if answers[0] != nil {
		return answers[0], nil
	}
	return nil, err
}

// roundTrips asks questions over one socket. The error says why an answer is
// missing, which is nil.
func roundTrips(ctx context.Context, network, server string, questions ...*dns.Msg) ([]*dns.Msg, error) {
	answers := make([]*dns.Msg, len(questions))
	socket, err := dialServer(ctx, network, server)
	if err != nil {
		return answers, err
	}
	defer func() { _ = socket.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: socket, UDPSize: udpSize}
	for _, question := range questions {
		if err := conn.WriteMsg(question); err != nil {
			return answers, err
		}
	}
	for left := len(questions); left > 0; {
		wire, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return answers, err
		}
		found := false
		for i, question := range questions {
			if answers[i] != nil {
				continue
			}
			if msg, err := parseAnswer(wire, question); err == nil {
				answers[i], found = msg, true
				left--
				break
			}
		}
		if !found && network == "tcp" {
			return answers, errForeign
		}
		// By UDP anyone may write: wait for the true answer until the time is over.
	}
	return answers, nil
}

// dialServer connects a socket of its own to a name server.
func dialServer(ctx context.Context, network, server string) (net.Conn, error) {
	var d net.Dialer
	if addr, err := netip.ParseAddrPort(server); err == nil && network == "udp" {
		socket, err := d.DialUDP(ctx, network, netip.AddrPort{}, addr)
		if err != nil {
			return nil, err
		}
		return socket, nil
	}
	return d.DialContext(ctx, network, server)
}

// both asks the first name server for a name's addresses of both families at
// once. What it has not answered well is nil.
func (r resolver) both(ctx context.Context, name string) (v4, v6 *dns.Msg) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	answers, _ := roundTrips(ctx, "udp", r.servers[0], newQuestion(name, dns.TypeA), newQuestion(name, dns.TypeAAAA))
	for i, msg := range answers {
		if msg != nil && (msg.Truncated || msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError) {
			answers[i] = nil
		}
	}
	return answers[0], answers[1]
}

// parseAnswer reads one message and holds it against the question.
func parseAnswer(wire []byte, question *dns.Msg) (*dns.Msg, error) {
	msg := new(dns.Msg)
	if err := msg.Unpack(wire); err != nil {
		// What has been cut off may end in the middle of a record (RFC 2181 §9).
		if msg.Id != question.Id || !msg.Response || !msg.Truncated {
			return nil, errForeign
		}
		msg.Answer = nil
	}
	q := question.Question[0]
	switch {
	case msg.Id != question.Id, !msg.Response, msg.Opcode != dns.OpcodeQuery, len(msg.Question) > 1:
		return nil, errForeign
	case len(msg.Question) == 1:
		got := msg.Question[0]
		if got.Qtype != q.Qtype || got.Qclass != q.Qclass || dns.CanonicalName(got.Name) != dns.CanonicalName(q.Name) {
			return nil, errForeign
		}
	case msg.Rcode == dns.RcodeSuccess && !msg.Truncated: // only an error may leave the question out
		return nil, errForeign
	}
	return msg, nil
}

func lookupError(name string, kind uint16, what, hint string, err error) *Error {
	return &Error{
		Stage: StageDNS, Host: show(name), What: fmt.Sprintf("DNS lookup of %s %s: %s", show(name), dns.TypeToString[kind], what),
		Hint: hint, Temporary: true, Err: err,
	}
}

func answerError(name string, kind uint16, err error) *Error {
	return lookupError(name, kind, "the answer has "+err.Error(), "check the name's records", nil)
}

func noRecords(name, at, kind string) *Error {
	what := "the name has no " + kind + " records"
	if at != name {
		what = "its alias " + at + " has no " + kind + " records"
	}
	return &Error{
		Stage: StageDNS, Host: name, What: what, Temporary: true, Err: errNoRecords,
		Hint: "create the record, or wait until the name servers know it",
	}
}

// staticAddrs are the addresses of name in a file of the form of hosts(5); without
// any, loopback for "localhost" and all below it (RFC 6761 §6.3).
func staticAddrs(file, name string) []netip.Addr {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var addrs []netip.Addr
	if f, err := os.Open(file); err == nil {
		defer func() { _ = f.Close() }()
		text, _ := io.ReadAll(io.LimitReader(f, 1<<20))
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			fields := strings.Fields(strings.ToLower(line))
			if len(fields) < 2 || !slices.Contains(fields[1:], name) {
				continue
			}
			if addr, err := netip.ParseAddr(fields[0]); err == nil {
				addrs = append(addrs, addr)
			}
		}
	}
	if len(addrs) == 0 && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return addrs
}

// unescape undoes the presentation form that miekg/dns keeps strings in: \DDD is
// an octet, \X is X (RFC 1035 §5.1).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && digit(s[i]) && digit(s[i+1]) && digit(s[i+2]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0')
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// rcode names a response code.
func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("code %d", code)
}

// show is a name for a message: no trailing dot, at most 253 octets, and no octet
// that is not printable ASCII (miekg/dns escapes them).
func show(name string) string { return clip(strings.TrimSuffix(name, ".")) }

func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 253)]
}
