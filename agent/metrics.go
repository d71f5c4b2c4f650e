package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The metrics, one series a certificate, but for the last.
var (
	notAfter = prometheus.NewDesc("certwright_agent_certificate_not_after_seconds", "When the certificate expires, in Unix time. 0: there is none.", []string{"name"}, nil)
	nextTry  = prometheus.NewDesc("certwright_agent_next_attempt_seconds", "When the next attempt is made, in Unix time.", []string{"name"}, nil)
	failures = prometheus.NewDesc("certwright_agent_failures", "Attempts that failed since the last certificate.", []string{"name"}, nil)
	hookBad  = prometheus.NewDesc("certwright_agent_hook_failing", "1 if the hook of the present certificate has failed and not yet succeeded.", []string{"name"}, nil)
	state    = prometheus.NewDesc("certwright_agent_certificate_state", "1 for the state that the certificate is in.", []string{"name", "state"}, nil)
	refused  = prometheus.NewDesc("certwright_agent_file_refused_seconds", "Since when the agent's file, read again, is not used because of its faults, in Unix time. 0: it is used.", nil, nil)
)

// Describe implements prometheus.Collector.
func (a *Agent) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{notAfter, nextTry, failures, hookBad, state, refused} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (a *Agent) Collect(to chan<- prometheus.Metric) {
	s := a.Status()
	since := 0.0
	if s.Refusal != "" {
		since = float64(s.RefusedSince.Unix())
	}
	to <- prometheus.MustNewConstMetric(refused, prometheus.GaugeValue, since)
	for _, c := range s.Certificates {
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{c.Name}, labels...)...)
		}
		ends := 0.0
		if c.Serial != "" {
			ends = float64(c.NotAfter.Unix())
		}
		gauge(notAfter, ends)
		gauge(nextTry, float64(c.NextAttempt.Unix()))
		gauge(failures, float64(c.Failures))
		bad := 0.0
		if c.HookError != "" {
			bad = 1
		}
		gauge(hookBad, bad)
		gauge(state, 1, c.State)
	}
}

// listenMetrics opens the listener; serve serves until its context ends.
func (a *Agent) listenMetrics() (address string, serve func(context.Context) error, err error) {
	if a.config.Metrics == "" {
		return "", func(context.Context) error { return nil }, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", a.config.Metrics)
	if err != nil {
		return "", nil, err
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(a); err != nil {
		return "", nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	s := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	return listener.Addr().String(), func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = s.Close() })
		defer stop()
		return s.Serve(listener)
	}, nil
}
