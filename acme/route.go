package acme

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/certwright/certwright/acme/jws"
	"github.com/certwright/certwright/storage"
)

// signer says by what a request must be signed.
type signer int

const (
	byAccount signer = iota // kid
	byKey                   // jwk
	byEither
	unsigned // GET and HEAD
)

// route is a resource and how it is asked for.
type route struct {
	signer signer
	place  place
	do     func(context.Context, *request) error
}

// resource finds the route of a path below Prefix. args are its variable parts.
func (s *Server) resource(path string) (route, []string, bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	args := parts[1:]
	var r route
	switch len(args) {
	case 0:
		r = s.fixed(parts[0])
	case 1:
		r = s.named(parts[0])
	case 2:
		switch {
		case parts[0] == "account" && args[1] == "orders":
			r, args = route{byAccount, anyPlace, s.listOrders}, args[:1]
		case parts[0] == "order" && args[1] == "finalize":
			r, args = route{byAccount, anyPlace, s.finalize}, args[:1]
		case parts[0] == "challenge":
			r = route{byAccount, anyPlace, s.respond}
		}
	}
	return r, args, r.do != nil
}

// fixed is the route of a resource that there is once.
func (s *Server) fixed(name string) route {
	switch name {
	case "directory":
		return route{unsigned, noPlace, s.directory}
	case "new-nonce":
		return route{unsigned, noPlace, s.newNonce}
	case "new-account":
		return route{byKey, beginPlace, s.newAccount}
	case "new-order":
		return route{byAccount, beginPlace, s.newOrder}
	case "new-authz":
		return route{byAccount, beginPlace, s.newAuthorization}
	case "revoke-cert":
		return route{byEither, revokePlace, s.revoke}
	case "key-change":
		return route{byAccount, anyPlace, s.keyChange}
	}
	return route{}
}

// named is the route of a resource of a kind.
func (s *Server) named(kind string) route {
	switch kind {
	case "account":
		return route{byAccount, anyPlace, s.updateAccount}
	case "order":
		return route{byAccount, anyPlace, s.getOrder}
	case "authz":
		return route{byAccount, anyPlace, s.authorization}
	case "cert":
		return route{byAccount, anyPlace, s.certificate}
	case "renewal-info":
		return route{unsigned, askPlace, s.renewalInfo}
	}
	return route{}
}

// Handler serves everything under Prefix. It never answers with a 5xx to what a
// client has sent, and never believes the request's Host or forwarded headers.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		path, ours := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
		q := &request{server: s, w: w, r: r, url: s.base + path}
		if r.URL.RawQuery != "" {
			q.url += "?" + r.URL.RawQuery
		}
		s.commonHeaders(w.Header(), path)
		to, args, found := s.resource(path)
		if !ours || !found {
			s.answerFault(ctx, q, notFound("resource"))
			return
		}
		q.args = args
		if err := s.serve(ctx, q, to); err != nil {
			s.answerFault(ctx, q, err)
		}
	})
}

// commonHeaders are those of every answer (RFC 8555 §7.1: the index; §6.1: CORS).
func (s *Server) commonHeaders(h http.Header, path string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After")
	h.Set("Cache-Control", "public, max-age=0, no-cache")
	if path != "/directory" {
		h.Add("Link", "<"+s.Directory()+`>;rel="index"`)
	}
}

// serve checks the method, authenticates and does.
func (s *Server) serve(ctx context.Context, q *request, to route) error {
	methods := []string{http.MethodPost}
	if to.signer == unsigned {
		methods = []string{http.MethodGet, http.MethodHead}
	}
	allowed := strings.Join(append(methods, http.MethodOptions), ", ")
	switch q.r.Method {
	case http.MethodOptions:
		h := q.w.Header()
		h.Set("Allow", allowed)
		h.Set("Access-Control-Allow-Methods", allowed)
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "86400")
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	case methods[0], methods[len(methods)-1]:
	default:
		hint := "use POST with a JWS; to read a resource, POST-as-GET with an empty payload"
		if to.signer == unsigned {
			hint = "use GET"
		}
		return refuse(Malformed, "this resource is not asked for by %.16q: %s", q.r.Method, hint).
			with(http.StatusMethodNotAllowed).add("Allow", allowed)
	}
	defer q.leave()
	if to.signer == unsigned {
		if err := q.enter(to.place); err != nil {
			return err
		}
		return to.do(ctx, q)
	}
	if err := q.authenticate(ctx, to); err != nil {
		return err
	}
	q.w.Header().Set("Replay-Nonce", s.nonces.Make())
	return to.do(ctx, q)
}

// answerFault answers with a problem document. What is the server's own fault goes
// to the log; that it has too much to do is counted.
func (s *Server) answerFault(ctx context.Context, q *request, err error) {
	if errors.Is(err, storage.ErrNotFound) {
		var f *fault
		if !errors.As(err, &f) {
			err = notFound("resource").because(err)
		}
	}
	f := asFault(err)
	if f.Status >= 500 && ctx.Err() == nil && !errors.Is(err, errBusy) && !errors.Is(err, storage.ErrOverloaded) {
		s.logger.LogAttrs(ctx, slog.LevelError, "ACME request failed", slog.String("path", q.r.URL.Path), slog.Any("error", err))
	}
	for name, values := range f.header {
		for _, value := range values {
			q.w.Header().Add(name, value)
		}
	}
	if f.retry > 0 {
		q.retryAfter(f.retry)
	}
	if q.r.Method == http.MethodPost && q.w.Header().Get("Replay-Nonce") == "" {
		q.w.Header().Set("Replay-Nonce", s.nonces.Make())
	}
	q.write(f.Status, "application/problem+json", mustJSON(f.Document))
}

// faultOf maps what reading a JWS can say.
func faultOf(err error) *fault {
	var algorithm *jws.AlgorithmError
	switch {
	case errors.As(err, &algorithm):
		f := refuse(BadSignatureAlgorithm, "%s", algorithm)
		f.Algorithms = algorithm.Allowed
		return f
	case errors.Is(err, jws.ErrNonce):
		return refuse(Malformed, "%s, or is missing", jws.ErrNonce)
	}
	return refuse(Malformed, "%s", err)
}
