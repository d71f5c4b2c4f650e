package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// loadGauges tell of the places where work is done, and of who was sent away.
func loadGauges(r *rooms) gauges {
	labels := []string{"door", "place"}
	return gauges{
		read(prometheus.GaugeValue, "places_taken", "Requests that are worked on, by door and by the sort of places that they take.", labels,
			func(emit func(float64, ...string)) {
				for place, n := range r.api.Load().Taken {
					emit(float64(n), "api", place)
				}
				if r.acme == nil {
					return
				}
				for place, n := range r.acme.Load().Taken {
					emit(float64(n), "acme", place)
				}
			}),
		read(prometheus.CounterValue, "overloaded_total", "Requests told to try again because all places were taken, by door; store: units of work for which the queue was full.", labels,
			func(emit func(float64, ...string)) {
				emit(float64(r.store.Stats().Overloaded), "store", "queue")
				for place, n := range r.api.Load().Refused {
					emit(float64(n), "api", place)
				}
				if r.acme == nil {
					return
				}
				for place, n := range r.acme.Load().Refused {
					emit(float64(n), "acme", place)
				}
			}),
	}
}
