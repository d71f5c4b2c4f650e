package server

import (
	"cmp"
	"maps"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxOwners is how many owners the expiry metric names: those that expire first.
const maxOwners = 200

// metrics turns the rooms' counters into Prometheus metrics when they are asked
// for; what the listeners see is counted as it happens (traffic.go).
type metrics struct {
	registry *prometheus.Registry
	traffic  *traffic
}

// gauge is one value read at the time of the scrape.
type gauge struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(emit func(value float64, labels ...string))
}

// gauges is a prometheus.Collector of such values.
type gauges []gauge

// Describe implements prometheus.Collector.
func (g gauges) Describe(to chan<- *prometheus.Desc) {
	for _, each := range g {
		to <- each.desc
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	for _, each := range g {
		each.values(func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(each.desc, each.kind, value, labels...)
		})
	}
}

func read(kind prometheus.ValueType, name, help string, labels []string, values func(emit func(float64, ...string))) gauge {
	return gauge{desc: prometheus.NewDesc("certwright_"+name, help, labels, nil), kind: kind, values: values}
}

func one(kind prometheus.ValueType, name, help string, value func() float64) gauge {
	return read(kind, name, help, nil, func(emit func(float64, ...string)) { emit(value()) })
}

func newMetrics(r *rooms, version string) (*metrics, error) {
	m := &metrics{registry: prometheus.NewRegistry(), traffic: newTraffic()}
	all := slices.Concat(authorityGauges(r), storeGauges(r), expiryGauges(r), ocspGauges(r), crlGauges(r), witnessGauges(r), loadGauges(r), sessionGauges(r), gauges{
		read(prometheus.GaugeValue, "build_info", "1, with the version of the program and of Go.", []string{"version", "goversion"},
			func(emit func(float64, ...string)) { emit(1, version, runtime.Version()) }),
		one(prometheus.CounterValue, "panics_total", "Panics while a call was served. It must stay 0.",
			func() float64 { return float64(r.api.Stats().Panics) + float64(m.traffic.panics.Load()) }),
		one(prometheus.CounterValue, "internal_errors_total", "Calls that ended in an internal error.",
			func() float64 { return float64(r.api.Stats().Failed) }),
	})
	for _, c := range []prometheus.Collector{
		all, latency{r.ocsp}, m.traffic.requests, m.traffic.seconds, goCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// goCollector is the usual one, and what the last collection of garbage found alive: what a
// leak shows in first.
func goCollector() prometheus.Collector {
	return collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")}))
}

func authorityGauges(r *rooms) gauges {
	counter := prometheus.CounterValue
	return gauges{
		one(counter, "certificates_issued_total", "Certificates issued.", func() float64 { return float64(r.authority.Stats().Issued) }),
		one(counter, "certificates_repeated_total", "Requests answered with the certificate of the same request before.",
			func() float64 { return float64(r.authority.Stats().Repeated) }),
		one(counter, "intents_abandoned_total", "Intents given up.", func() float64 { return float64(r.authority.Stats().Abandoned) }),
		one(counter, "certificates_revoked_total", "Certificates revoked.", func() float64 { return float64(r.authority.Stats().Revoked) }),
		read(counter, "requests_refused_total", "Refusals by reason code.", []string{"reason"}, func(emit func(float64, ...string)) {
			for reason, n := range r.authority.Stats().Refused {
				emit(float64(n), reason)
			}
		}),
		one(counter, "refusals_dropped_total", "Refusals that came too fast to be kept.", func() float64 { return float64(r.refusals.Dropped()) }),
		read(counter, "key_signatures_total", "Uses of the authority's keys by purpose.", []string{"key", "purpose"}, func(emit func(float64, ...string)) {
			for issuer, n := range r.authority.Stats().Signatures {
				emit(float64(n), issuer, "certificate")
			}
			for issuer, n := range r.authority.Stats().CRLSignatures {
				emit(float64(n), issuer, "crl")
			}
			for issuer, n := range r.authority.Stats().OCSPSignatures {
				emit(float64(n), issuer, "ocsp")
			}
			emit(float64(r.log.Stats().Signatures), "checkpoint", "checkpoint")
		}),
	}
}

func storeGauges(r *rooms) gauges {
	counter, value := prometheus.CounterValue, prometheus.GaugeValue
	return gauges{
		one(counter, "storage_units_total", "Units of commands that the store has done.", func() float64 { return float64(r.store.Stats().Units) }),
		one(counter, "storage_transactions_total", "Transactions that the store has committed.", func() float64 { return float64(r.store.Stats().Transactions) }),
		one(counter, "storage_fsyncs_total", "Times that the store has waited for the disk.", func() float64 { return float64(r.store.Stats().Fsyncs) }),
		one(value, "storage_queue_length", "Units waiting for the store.", func() float64 { return float64(r.store.Stats().Queue) }),
		one(value, "storage_failed", "1 once a write has failed: the store is read-only until a restart.", func() float64 { return flag(r.store.Stats().Failed) }),
		one(value, "ledger_entries", "Entries in the ledger.", func() float64 { return float64(r.watch.size.Load()) }),
		one(value, "ledger_checkpoint_entries", "Entries under the newest checkpoint.", func() float64 { return float64(r.log.Stats().Size) }),
		one(counter, "ledger_checkpoint_failures_total", "Checkpoints that failed.", func() float64 { return float64(r.log.Stats().Failures) }),
		one(value, "ledger_checkpoint_age_seconds", "For how long entries have been waiting for a checkpoint; 0: all are under one.", func() float64 {
			if r.watch.size.Load() <= r.log.Stats().Size {
				return 0
			}
			return max(0, r.now().Sub(r.log.Stats().Time).Seconds())
		}),
		one(value, "ledger_completeness_difference", "Certificate signatures counted at the keys less the intents in the ledger that stand for them. It must stay 0: more was signed past the ledger, less was signed elsewhere.",
			func() float64 { return float64(r.tally.Count().Difference()) }),
		one(counter, "ledger_signatures_total", "Certificate signatures counted at the keys since the ledger began.", func() float64 { return float64(r.tally.Count().Signatures) }),
		one(counter, "ledger_intents_total", "Intents in the ledger that those are compared with.", func() float64 { return float64(r.tally.Count().Intents) }),
		one(value, "ledger_intents_uncounted", "Intents of runs that ended without writing down what they had signed.", func() float64 { return float64(r.tally.Count().Uncounted) }),
		one(value, "intents_unresolved", "Intents that are neither issued nor abandoned (1000 and more show as 1000).",
			func() float64 { return float64(r.watch.unresolved.Load()) }),
		one(value, "signing_held", "1 while signing is held because the clock cannot be trusted, or somebody else has written the ledger's last-seen file.", func() float64 { return flag(r.held() != nil) }),
	}
}

func expiryGauges(r *rooms) gauges {
	value := prometheus.GaugeValue
	return gauges{
		read(value, "earliest_expiry_timestamp_seconds", "When the first certificate of an owner expires that has no successor.", []string{"owner"}, func(emit func(float64, ...string)) {
			earliest := r.expiries.Earliest()
			owners := slices.SortedFunc(maps.Keys(earliest), func(a, b string) int {
				return cmp.Or(earliest[a].Compare(earliest[b]), cmp.Compare(a, b))
			})
			for _, owner := range owners[:min(len(owners), maxOwners)] {
				emit(seconds(earliest[owner]), owner)
			}
		}),
		one(value, "server_certificate_expiry_timestamp_seconds", "When the server's own TLS certificate expires.", func() float64 {
			if cert := r.own.current.Load(); cert != nil {
				return seconds(cert.Leaf.NotAfter)
			}
			return 0
		}),
		read(value, "issuer_expiry_timestamp_seconds", "When an issuer's certificate expires.", []string{"issuer"}, func(emit func(float64, ...string)) {
			for _, info := range r.authority.Issuers() {
				emit(seconds(info.Certificate.NotAfter), info.Name)
			}
		}),
	}
}

func seconds(t time.Time) float64 { return float64(t.Unix()) }

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// handler serves /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
}

// unresolvedLimit is how far the unresolved intents are counted.
const unresolvedLimit = 1000
