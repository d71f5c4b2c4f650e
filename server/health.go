package server

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"
)

// health answers who looks after the server. Alive: the process serves. Ready:
// it can issue.
type health struct {
	rooms    *rooms
	pprof    bool // serve /debug/pprof too
	stopping atomic.Bool
}

// maxCheckpointAge is how long a server without a checkpoint of its newest
// entries counts as ready.
const maxCheckpointAge = time.Minute

// problems are why the server cannot issue; none if it can.
func (h *health) problems() []string {
	var all []string
	r := h.rooms
	if h.stopping.Load() {
		all = append(all, "the server is stopping")
	}
	if r.store.Stats().Failed {
		all = append(all, "the store is read-only after a failed write: restart the server")
	}
	if r.watch.failed.Load() {
		all = append(all, "the store cannot be read")
	}
	if err := r.log.Hold(); err != nil {
		all = append(all, err.Error())
	} else if err := r.log.Healthy(); err != nil && r.now().Sub(r.log.Stats().Time) > maxCheckpointAge {
		all = append(all, "no new checkpoint can be made")
	}
	if err := r.clock.err(); err != nil {
		all = append(all, err.Error())
	}
	if cert := r.own.current.Load(); cert != nil && r.now().After(cert.Leaf.NotAfter) {
		all = append(all, "the server's own certificate has expired")
	}
	return all
}

// handler serves /healthz, /livez and /readyz.
func (h *health) handler(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	if h.pprof {
		profiles(mux)
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	for _, path := range []string{"GET /healthz", "GET /readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { answer(w, h.problems()) })
	}
	return mux
}

// profiles serves the runtime's profiles.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func answer(w http.ResponseWriter, problems []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if len(problems) == 0 {
		_, _ = fmt.Fprintln(w, "ok") // the peer may have gone
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintln(w, strings.Join(problems, "\n"))
}
