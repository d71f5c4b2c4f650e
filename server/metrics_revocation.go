package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certwright/certwright/crl"
	"github.com/certwright/certwright/ocsp"
)

func ocspGauges(r *rooms) gauges {
	counter, value := prometheus.CounterValue, prometheus.GaugeValue
	stat := func(kind prometheus.ValueType, name, help string, read func(ocsp.Stats) float64) gauge {
		return one(kind, name, help, func() float64 { return read(r.ocsp.Stats()) })
	}
	return gauges{
		read(counter, "ocsp_answers_total", "Certificates answered for, by status.", []string{"status"}, func(emit func(float64, ...string)) {
			s := r.ocsp.Stats()
			emit(float64(s.Good), "good")
			emit(float64(s.Revoked), "revoked")
			emit(float64(s.Unknown), "unknown")
		}),
		read(counter, "ocsp_errors_total", "OCSP error responses, by status; http: refused by an HTTP status.", []string{"status"}, func(emit func(float64, ...string)) {
			s := r.ocsp.Stats()
			emit(float64(s.Malformed), "malformed_request")
			emit(float64(s.InternalError), "internal_error")
			emit(float64(s.TryLater), "try_later")
			emit(float64(s.Unauthorized), "unauthorized")
			emit(float64(s.Refused), "http")
		}),
		stat(counter, "ocsp_cache_hits_total", "Answers from the cache.", func(s ocsp.Stats) float64 { return float64(s.CacheHits) }),
		stat(counter, "ocsp_cache_misses_total", "Answers that were not in the cache.", func(s ocsp.Stats) float64 { return float64(s.CacheMisses) }),
		stat(counter, "ocsp_cache_evictions_total", "Answers forgotten for want of room.", func(s ocsp.Stats) float64 { return float64(s.CacheEvictions) }),
		stat(value, "ocsp_cache_bytes", "Memory that kept answers take.", func(s ocsp.Stats) float64 { return float64(s.CacheBytes) }),
		stat(counter, "ocsp_responder_signatures_total", "Answers signed with responder certificates' keys.", func(s ocsp.Stats) float64 { return float64(s.ResponderSignatures) }),
		stat(counter, "ocsp_sign_failures_total", "Answers that could not be signed.", func(s ocsp.Stats) float64 { return float64(s.SignFailures) }),
		stat(counter, "ocsp_late_answers_total", "Answers past half of their life, because no new one could be signed.", func(s ocsp.Stats) float64 { return float64(s.Late) }),
		read(value, "ocsp_responder_certificate_expiry_timestamp_seconds", "When an issuer's responder certificate expires; 0: there is none.", []string{"issuer"},
			func(emit func(float64, ...string)) {
				for _, is := range r.ocsp.Stats().Issuers {
					at := 0.0
					if !is.NotAfter.IsZero() {
						at = seconds(is.NotAfter)
					}
					emit(at, is.Name)
				}
			}),
	}
}

// latency is the OCSP handler's histogram.
type latency struct{ responder *ocsp.Responder }

func (latency) desc() *prometheus.Desc {
	return prometheus.NewDesc("certwright_ocsp_request_seconds", "Time in the OCSP handler.", nil, nil)
}

// Describe implements prometheus.Collector.
func (l latency) Describe(to chan<- *prometheus.Desc) { to <- l.desc() }

// Collect implements prometheus.Collector.
func (l latency) Collect(to chan<- prometheus.Metric) {
	h := l.responder.Stats().Latency
	buckets, total := map[float64]uint64{}, uint64(0)
	for i, n := range h.Counts {
		total += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i].Seconds()] = total
		}
	}
	to <- prometheus.MustNewConstHistogram(l.desc(), total, h.Sum.Seconds(), buckets)
}

func crlGauges(r *rooms) gauges {
	counter, value := prometheus.CounterValue, prometheus.GaugeValue
	each := func(name, help string, fold func(lists []crl.Info) float64) gauge {
		return read(value, name, help, []string{"issuer"}, func(emit func(float64, ...string)) {
			byIssuer := map[string][]crl.Info{}
			for _, i := range r.crls.Lists() {
				if !i.TooLong {
					byIssuer[i.Issuer] = append(byIssuer[i.Issuer], i)
				}
			}
			for issuer, lists := range byIssuer {
				emit(fold(lists), issuer)
			}
		})
	}
	count := func(is func(crl.Info) bool) func([]crl.Info) float64 {
		return func(lists []crl.Info) (n float64) {
			for _, i := range lists {
				n += flag(is(i))
			}
			return n
		}
	}
	return gauges{
		each("crl_age_seconds", "Age of an issuer's oldest CRL.", func(lists []crl.Info) float64 {
			var age time.Duration
			for _, i := range lists {
				if i.Number > 0 {
					age = max(age, r.now().Sub(i.ThisUpdate))
				}
			}
			return age.Seconds()
		}),
		each("crl_next_update_timestamp_seconds", "The first nextUpdate among an issuer's CRLs; 0: one is not published.", func(lists []crl.Info) float64 {
			first := lists[0].NextUpdate
			for _, i := range lists {
				if i.NextUpdate.Before(first) {
					first = i.NextUpdate
				}
			}
			return max(0, seconds(first))
		}),
		each("crl_entries", "Entries of an issuer's CRLs, the complete one left out.", func(lists []crl.Info) float64 {
			n := 0
			for _, i := range lists {
				if i.Shard != crl.Complete {
					n += i.Entries
				}
			}
			return float64(n)
		}),
		each("crl_pending", "CRLs of an issuer that do not say a revocation yet.", count(func(i crl.Info) bool { return i.Pending })),
		each("crl_failing", "CRLs of an issuer that could not be built.", count(func(i crl.Info) bool { return i.Error != "" })),
		one(counter, "crl_built_total", "CRLs published.", func() float64 { return float64(r.crls.Stats().Built) }),
		one(counter, "crl_build_failures_total", "CRLs that could not be built.", func() float64 { return float64(r.crls.Stats().Failures) }),
	}
}
