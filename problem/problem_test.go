package problem

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	// The numbers are a promise to clients' code that was compiled earlier.
	want := map[Kind]string{
		Internal: "INTERNAL", Malformed: "MALFORMED", Unauthenticated: "UNAUTHENTICATED", PermissionDenied: "PERMISSION_DENIED",
		Denied: "POLICY_DENIED", BadCSR: "BAD_CSR", RejectedIdentifier: "REJECTED_IDENTIFIER", NotFound: "NOT_FOUND",
		Conflict: "CONFLICT", FailedPrecondition: "FAILED_PRECONDITION", RateLimited: "RATE_LIMITED", Overloaded: "OVERLOADED",
		Unavailable: "UNAVAILABLE", -1: "INTERNAL", Unavailable + 1: "INTERNAL",
	}
	for kind, name := range want {
		if kind.String() != name {
			t.Errorf("kind %d is %s, want %s", kind, kind, name)
		}
	}
	if Unavailable != 12 {
		t.Errorf("the list of kinds has changed before its end: Unavailable is %d", Unavailable)
	}
}

func TestError(t *testing.T) {
	p := &Problem{
		Kind: Denied, Detail: "the policy says no", Allowed: "a.x", Help: "ask for a.x",
		Violations: []Violation{{Reason: "NAME", Rule: "grant g", Value: "b.x", Allowed: "a.x", Help: "take a.x", Detail: "b.x is not allowed"}},
	}
	want := "the policy says no; NAME: b.x is not allowed (grant g); allowed: a.x; take a.x; allowed: a.x; ask for a.x"
	if p.Error() != want {
		t.Errorf("got  %s\nwant %s", p, want)
	}
	if got := (&Problem{Kind: BadCSR}).Error(); got != "bad csr" {
		t.Errorf("a problem without detail is %q", got)
	}
	if strings.Contains(New(Malformed, "line %d", 3).Error(), "%") {
		t.Error("the detail is not formatted")
	}
}

func TestCode(t *testing.T) {
	if got := (&Problem{Kind: BadCSR}).Code(); got != "BAD_CSR" {
		t.Errorf("code %s", got)
	}
	if got := (&Problem{Kind: BadCSR, Reason: "KEY_SIZE"}).Code(); got != "KEY_SIZE" {
		t.Errorf("code %s", got)
	}
}

func TestKindOf(t *testing.T) {
	wrapped := fmt.Errorf("outer: %w", &Problem{Kind: NotFound, Err: io.EOF})
	if KindOf(wrapped) != NotFound || !errors.Is(wrapped, io.EOF) {
		t.Errorf("%v has kind %s", wrapped, KindOf(wrapped))
	}
	for _, err := range []error{nil, io.EOF} {
		if KindOf(err) != Internal {
			t.Errorf("%v has kind %s", err, KindOf(err))
		}
	}
}
