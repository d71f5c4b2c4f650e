package server

import "github.com/prometheus/client_golang/prometheus"

// sessionGauges tell of the sessions of admins.
func sessionGauges(r *rooms) gauges {
	counter := prometheus.CounterValue
	return gauges{
		one(counter, "sessions_opened_total", "Sessions opened.", func() float64 { return float64(r.sessions.Stats().Opened) }),
		one(counter, "sessions_revoked_total", "Sessions revoked by a call.", func() float64 { return float64(r.sessions.Stats().Revoked) }),
		read(counter, "sessions_refused_total", "Sessions not opened, and calls not believed in one, by reason code.", []string{"reason"}, func(emit func(float64, ...string)) {
			for reason, n := range r.sessions.Stats().Refused {
				emit(float64(n), reason)
			}
		}),
		one(prometheus.GaugeValue, "sessions_active", "Sessions that can be used, among the newest 1000 of the store.", func() float64 { return float64(r.watch.active.Load()) }),
	}
}
