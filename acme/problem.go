package acme

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

// Type is an ACME error type without its prefix.
type Type string

// The types of RFC 8555 §6.7, in its order, and after them those of RFC 9773 §7.4
// and draft-ietf-acme-profiles §5.
const (
	AccountDoesNotExist     Type = "accountDoesNotExist"
	AlreadyRevoked          Type = "alreadyRevoked"
	BadCSR                  Type = "badCSR"
	BadNonce                Type = "badNonce"
	BadPublicKey            Type = "badPublicKey"
	BadRevocationReason     Type = "badRevocationReason"
	BadSignatureAlgorithm   Type = "badSignatureAlgorithm"
	CAA                     Type = "caa"
	Compound                Type = "compound"
	Connection              Type = "connection"
	DNS                     Type = "dns"
	ExternalAccountRequired Type = "externalAccountRequired"
	IncorrectResponse       Type = "incorrectResponse"
	InvalidContact          Type = "invalidContact"
	Malformed               Type = "malformed"
	OrderNotReady           Type = "orderNotReady"
	RateLimited             Type = "rateLimited"
	RejectedIdentifier      Type = "rejectedIdentifier"
	ServerInternal          Type = "serverInternal"
	TLS                     Type = "tls"
	Unauthorized            Type = "unauthorized"
	UnsupportedContact      Type = "unsupportedContact"
	UnsupportedIdentifier   Type = "unsupportedIdentifier"
	UserActionRequired      Type = "userActionRequired"

	AlreadyReplaced Type = "alreadyReplaced"
	InvalidProfile  Type = "invalidProfile"
)

const typePrefix = "urn:ietf:params:acme:error:"

// status is the HTTP status that a type has where nothing else is said.
func (t Type) status() int {
	switch t {
	case OrderNotReady, Unauthorized, ExternalAccountRequired, UserActionRequired, CAA:
		return http.StatusForbidden
	case RateLimited:
		return http.StatusTooManyRequests
	case ServerInternal:
		return http.StatusInternalServerError
	case AlreadyReplaced:
		return http.StatusConflict
	}
	return http.StatusBadRequest
}

// Document is a problem document (RFC 7807, RFC 8555 §6.7).
type Document struct {
	Type        string      `json:"type"`
	Detail      string      `json:"detail,omitempty"`
	Status      int         `json:"status,omitempty"`
	Identifier  *Identifier `json:"identifier,omitempty"` // of a subproblem (§6.7.1)
	Algorithms  []string    `json:"algorithms,omitempty"` // of badSignatureAlgorithm (§6.2)
	Instance    string      `json:"instance,omitempty"`   // of userActionRequired (§7.3.3)
	Subproblems []Document  `json:"subproblems,omitempty"`
}

// Identifier is an identifier as it stands in messages (RFC 8555 §9.7.7).
type Identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func wire(id identity.Identifier) Identifier { return Identifier{string(id.Type), id.Value} }

func (i Identifier) identity() identity.Identifier {
	return identity.Identifier{Type: identity.IdentifierType(i.Type), Value: i.Value}
}

// fault is an error that a client is told of.
type fault struct {
	Document
	header http.Header   // added to the answer
	retry  time.Duration // Retry-After, if not 0
	err    error         // the cause, for the log
}

// Error is type and detail.
func (f *fault) Error() string {
	text := strings.TrimPrefix(f.Type, typePrefix) + ": " + f.Detail
	if f.err != nil {
		text += ": " + f.err.Error()
	}
	return text
}

// Unwrap is the cause.
func (f *fault) Unwrap() error { return f.err }

// refuse makes a fault of a type with a formatted detail.
func refuse(t Type, format string, args ...any) *fault {
	return &fault{Document: Document{Type: typePrefix + string(t), Detail: fmt.Sprintf(format, args...), Status: t.status()}}
}

// is tells whether the fault is of a type.
func (f *fault) is(t Type) bool { return f.Type == typePrefix+string(t) }

// with sets another HTTP status than the type's own.
func (f *fault) with(status int) *fault {
	f.Status = status
	return f
}

// because keeps the cause for the log.
func (f *fault) because(err error) *fault {
	f.err = err
	return f
}

// add adds a header to the answer.
func (f *fault) add(name, value string) *fault {
	if f.header == nil {
		f.header = http.Header{}
	}
	f.header.Add(name, value)
	return f
}

func notFound(what string) *fault {
	return refuse(Malformed, "there is no such %s", what).with(http.StatusNotFound)
}

// subproblem is one identifier's part of a refusal.
func subproblem(t Type, id Identifier, format string, args ...any) Document {
	return Document{Type: typePrefix + string(t), Detail: fmt.Sprintf(format, args...), Identifier: &id}
}

// join makes one fault of subproblems: of their type if they agree, else compound
// (RFC 8555 §6.7.1).
func join(detail string, subs []Document) *fault {
	t := subs[0].Type
	for _, sub := range subs {
		if sub.Type != t {
			t = typePrefix + string(Compound)
		}
	}
	if len(subs) == 1 {
		detail += ": " + subs[0].Detail
	}
	return &fault{Document: Document{Type: t, Detail: detail, Status: http.StatusBadRequest, Subproblems: subs}}
}

// asFault is the fault in err's chain, or what err is for a client. What is not
// known becomes serverInternal, its cause for the log alone.
func asFault(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var p *problem.Problem
	if errors.As(err, &p) {
		return fromProblem(p)
	}
	return refuse(ServerInternal, "the server has a problem of its own").because(err)
}

// retryLater is how long a client waits when the server is busy.
const retryLater = 2 * time.Second

// fromProblem maps the kinds of problem; the one mapping of this door.
func fromProblem(p *problem.Problem) *fault {
	text := publicText(p)
	switch p.Kind {
	case problem.Malformed, problem.NotFound, problem.FailedPrecondition:
		return refuse(Malformed, "%s", text).because(p)
	case problem.Unauthenticated, problem.PermissionDenied:
		return refuse(Unauthorized, "%s", text).because(p)
	case problem.Denied:
		return fromViolations(p)
	case problem.BadCSR:
		return refuse(BadCSR, "%s", text).because(p)
	case problem.RejectedIdentifier:
		return refuse(RejectedIdentifier, "%s", text).because(p)
	case problem.Conflict:
		return refuse(Malformed, "%s", text).with(http.StatusConflict).because(p)
	case problem.RateLimited:
		f := refuse(RateLimited, "%s", text).because(p)
		f.retry = retryLater
		return f
	case problem.Overloaded, problem.Unavailable:
		f := refuse(ServerInternal, "%s", text).with(http.StatusServiceUnavailable).because(p)
		f.retry = retryLater
		return f
	}
	return refuse(ServerInternal, "the server has a problem of its own").because(p)
}

// publicText is the problem without its cause.
func publicText(p *problem.Problem) string {
	public := *p
	public.Err = nil
	return public.Error()
}

// fromViolations tells of each broken rule; those about a name stand as
// subproblems with the identifier.
func fromViolations(p *problem.Problem) *fault {
	var subs []Document
	var rest []string
	t := Unauthorized
	for _, v := range p.Violations {
		switch v.Reason {
		case policy.ReasonNameNotAllowed, policy.ReasonNameDenied, policy.ReasonNameMalformed, policy.ReasonWildcard, policy.ReasonConstraint:
			kind, value, _ := strings.Cut(v.Value, ":")
			subs = append(subs, subproblem(RejectedIdentifier, Identifier{kind, value}, "%s", v))
			continue
		case policy.ReasonKey:
			t = BadCSR
		case policy.ReasonProfileUnknown, policy.ReasonProfile:
			t = InvalidProfile
		case policy.ReasonTooManyNames, policy.ReasonValidity, policy.ReasonValidityInvalid, policy.ReasonNotBefore, policy.ReasonIssuerEnds:
			t = Malformed
		}
		rest = append(rest, v.String())
	}
	switch {
	case len(subs) > 0 && len(rest) == 0:
		return join(p.Detail, subs).because(p)
	case len(subs) > 0:
		f := refuse(Compound, "%s: %s", p.Detail, strings.Join(rest, "; ")).because(p)
		f.Subproblems = append(subs, Document{Type: typePrefix + string(t), Detail: strings.Join(rest, "; ")})
		return f
	}
	return refuse(t, "%s: %s", p.Detail, strings.Join(rest, "; ")).because(p)
}
