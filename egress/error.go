package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Stage is how far a call came before it failed.
type Stage string

// The stages of a call.
const (
	StageURL     Stage = "url"     // the target is not one that may be fetched: scheme, port, form
	StageDNS     Stage = "dns"     // the lookup failed or found nothing
	StageRefused Stage = "refused" // no address of the host may be contacted
	StageConnect Stage = "connect" // no connection, or it broke or timed out
	StageTLS     Stage = "tls"     // the TLS handshake failed
	StageHTTP    Stage = "http"    // the answer is not HTTP within the limits
)

// Error says what happened to whom, in words that can be shown to the caller: it
// holds nothing of what was fetched.
type Error struct {
	Stage     Stage
	Host      string       // as asked for, without port; empty if there was none to name
	Addresses []netip.Addr // tried or refused, in order
	Port      int          // 0: none
	What      string       // what happened, in a few words
	Hint      string       // what to do
	Hops      []Hop        // the redirects before this target
	Temporary bool         // it may succeed when tried again
	Err       error        // the cause: of this package, the system or the context; never of the peer
}

// Error is one line: host, port, addresses, what happened, hint.
func (e *Error) Error() string {
	s := e.Target() + ": " + e.What
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Target is "host port N (addresses A, B), after N redirects", as far as each is known.
func (e *Error) Target() string {
	s := e.Host
	if s == "" {
		s = "target"
	}
	if e.Port != 0 {
		s += fmt.Sprintf(" port %d", e.Port)
	}
	if len(e.Addresses) > 0 && (len(e.Addresses) > 1 || e.Addresses[0].String() != e.Host) {
		s += " (" + JoinAddrs(e.Addresses) + ")"
	}
	switch len(e.Hops) {
	case 0:
		return s
	case 1:
		return s + ", after a redirect from " + e.Hops[0].Host
	}
	return s + fmt.Sprintf(", after %d redirects from %s", len(e.Hops), e.Hops[0].Host)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// JoinAddrs is the addresses with commas between.
func JoinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return strings.Join(texts, ", ")
}

// network describes an error of a socket. Its words are ours: an error's own text
// may quote the peer.
func network(err error) (what, hint string) {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "the check was cancelled", "try again"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", "check that a firewall lets this server reach the port and that the service answers at once"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", "check that the service is running and listens on this address and port"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset", "check the service's log and what stands between it and this server"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no route to the address", "check the name's A and AAAA records and this server's routes"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed before the answer", "check the service's log: it accepted the connection and closed it"
	}
	return "connection failed", "check that this server can reach the address and port"
}
