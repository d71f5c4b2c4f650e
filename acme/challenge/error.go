package challenge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/certwright/certwright/egress"
)

// ErrorType is an ACME error type without its prefix (RFC 8555 §6.7).
type ErrorType string

// The types that validation uses.
const (
	CAA               ErrorType = "caa"               // CAA records forbid this CA to issue
	Connection        ErrorType = "connection"        // the server could not connect to the target
	DNS               ErrorType = "dns"               // a problem with a DNS query
	IncorrectResponse ErrorType = "incorrectResponse" // what was received did not match the challenge
	Malformed         ErrorType = "malformed"         // this type of challenge cannot prove this identifier
	TLS               ErrorType = "tls"               // a TLS error
	Unauthorized      ErrorType = "unauthorized"      // the target says no, or says it for somebody else
)

// URN is the type as it stands in a problem document.
func (t ErrorType) URN() string { return "urn:ietf:params:acme:error:" + string(t) }

// Error is why a validation failed, in words for the client: it holds nothing of
// what was fetched but sizes and counts.
type Error struct {
	Type      ErrorType
	Detail    string       // with Host, Port and Addresses in it: one sentence
	Hint      string       // what to do; Text appends it to Detail
	Host      string       // whom it was about: a host, or the name of a record
	Addresses []netip.Addr // tried or refused, in order
	Port      int          // 0: none
	Temporary bool         // another try may succeed: the network, or a record that is not there yet
	Err       error        // the cause, for the log
}

// Error is Text.
func (e *Error) Error() string { return e.Text() }

// Text is the detail for a problem document: what was wrong, and what to do.
func (e *Error) Text() string {
	if e.Hint == "" {
		return e.Detail
	}
	return e.Detail + "; " + e.Hint
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// FromEgress is the *Error for a failed call of the egress client in a validation
// of the given type.
func FromEgress(kind string, err error) *Error {
	var cause *egress.Error
	if !errors.As(err, &cause) {
		return &Error{Type: Connection, Detail: kind + ": the check failed", Hint: "try again", Temporary: true, Err: err}
	}
	types := map[egress.Stage]ErrorType{
		egress.StageURL: Connection, egress.StageDNS: DNS, egress.StageRefused: Connection,
		egress.StageConnect: Connection, egress.StageTLS: TLS, egress.StageHTTP: Connection,
	}
	return &Error{
		Type: types[cause.Stage], Detail: fmt.Sprintf("%s: %s: %s", kind, cause.Target(), cause.What), Hint: cause.Hint,
		Host: cause.Host, Addresses: cause.Addresses, Port: cause.Port, Temporary: cause.Temporary, Err: err,
	}
}

// EvidenceOf is what a failed call of the egress client had contacted.
func EvidenceOf(err error) Evidence {
	var cause *egress.Error
	if !errors.As(err, &cause) {
		return Evidence{}
	}
	hops := cause.Hops
	if cause.Stage != egress.StageURL && cause.Stage != egress.StageDNS && cause.Stage != egress.StageRefused {
		hops = append(slices.Clone(hops), egress.Hop{Host: cause.Host, Port: cause.Port, Addresses: cause.Addresses})
	}
	return Evidence{Hops: hops}
}
