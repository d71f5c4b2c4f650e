package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/certwright/certwright/problem"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func withDetails(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// TestReport shows what a person and a script get of an error.
func TestReport(t *testing.T) {
	info := func(reason string) protoadapt.MessageV1 {
		return protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: reason, Metadata: map[string]string{"request_id": "r1", "help": "Ask an admin."}})
	}
	violation := protoadapt.MessageV1Of(&pb.Violation{
		Reason: "NAME_NOT_ALLOWED", Detail: "no", Rule: "grant a", Value: "dns:evil\x1b[2J", Allowed: "*.internal", Help: "ask",
	})
	bad := protoadapt.MessageV1Of(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "csr", Description: "said already"}}})
	for _, test := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"denied", withDetails(t, codes.PermissionDenied, "denied\nby policy", info("POLICY_DENIED"), violation), exitDenied,
			"certwright: denied\\nby policy; ask an admin\n" +
				"  NAME_NOT_ALLOWED: no; rule: grant a; value: dns:evil\\u001b[2J; allowed: *.internal; help: ask\n  request ID: r1\n"},
		{"not allowed", withDetails(t, codes.PermissionDenied, "no", info("PERMISSION_DENIED")), exitAuth, "certwright: no; ask an admin\n  request ID: r1\n" +
			"  people log in with certwright login --server HOST:PORT; a join token goes with --token-file FILE; admins use the socket in the data folder (--data, without --server)\n"},
		{"bad CSR", withDetails(t, codes.InvalidArgument, "said already", info("BAD_CSR"), bad), exitDenied, "certwright: said already; ask an admin\n  request ID: r1\n"},
		{"never signed", withDetails(t, codes.InvalidArgument, "small", info("KEY_SIZE")), exitDenied, "certwright: small; ask an admin\n  request ID: r1\n"},
		{"too large a CSR", withDetails(t, codes.InvalidArgument, "large", info("CSR_TOO_LARGE")), exitUsage, "certwright: large; ask an admin\n  request ID: r1\n"},
		{"conflict", status.Error(codes.AlreadyExists, "taken"), exitConflict, "certwright: taken\n"},
		{"wrapped", fmt.Errorf("so: %w", status.Error(codes.NotFound, "gone")), exitNotFound, "certwright: gone\n"},
		{"try again", status.Error(codes.ResourceExhausted, ""), exitUnavailable, "certwright: resourceexhausted\n"},
		{"ours", &problem.Problem{Kind: problem.FailedPrecondition, Detail: "locked", Help: "Stop it."}, exitConflict, "certwright: locked; stop it\n"},
		{"other", errors.New("broken"), exitFailure, "certwright: broken\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, out, stderr := testApp()
			a.started = true
			if code := a.report(test.err); code != test.code || stderr.String() != test.want || out.Len() > 0 {
				t.Errorf("exit %d, %q; want %d, %q", code, stderr, test.code, test.want)
			}
		})
	}
	a, _, stderr := testApp()
	if code := a.report(errors.New("before the arguments were read")); code != exitUsage || !strings.HasPrefix(stderr.String(), "certwright: ") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestEveryKindHasItsCode: a kind of problem that is added needs a decision here.
func TestEveryKindHasItsCode(t *testing.T) {
	want := map[problem.Kind]int{
		problem.Internal: exitFailure, problem.Malformed: exitUsage, problem.Unauthenticated: exitAuth, problem.PermissionDenied: exitAuth,
		problem.Denied: exitDenied, problem.BadCSR: exitDenied, problem.RejectedIdentifier: exitDenied, problem.NotFound: exitNotFound,
		problem.Conflict: exitConflict, problem.FailedPrecondition: exitConflict, problem.RateLimited: exitUnavailable,
		problem.Overloaded: exitUnavailable, problem.Unavailable: exitUnavailable,
	}
	for kind := problem.Internal; kind <= problem.Unavailable; kind++ {
		if got := codeOf(kind); got != want[kind] {
			t.Errorf("%v: %d, want %d", kind, got, want[kind])
		}
		if got := codeOfReason(kind.String(), -1); got != want[kind] {
			t.Errorf("%v as a reason: %d, want %d", kind, got, want[kind])
		}
	}
}
