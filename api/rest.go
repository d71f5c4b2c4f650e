package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// Handler serves REST under /v1/ and /openapi.json. It is meant for an
// http.Server with TLS and read timeouts. Of a request's headers only
// Authorization is looked at: no other, forwarded ones included, says anything
// about who calls.
func (s *Server) Handler() (http.Handler, error) {
	marshaler := newMarshaler()
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithErrorHandler(s.gatewayError),
		runtime.WithStreamErrorHandler(s.streamError),
		runtime.WithRoutingErrorHandler(s.routingError),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
	)
	ctx, conn := context.Background(), inProcess{s.services}
	for _, register := range []func() error{
		func() error {
			return certwrightv1.RegisterCertificateServiceHandlerClient(ctx, mux, certwrightv1.NewCertificateServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterLedgerServiceHandlerClient(ctx, mux, certwrightv1.NewLedgerServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterPolicyServiceHandlerClient(ctx, mux, certwrightv1.NewPolicyServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterTokenServiceHandlerClient(ctx, mux, certwrightv1.NewTokenServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterIssuerServiceHandlerClient(ctx, mux, certwrightv1.NewIssuerServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterCRLServiceHandlerClient(ctx, mux, certwrightv1.NewCRLServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterOperationServiceHandlerClient(ctx, mux, certwrightv1.NewOperationServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterAccountServiceHandlerClient(ctx, mux, certwrightv1.NewAccountServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterEABServiceHandlerClient(ctx, mux, certwrightv1.NewEABServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterOrderServiceHandlerClient(ctx, mux, certwrightv1.NewOrderServiceClient(conn))
		},
		func() error {
			return certwrightv1.RegisterSessionServiceHandlerClient(ctx, mux, certwrightv1.NewSessionServiceClient(conn))
		},
	} {
		if err := register(); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	return restHandler{server: s, mux: mux, origins: http.NewCrossOriginProtection()}, nil
}

func noHeader(string) (string, bool) { return "", false }

// restHandler is what every REST request passes before the gateway.
type restHandler struct {
	server *Server
	mux    *runtime.ServeMux
	// origins tells what a browser sends for a page of another site.
	origins *http.CrossOriginProtection
}

// ServeHTTP implements http.Handler: route, credentials and role are judged by the
// request line and headers, before the body is read.
func (h restHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.server
	c := &call{requestID: newRequestID(), rest: true}
	securityHeaders(w.Header(), c.requestID)
	ctx := withCall(r.Context(), c)
	if r.URL.Path == "/openapi.json" {
		s.serveOpenAPI(ctx, w, r, c)
		return
	}
	route, verbs := s.match(r.Method, r.URL.Path)
	switch {
	case len(verbs) == 0:
		s.refuse(ctx, w, http.StatusNotFound, &problem.Problem{
			Kind: problem.NotFound, Reason: "ROUTE_NOT_FOUND", Detail: "there is nothing at this path",
			Help: "The routes are described in /openapi.json.",
		})
		return
	case route.method == "":
		s.refuseVerb(ctx, w, verbs)
		return
	}
	if err := h.origins.Check(r); err != nil { // a certificate is shown by a browser whoever's page asks
		s.refuse(ctx, w, 0, &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "CROSS_ORIGIN", Detail: "another site's page has sent this request",
			Help: "Call the API from a program, or from a page of this server.",
		})
		return
	}
	var err error
	if c.credentials, err = restCredentials(r); err == nil || s.methods[route.method].public {
		err = s.admit(ctx, c, route.method)
	}
	if err != nil {
		s.counters.calls.Add(1)
		s.refuse(ctx, w, 0, s.fail(ctx, route.method, c, err))
		return
	}
	if err := route.checkQuery(r.URL.RawQuery); err != nil {
		s.refuse(ctx, w, 0, err)
		return
	}
	limit := int64(s.config.Limits.Message)
	if r.ContentLength > limit {
		s.refuseBody(ctx, w)
		return
	}
	body := &limitedBody{reader: http.MaxBytesReader(w, r.Body, limit)}
	inner := r.WithContext(context.WithValue(ctx, bodyKey{}, body))
	inner.Body = body
	inner.Header = http.Header{} // the gateway has no use for any
	h.mux.ServeHTTP(w, inner)
}

func securityHeaders(h http.Header, requestID string) {
	h.Set("X-Request-Id", requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
}

func restCredentials(r *http.Request) (auth.Credentials, error) {
	c := auth.Credentials{TLS: r.TLS, RemoteAddr: r.RemoteAddr}
	switch values := r.Header.Values("Authorization"); len(values) {
	case 0:
	case 1:
		c.Authorization = values[0]
		if _, ok := auth.Bearer(values[0]); !ok {
			return c, unauthenticated("CREDENTIALS_NOT_KNOWN", "the Authorization header is not a bearer token")
		}
	default:
		return c, unauthenticated("CREDENTIALS_TWICE", "the request has more than one Authorization header")
	}
	return c, nil
}

type bodyKey struct{}

// limitedBody remembers that the body was too long: the gateway passes on the
// error's text alone.
type limitedBody struct {
	reader io.ReadCloser
	over   bool
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.reader.Read(p)
	if _, over := err.(*http.MaxBytesError); over { //nolint:errorlint // MaxBytesReader returns it bare
		b.over = true
	}
	return n, err
}

// Close implements io.Closer.
func (b *limitedBody) Close() error { return b.reader.Close() }

func (s *Server) serveOpenAPI(ctx context.Context, w http.ResponseWriter, r *http.Request, c *call) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuseVerb(withCall(ctx, c), w, []string{http.MethodGet, http.MethodHead})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	// A write error is the client's going away.
	_, _ = w.Write(s.openapi)
}

func (s *Server) refuseVerb(ctx context.Context, w http.ResponseWriter, verbs []string) {
	w.Header().Set("Allow", strings.Join(verbs, ", "))
	s.refuse(ctx, w, http.StatusMethodNotAllowed, &problem.Problem{
		Kind: problem.Malformed, Reason: "VERB_NOT_ALLOWED", Detail: "this path has no such method",
		Allowed: strings.Join(verbs, ", "),
	})
}

func (s *Server) refuseBody(ctx context.Context, w http.ResponseWriter) {
	s.refuse(ctx, w, http.StatusRequestEntityTooLarge, &problem.Problem{
		Kind: problem.Malformed, Reason: "BODY_TOO_LARGE", Rule: "request body",
		Detail: "the request body is too large", Allowed: fmt.Sprintf("at most %d octets", s.config.Limits.Message),
	})
}
