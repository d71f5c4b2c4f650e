package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// Domain is the domain of every ErrorInfo.
const Domain = "certwright"

// reasonNoMethod is a problem's reason that has a code of its own.
const reasonNoMethod = "METHOD_NOT_FOUND"

const (
	maxDetailText = 1024     // octets of one text in an error
	maxDetails    = 12 << 10 // octets of an error's violations: trailers are limited
)

// failure is an error on its way to a caller: the problem as the caller may see
// it, the call's name, and both as a gRPC status.
type failure struct {
	problem   *problem.Problem
	requestID string
	status    *status.Status
	retry     time.Duration // Retry-After, where the caller may try again
}

// Error implements error.
func (f *failure) Error() string { return f.status.Message() }

// GRPCStatus is what package status asks for.
func (f *failure) GRPCStatus() *status.Status { return f.status }

// fail makes any error a failure; an internal one is logged with its cause, which
// the caller does not see.
func (s *Server) fail(ctx context.Context, method string, c *call, err error) *failure {
	p, code := visible(err)
	level := slog.LevelDebug
	if p.Kind == problem.Internal {
		s.counters.failed.Add(1)
		level = slog.LevelError
	}
	s.config.Logger.LogAttrs(ctx, level, "call refused", slog.String("method", method), slog.String("request", c.requestID),
		slog.String("principal", c.principal.String()), slog.String("reason", p.Code()), slog.Any("error", err))
	if p.Kind == problem.Internal {
		p = &problem.Problem{
			Kind: problem.Internal, Detail: "something went wrong in the server",
			Help: "Tell an admin the request ID: the server's log says more.",
		}
	}
	retry := comeAgain()
	return &failure{problem: p, requestID: c.requestID, status: toStatus(code, p, c.requestID, retry), retry: retry}
}

// visible is what an error is to its caller.
func visible(err error) (*problem.Problem, codes.Code) {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p, codeOf(p)
	}
	of := func(kind problem.Kind, reason, detail, help string) (*problem.Problem, codes.Code) {
		p := &problem.Problem{Kind: kind, Reason: reason, Detail: detail, Help: help, Err: err}
		return p, codeOf(p)
	}
	switch {
	case errors.Is(err, storage.ErrTokenSpent):
		p := token.Spent()
		return p, codeOf(p)
	case errors.Is(err, storage.ErrOverloaded):
		return of(problem.Overloaded, "", "the server has too much to do", "Try again in a moment.")
	case errors.Is(err, storage.ErrReadOnly), errors.Is(err, storage.ErrUnknownOutcome):
		return of(problem.Unavailable, "STORE_READ_ONLY", "the server takes no changes at this time", "Tell an admin; then try again with the same request_id.")
	case errors.Is(err, storage.ErrConflict):
		return of(problem.Conflict, "CHANGED_MEANWHILE", "what the request rests on has changed meanwhile", "Look again, and try again.")
	case errors.Is(err, context.Canceled):
		p, _ := of(problem.Unavailable, "CANCELED", "the call was canceled", "")
		return p, codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		p, _ := of(problem.Unavailable, "TIMEOUT", "the call took too long", "Try again with the same request_id.")
		return p, codes.DeadlineExceeded
	}
	// What gRPC's own services answer (health, reflection).
	if st, ok := status.FromError(err); ok && st.Code() != codes.Unknown && st.Code() != codes.Internal {
		for kind := problem.Malformed; kind <= problem.Unavailable; kind++ {
			if p := (&problem.Problem{Kind: kind, Detail: st.Message()}); codeOf(p) == st.Code() {
				return p, st.Code()
			}
		}
	}
	return of(problem.Internal, "", "", "")
}

// codeOf is the one mapping of kinds to gRPC codes.
func codeOf(p *problem.Problem) codes.Code {
	switch p.Kind {
	case problem.Malformed, problem.BadCSR, problem.RejectedIdentifier:
		return codes.InvalidArgument
	case problem.Unauthenticated:
		return codes.Unauthenticated
	case problem.PermissionDenied, problem.Denied:
		return codes.PermissionDenied
	case problem.NotFound:
		if p.Reason == reasonNoMethod {
			return codes.Unimplemented
		}
		return codes.NotFound
	case problem.Conflict:
		return codes.AlreadyExists
	case problem.FailedPrecondition:
		return codes.FailedPrecondition
	case problem.RateLimited, problem.Overloaded:
		return codes.ResourceExhausted
	case problem.Unavailable:
		return codes.Unavailable
	}
	return codes.Internal
}

// toStatus is the problem as a status: ErrorInfo always, and what else fits.
func toStatus(code codes.Code, p *problem.Problem, requestID string, wait time.Duration) *status.Status {
	info := &errdetails.ErrorInfo{Reason: clean(p.Code()), Domain: Domain, Metadata: map[string]string{"request_id": requestID}}
	for key, value := range map[string]string{"rule": p.Rule, "value": p.Value, "allowed": p.Allowed, "help": p.Help} {
		if value != "" {
			info.Metadata[key] = clean(value)
		}
	}
	details := append([]protoadapt.MessageV1{protoadapt.MessageV1Of(info)}, kindDetails(p, wait)...)
	for _, v := range violations(p.Violations) {
		details = append(details, protoadapt.MessageV1Of(v))
	}
	st := status.New(code, clean(message(p)))
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}

func kindDetails(p *problem.Problem, wait time.Duration) []protoadapt.MessageV1 {
	retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}
	switch p.Kind {
	case problem.Malformed, problem.BadCSR, problem.RejectedIdentifier:
		field := &errdetails.BadRequest_FieldViolation{
			Field: clean(p.Rule), Reason: clean(p.Code()), Description: clean(message(p)),
		}
		return []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{field}})}
	case problem.FailedPrecondition:
		v := &errdetails.PreconditionFailure_Violation{Type: clean(p.Code()), Subject: clean(p.Rule), Description: clean(message(p))}
		return []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{v}})}
	case problem.RateLimited, problem.Overloaded:
		v := &errdetails.QuotaFailure_Violation{Subject: clean(p.Rule), Description: clean(message(p))}
		return []protoadapt.MessageV1{
			protoadapt.MessageV1Of(&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{v}}), protoadapt.MessageV1Of(retry),
		}
	case problem.Unavailable:
		return []protoadapt.MessageV1{protoadapt.MessageV1Of(retry)}
	}
	return nil
}

// message is the problem's sentence.
func message(p *problem.Problem) string {
	if p.Detail != "" {
		return p.Detail
	}
	return strings.ToLower(strings.ReplaceAll(p.Code(), "_", " "))
}

// violations are all broken rules, as far as an error has room; a last one says
// how many more there are.
func violations(list []problem.Violation) []*certwrightv1.Violation {
	var out []*certwrightv1.Violation
	size := 0
	for i, v := range list {
		m := &certwrightv1.Violation{
			Reason: clean(v.Reason), Rule: clean(v.Rule), Value: clean(v.Value), Allowed: clean(v.Allowed),
			Help: clean(v.Help), Detail: clean(v.Detail),
		}
		if size += proto.Size(m); size > maxDetails {
			return append(out, &certwrightv1.Violation{
				Reason: "MORE_VIOLATIONS", Detail: fmt.Sprintf("%d more rules are broken", len(list)-i),
			})
		}
		out = append(out, m)
	}
	return out
}

// clean is text that may stand in a message: UTF-8 of bounded length.
func clean(text string) string {
	if len(text) > maxDetailText {
		text = text[:maxDetailText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
