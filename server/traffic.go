package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// traffic counts requests and their times, for gRPC as a stats.Handler, for HTTP
// as a wrapper of handlers. No label is taken from what a caller sends.
type traffic struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   atomic.Uint64 // in HTTP handlers
}

func newTraffic() *traffic {
	return &traffic{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certwright_requests_total", Help: "Requests by listener, method and outcome: a gRPC code, or an HTTP status.",
		}, []string{"listener", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "certwright_request_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener", "method"}),
	}
}

func (t *traffic) note(listener, method, code string, took time.Duration) {
	t.requests.WithLabelValues(listener, method, code).Inc()
	t.seconds.WithLabelValues(listener, method).Observe(took.Seconds())
}

// grpcTraffic is the stats.Handler of one gRPC listener. It also cuts the
// connection of a call whose first message does not come: gRPC itself waits for it
// as long as anything arrives.
type grpcTraffic struct {
	traffic  *traffic
	listener string
	methods  map[string]bool                  // full names; others count as "other"
	find     func(remote string) *limitedConn // nil: connections have no limits
}

type (
	callKey struct{}
	connKey struct{}
)

// call is what grpcTraffic remembers of a call.
type call struct {
	method string
	conn   *limitedConn // nil: without limits
	drip   *time.Timer  // nil: not watched
}

// arrived says that the call's message is there: the call was admitted.
func (c *call) arrived() {
	if c.conn == nil {
		return
	}
	c.drip.Stop()
	if strings.HasPrefix(c.method, "/grpc.health.") {
		c.conn.touch()
	} else {
		c.conn.prove()
	}
}

// TagRPC implements stats.Handler.
func (g grpcTraffic) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	c := &call{method: info.FullMethodName}
	if !g.methods[c.method] {
		c.method = "other"
	}
	if conn, ok := ctx.Value(connKey{}).(*limitedConn); ok {
		c.conn = conn
		c.drip = time.AfterFunc(messageTimeout, func() { _ = conn.Close() }) // it is thrown away
	}
	return context.WithValue(ctx, callKey{}, c)
}

// HandleRPC implements stats.Handler.
func (g grpcTraffic) HandleRPC(ctx context.Context, s stats.RPCStats) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	switch s := s.(type) {
	case *stats.InPayload:
		c.arrived()
	case *stats.End:
		code := status.Code(s.Error)
		// A call whose message was awaited in vain is answered so; who drips goes on
		// all the same, and is cut.
		if c.drip != nil && code != codes.InvalidArgument {
			c.drip.Stop()
		}
		g.traffic.note(g.listener, c.method, code.String(), s.EndTime.Sub(s.BeginTime))
	}
}

// TagConn implements stats.Handler.
func (g grpcTraffic) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if g.find == nil {
		return ctx
	}
	conn := g.find(info.RemoteAddr.String())
	if conn == nil { // it is closed already
		return ctx
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// HandleConn implements stats.Handler.
func (g grpcTraffic) HandleConn(context.Context, stats.ConnStats) {}

// http counts what next answers, and keeps the server alive if it panics.
func (t *traffic) http(listener string, logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		seen := &statusWriter{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p) // the way in which a handler cuts a connection
				}
				t.panics.Add(1)
				logger.ErrorContext(r.Context(), "panic while a request was served", slog.String("listener", listener), slog.Any("panic", p))
				if seen.code == 0 {
					http.Error(seen, "internal error", http.StatusInternalServerError)
				}
			}
			t.note(listener, methodOf(r.Method), strconv.Itoa(seen.status()), time.Since(started))
		}()
		next.ServeHTTP(seen, r)
	})
}

// methodOf is the method if it is a usual one: the label takes no other words.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher, which streaming answers ask for.
func (w *statusWriter) Flush() {
	// A connection that cannot flush sends at its end.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *statusWriter) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}
