package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/client"
	"github.com/certwright/certwright/problem"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// fromStatus explains what a server answered, or nil if err is no gRPC status.
func fromStatus(err error) *failure {
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) {
		return nil
	}
	st := carrier.GRPCStatus()
	f := &failure{code: codeOfStatus(st.Code()), text: st.Message(), err: err}
	if f.text == "" {
		f.text = strings.ToLower(st.Code().String())
	}
	var requestID string
	var violations []string
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			f.code = codeOfReason(d.GetReason(), f.code)
			f.text = summary(f.text, d.GetReason(), d.GetMetadata()["allowed"], d.GetMetadata()["help"])
			requestID = d.GetMetadata()["request_id"]
		case *errdetails.RequestInfo:
			requestID = d.GetRequestId()
		case *pb.Violation:
			violations = append(violations, violationLine(d))
		case *errdetails.BadRequest:
			f.detail = append(f.detail, fieldLines(d, st.Message())...)
		}
	}
	if len(violations) > 0 { // they say the same as the field violations, and more
		f.detail = violations
	}
	if requestID != "" {
		f.detail = append(f.detail, "request ID: "+requestID)
	}
	return f
}

// reasonOf is the reason code of what a server answered; "" if there is none.
func reasonOf(err error) string {
	st, _ := status.FromError(err)
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// fieldLines are the violations of fields, but for one that only says again what
// the message says.
func fieldLines(bad *errdetails.BadRequest, message string) []string {
	var lines []string
	for _, v := range bad.GetFieldViolations() {
		line := v.GetDescription()
		if line == message {
			continue
		}
		if v.GetField() != "" {
			line = v.GetField() + ": " + line
		}
		lines = append(lines, line)
	}
	return lines
}

// summary is one line: what is wrong, what would be allowed, what to do. What the
// first part says already is not said again.
func summary(detail, reason, allowed, help string) string {
	if detail == "" {
		detail = strings.ToLower(strings.ReplaceAll(reason, "_", " "))
	}
	if allowed != "" && !strings.Contains(detail, allowed) {
		detail += "; allowed: " + allowed
	}
	if help != "" && !strings.Contains(detail, help) {
		detail += "; " + lowerFirst(help)
	}
	return strings.TrimSuffix(detail, ".")
}

// lowerFirst is a sentence as the continuation of another; a word that is all
// capitals stays.
func lowerFirst(text string) string {
	if len(text) > 1 && text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z' {
		return string(text[0]+'a'-'A') + text[1:]
	}
	return text
}

// violationLine is a broken rule on one line: reason, rule, value, what is
// allowed, what to do.
func violationLine(v *pb.Violation) string {
	var b strings.Builder
	b.WriteString(v.GetReason())
	if v.GetDetail() != "" {
		b.WriteString(": " + v.GetDetail())
	}
	for _, part := range []struct{ name, value string }{
		{"rule", v.GetRule()}, {"value", v.GetValue()}, {"allowed", v.GetAllowed()}, {"help", v.GetHelp()},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, "; %s: %s", part.name, part.value)
		}
	}
	return b.String()
}

// codeOfReason is the exit code of a reason that says more than the gRPC code.
func codeOfReason(reason string, otherwise int) int {
	if neverSigned(reason) {
		return exitDenied
	}
	for kind := problem.Internal; kind <= problem.Unavailable; kind++ {
		if kind.String() == reason {
			return codeOf(kind)
		}
	}
	if reason == "BLOCKED_KEY" { // a sort of BAD_CSR
		return exitDenied
	}
	return otherwise
}

// neverSigned tells the reasons for which a CSR, its key or a name is signed under
// no policy.
func neverSigned(reason string) bool {
	switch {
	case reason == "CSR_TOO_LARGE":
		return false // a limit of the request
	case reason == "NAME_FORM", reason == "NAME_TYPE":
		return true
	}
	return strings.HasPrefix(reason, "KEY_") || strings.HasPrefix(reason, "CSR_")
}

func codeOfStatus(code codes.Code) int {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange:
		return exitUsage
	case codes.NotFound:
		return exitNotFound
	case codes.Unauthenticated, codes.PermissionDenied:
		return exitAuth
	case codes.AlreadyExists, codes.Aborted, codes.FailedPrecondition:
		return exitConflict
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return exitUnavailable
	default:
		return exitFailure
	}
}

// reached puts into words that the server did not answer; what it answered passes
// through.
func (a *app) reached(err error) error {
	if refused := a.otherRoot.Load(); refused != nil && err != nil {
		return refused
	}
	st, ok := status.FromError(err)
	if err == nil || !ok || len(st.Details()) > 0 {
		return err
	}
	where := a.server
	if where == "" {
		where = a.data
	}
	switch {
	case speaksHTTP(st):
		return notGRPC(where)
	case st.Code() == codes.DeadlineExceeded:
		return failf(exitUnavailable, "the server at %s did not answer within %s; try again, or set --timeout", where, a.timeout.String())
	case st.Code() != codes.Unavailable:
		return err
	}
	return a.unreached(st, where)
}

// unreached is why there is no connection.
func (a *app) unreached(st *status.Status, where string) error {
	switch {
	case strings.Contains(st.Message(), "certificate signed by unknown authority"):
		return a.untrusted(where)
	case strings.Contains(st.Message(), client.ErrOtherUser.Error()):
		return failf(exitAuth, "%s: %w: if it is the server that is meant, name it by --data or --server", where, client.ErrOtherUser)
	case strings.Contains(st.Message(), "first record does not look like a TLS handshake"):
		return noTLS(where)
	case strings.Contains(st.Message(), "missing selected ALPN property"), strings.Contains(st.Message(), "no application protocol"):
		return notGRPC(where)
	case strings.Contains(st.Message(), client.ErrOtherRoot.Error()):
		return failf(exitConflict, "%w; check --server, and --fingerprint with what the CA's admin says", client.ErrOtherRoot)
	case strings.Contains(st.Message(), "x509:"), strings.Contains(st.Message(), "tls:"):
		_, why, _ := strings.Cut(st.Message(), "handshake failed: ")
		return failf(exitUnavailable, "no safe connection to the server at %s: %s; check --server and --ca", where, strings.Trim(why, `"`))
	}
	return failf(exitUnavailable, "no server answers at %s; is it running? start one with: certwright serve --dev", where)
}

// untrusted says what to trust a server by, and why the data folder's root is not it.
func (a *app) untrusted(where string) error {
	const help = "name the CA's root with --ca (CERTWRIGHT_CA) or its --fingerprint, or have this machine trust it: certwright trust install"
	if file := filepath.Join(a.data, "root.crt"); a.ca == "" && !a.dataNamed && exists(file) && a.foreign(file) {
		return failf(exitConflict, "the certificate of the server at %s is not signed by a trusted root, and %s is another user's, or can be written by others: name its folder with --data if it is right", where, file)
	}
	if file := a.rootFile(); file != "" && a.ca == "" && !onLoopback(where) {
		return failf(exitConflict, "the certificate of the server at %s is not signed by a trusted root, and %s is believed of servers of this machine only; %s", where, file, help)
	}
	return failf(exitConflict, "the certificate of the server at %s is not signed by a trusted root; %s", where, help)
}

// speaksHTTP tells that what answered a call is no gRPC server.
func speaksHTTP(st *status.Status) bool {
	return strings.Contains(st.Message(), "unexpected HTTP status code") || strings.Contains(st.Message(), "unexpected content-type")
}

func notGRPC(where string) error {
	return failf(exitUsage, "what answers at %s speaks HTTP, not gRPC: this is the REST port; the gRPC port is usually %s (listen.grpc)", where, client.DefaultPort)
}

// noTLS is about the server's HTTP port, its metrics, or another program.
func noTLS(where string) error {
	return failf(exitUsage, "what answers at %s speaks no TLS: it is not the gRPC port, which is usually %s (listen.grpc)", where, client.DefaultPort)
}
