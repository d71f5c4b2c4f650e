package bench

import (
	"context"
	"crypto"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

// BenchmarkOverload measures how long a cached OCSP answer takes while nothing else
// is asked, and while ten times as many ACME clients as a busy server has (640) want
// certificates; they share the machine with the server.
func BenchmarkOverload(b *testing.B) {
	for name, callers := range map[string]int{"idle": 0, "acme=64": 64, "acme=640": 640} {
		b.Run(name, func(b *testing.B) {
			w := newACMEWorld(b)
			cert, issuer := w.server.certificate()
			plain, err := xocsp.CreateRequest(cert, issuer, &xocsp.RequestOptions{Hash: crypto.SHA1})
			check(b, err)
			address := "http://" + w.server.http + "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(plain))
			clients := w.clients(callers)
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			for _, c := range clients {
				all.Go(func() {
					for ctx.Err() == nil {
						_ = c.obtain(ctx, false) // at the end it is cut short
					}
				})
			}
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				began := time.Now()
				_, err := exchange(ctx, http.DefaultClient, http.MethodGet, address, nil)
				check(b, err)
				took = append(took, time.Since(began))
			}
			issued := w.server.metric("certwright_certificates_issued_total")
			cancel()
			all.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(issued/b.Elapsed().Seconds(), "certs/s")
			b.ReportMetric(w.server.metric("certwright_overloaded_total"), "refused")
		})
	}
}
