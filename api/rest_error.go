package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/certwright/certwright/problem"
)

// problemJSON is an error as REST answers it (RFC 9457); the schema Problem of the
// OpenAPI document.
type problemJSON struct {
	Type       string            `json:"type"`
	Title      string            `json:"title"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail,omitempty"`
	Reason     string            `json:"reason"`
	Rule       string            `json:"rule,omitempty"`
	Value      string            `json:"value,omitempty"`
	Allowed    string            `json:"allowed,omitempty"`
	Help       string            `json:"help,omitempty"`
	Violations []json.RawMessage `json:"violations,omitempty"`
	RequestID  string            `json:"requestId,omitempty"`
}

// refuse writes an error. A status of 0 follows from the error's code.
func (s *Server) refuse(ctx context.Context, w http.ResponseWriter, code int, err error) {
	c := callOf(ctx)
	var f *failure
	if !errors.As(err, &f) {
		f = s.fail(ctx, "", c, err)
	}
	if code == 0 {
		code = httpStatus(f.status.Code())
	}
	p := f.problem
	body := problemJSON{
		Type: "urn:certwright:problem:" + strings.ToLower(strings.ReplaceAll(p.Kind.String(), "_", "-")), Title: title(p.Kind), Status: code,
		Detail: clean(message(p)), Reason: clean(p.Code()), Rule: clean(p.Rule), Value: clean(p.Value),
		Allowed: clean(p.Allowed), Help: clean(p.Help), RequestID: c.requestID,
	}
	for _, v := range violations(p.Violations) {
		if text, err := protojson.Marshal(v); err == nil {
			body.Violations = append(body.Violations, text)
		}
	}
	text, err := json.Marshal(body)
	if err != nil { // nothing in it can fail
		text = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("Content-Length")
	switch code {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="certwright"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry.Seconds()))))
	}
	w.WriteHeader(code)
	// A write error is the client's going away.
	_, _ = w.Write(append(text, '\n'))
}

// httpStatus is the HTTP status of a code, as google.rpc.Code gives it, but for
// what a caller could otherwise take for a fault of the server.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.Unimplemented:
		return http.StatusNotFound
	case codes.Canceled:
		return 499
	}
	return runtime.HTTPStatusFromCode(code)
}

// title is the kind in a few words.
func title(kind problem.Kind) string {
	text := strings.ToLower(strings.ReplaceAll(kind.String(), "_", " "))
	text = strings.Replace(text, "csr", "CSR", 1)
	return strings.ToUpper(text[:1]) + text[1:]
}

// gatewayError answers what went wrong between the body and the answer: a
// failure of the chain, or the gateway's own refusal of what it cannot read.
func (s *Server) gatewayError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	// The gateway hands its handlers the request's context, which has the call.
	ctx := r.Context()
	if body, ok := ctx.Value(bodyKey{}).(*limitedBody); ok && body.over {
		s.refuseBody(ctx, w)
		return
	}
	s.refuse(ctx, w, 0, s.unread(err))
}

// unread makes a problem of the gateway's own errors, whose text is about the
// request's form.
func (s *Server) unread(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	var detail string
	var http *runtime.HTTPStatusError
	switch st, ok := status.FromError(err); {
	case errors.As(err, &http) && http.HTTPStatus < 500:
		detail = http.Err.Error()
	case ok && st.Code() == codes.InvalidArgument:
		detail = st.Message()
	default:
		return err
	}
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "REQUEST_UNREADABLE", Err: err,
		Detail: "the request cannot be read: " + clean(readable(detail)),
		Help:   "The fields are described in /openapi.json.",
	}
}

// readable takes out of protojson's messages what is there to keep programs from
// relying on them: a non-breaking space in place of a common one.
func readable(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\u00a0", " "), "proto: ", "")
}

// streamError is the last line of a stream that fails after it began.
func (s *Server) streamError(ctx context.Context, err error) *status.Status {
	var f *failure
	if !errors.As(err, &f) {
		f = s.fail(ctx, "", callOf(ctx), err)
	}
	return f.status
}

// routingError answers what the gateway finds no route for. Since every request
// has matched a route before, this is a path that the two read differently.
func (s *Server) routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	s.refuse(r.Context(), w, code, &problem.Problem{
		Kind: problem.NotFound, Reason: "ROUTE_NOT_FOUND", Detail: "there is nothing at this path",
		Help: "The routes are described in /openapi.json.",
	})
}
