// Package problem is the one error type that a caller sees: what is wrong, by
// which rule, what would be allowed and what to do. It knows no HTTP and no
// gRPC: each door has one mapping of Kind to its own codes.
package problem

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of problem it is. The list is append-only: doors map it
// and clients rely on the mapping.
type Kind int

// The kinds of problem.
const (
	Internal           Kind = iota // ours; the detail goes to the log, not to the caller
	Malformed                      // the request cannot be read, or breaks a limit
	Unauthenticated                // no credential, or one that is not valid
	PermissionDenied               // the credential may not do this
	Denied                         // the policy says no: see Violations
	BadCSR                         // the CSR or its key is refused (RFC 8555 §6.7 badCSR)
	RejectedIdentifier             // a name that is never issued (RFC 8555 §6.7 rejectedIdentifier)
	NotFound                       // no such thing, or not for this caller
	Conflict                       // another request stands under this ID, or a version has moved on
	FailedPrecondition             // the system is not in the state that this needs
	RateLimited                    // too many requests of this caller
	Overloaded                     // too many requests of all callers: try again
	Unavailable                    // cannot be done at this time: try again
)

// String is the kind as a reason code.
func (k Kind) String() string {
	names := [...]string{
		"INTERNAL", "MALFORMED", "UNAUTHENTICATED", "PERMISSION_DENIED", "POLICY_DENIED", "BAD_CSR",
		"REJECTED_IDENTIFIER", "NOT_FOUND", "CONFLICT", "FAILED_PRECONDITION", "RATE_LIMITED", "OVERLOADED", "UNAVAILABLE",
	}
	if k < 0 || int(k) >= len(names) {
		return "INTERNAL"
	}
	return names[k]
}

// Violation is one broken rule of a refusal.
type Violation struct {
	Reason  string // code, upper case with underscores, such as NAME_NOT_ALLOWED
	Rule    string // which rule: "profile server: validity.max", "condition rsa-needs-purpose"
	Value   string // the offending value
	Allowed string // what the rule allows
	Help    string // what to do
	Detail  string // one sentence
}

// Problem is an error for a caller. All but Kind may be empty.
type Problem struct {
	Kind       Kind
	Reason     string // code; empty: Kind's own
	Rule       string
	Value      string
	Detail     string // one sentence, what is wrong
	Allowed    string
	Help       string // one sentence, what to do
	Violations []Violation
	Err        error // the cause, for the log; never shown to the caller
}

// Error is one line: detail, the violations, what is allowed, help.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Detail != "" {
		b.WriteString(p.Detail)
	} else {
		b.WriteString(strings.ToLower(strings.ReplaceAll(p.Code(), "_", " ")))
	}
	for _, v := range p.Violations {
		fmt.Fprintf(&b, "; %s", v)
	}
	if p.Allowed != "" {
		fmt.Fprintf(&b, "; allowed: %s", p.Allowed)
	}
	if p.Help != "" {
		fmt.Fprintf(&b, "; %s", p.Help)
	}
	if p.Err != nil {
		fmt.Fprintf(&b, ": %v", p.Err)
	}
	return b.String()
}

// Unwrap is the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Code is the reason code: Reason, else that of Kind.
func (p *Problem) Code() string {
	if p.Reason != "" {
		return p.Reason
	}
	return p.Kind.String()
}

// String is the violation in one line.
func (v Violation) String() string {
	s := v.Reason + ": " + v.Detail
	if v.Rule != "" {
		s += " (" + v.Rule + ")"
	}
	if v.Allowed != "" {
		s += "; allowed: " + v.Allowed
	}
	if v.Help != "" {
		s += "; " + v.Help
	}
	return s
}

// New is a problem of a kind with a formatted detail.
func New(kind Kind, format string, args ...any) *Problem {
	return &Problem{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// KindOf is the kind of the first Problem in err's chain; Internal if there is
// none.
func KindOf(err error) Kind {
	var p *Problem
	if errors.As(err, &p) {
		return p.Kind
	}
	return Internal
}
