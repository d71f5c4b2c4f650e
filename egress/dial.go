package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxDials is how many addresses of one host are tried.
const maxDials = 8

// errPeer is what the socket's own check answers.
var errPeer = errors.New("egress: the socket's peer is not the address that was judged")

// Dial connects by TCP to host, a DNS name or an IP address, on one of the
// configured ports, and returns the connection and the addresses tried in order;
// the last is the one connected to. IPv6 goes first. The connection carries a
// deadline: the end of the configured timeout, or of ctx if that is earlier. The
// error is an *Error.
func (c *Client) Dial(ctx context.Context, host string, port int) (net.Conn, []netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.dial(ctx, host, port)
}

// DialTLS is Dial and a TLS handshake with cfg. A failed handshake is an *Error of
// StageTLS; its Err is crypto/tls's.
func (c *Client) DialTLS(ctx context.Context, host string, port int, cfg *tls.Config) (*tls.Conn, []netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, tried, err := c.dial(ctx, host, port)
	if err != nil {
		return nil, tried, err
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		e := handshake(err)
		e.Host, e.Port, e.Addresses = host, port, tried
		return nil, tried, e
	}
	return secure, tried, nil
}

func (c *Client) dial(ctx context.Context, host string, port int) (net.Conn, []netip.Addr, error) {
	if !slices.Contains(c.ports, port) {
		return nil, nil, &Error{
			Stage: StageURL, Host: host, Port: port, What: "this port is not contacted", Hint: "allowed ports: " + c.portList(),
		}
	}
	addrs, err := c.resolve(ctx, host, port)
	if err != nil {
		return nil, nil, err
	}
	good, err := c.permitted(host, port, addrs)
	if err != nil {
		return nil, nil, err
	}
	var tried []netip.Addr
	var last error
	for i, addr := range good {
		tried = append(tried, addr)
		conn, err := c.connect(ctx, addr, port, len(good)-i)
		if err == nil {
			return conn, tried, nil
		}
		last = err
		if ctx.Err() != nil {
			last = ctx.Err()
			break
		}
	}
	what, hint := network(last)
	return nil, tried, &Error{Stage: StageConnect, Host: host, Port: port, Addresses: tried, What: what, Hint: hint, Temporary: true, Err: last}
}

// permitted returns the addresses that may be contacted, IPv6 first, families in
// turn, or the reasons why none may.
func (c *Client) permitted(host string, port int, addrs []netip.Addr) ([]netip.Addr, error) {
	var v4, v6 []netip.Addr
	var why []string
	for _, addr := range addrs {
		switch reason := c.guard.judge(addr); {
		case reason != "":
			why = append(why, addr.String()+" is "+reason)
		case addr.Unmap().Is4():
			v4 = append(v4, addr.Unmap())
		default:
			v6 = append(v6, addr)
		}
	}
	if len(v4)+len(v6) == 0 {
		return nil, &Error{
			Stage: StageRefused, Host: host, Port: port, Addresses: addrs, What: strings.Join(why[:min(len(why), 4)], "; "),
			Hint: "use an address in a network that the administrator allows (networks: allow, deny)",
		}
	}
	var good []netip.Addr
	for i := range max(len(v4), len(v6)) {
		if i < len(v6) {
			good = append(good, v6[i])
		}
		if i < len(v4) {
			good = append(good, v4[i])
		}
	}
	return good[:min(len(good), maxDials)], nil
}

// connect dials one judged address, with a fair share of the time that is left
// for the addresses still to be tried. The socket's peer is judged again when the
// system is about to connect it.
func (c *Client) connect(ctx context.Context, addr netip.Addr, port, left int) (net.Conn, error) {
	want := netip.AddrPortFrom(addr, uint16(port))
	end, _ := ctx.Deadline()
	d := net.Dialer{
		Timeout:       time.Until(end) / time.Duration(left),
		FallbackDelay: -1,
		KeepAlive:     -1,
		Control: func(_, address string, _ syscall.RawConn) error {
			peer, err := netip.ParseAddrPort(address)
			if err != nil || peer != want || c.guard.judge(peer.Addr()) != "" {
				return errPeer
			}
			return nil
		},
	}
	conn, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, want)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(end); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// resolve is the addresses of host: itself if it is one.
func (c *Client) resolve(ctx context.Context, host string, port int) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := c.lookupAddrs(ctx, host)
	var e *Error
	if errors.As(err, &e) {
		e.Port = port
	}
	return addrs, err
}

const (
	notTLS     = "the answer is not TLS"
	hintNotTLS = "check that the service speaks TLS on this port"
)

// isTLS tells whether err is TLS's own, and not the network's.
func isTLS(err error) bool {
	var op *net.OpError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "remote error" || errors.As(err, &record) || errors.As(err, &verify) ||
		strings.HasPrefix(err.Error(), "tls: ")
}

// handshake describes a failed handshake by its kind: the text of an error of
// crypto/tls may quote the peer's certificate.
func handshake(err error) *Error {
	e := &Error{Stage: StageTLS, Err: err}
	var op *net.OpError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op) && op.Op == "remote error": // an alert, whose text crypto/tls has from its number
		e.What = "the TLS handshake was refused by the peer: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
		e.Hint = "check that the service speaks TLS 1.2 or newer for this name and this protocol (ALPN)"
	case errors.As(err, &record):
		e.What, e.Hint = notTLS, hintNotTLS
	case errors.As(err, &verify):
		e.What, e.Hint = "the certificate does not verify", "check the certificate's chain, names and validity"
	case isTLS(err):
		e.What, e.Hint = "the TLS handshake failed", "check that the service speaks TLS 1.2 or newer"
	default:
		e.Stage, e.Temporary = StageConnect, true
		e.What, e.Hint = network(err)
		e.What += " (in the TLS handshake)"
	}
	return e
}

func (c *Client) portList() string {
	texts := make([]string, len(c.ports))
	for i, port := range c.ports {
		texts[i] = strconv.Itoa(port)
	}
	return strings.Join(texts, ", ")
}
