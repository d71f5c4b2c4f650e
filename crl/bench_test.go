package crl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// The measurement of one revocation: the median of some batches.
const (
	benchBatches = 5
	benchBatch   = 200
)

// BenchmarkScale measures lists and revocations in a large ledger, filled through
// Authority.Issue: CERTWRIGHT_BENCH_CERTIFICATES certificates (10,000 if that is
// not set), a tenth of them revoked. cpu is the process's time on all cores: that
// of building all shards, and that of one revocation with 100 and with a tenth
// revoked before it. b.N is not used.
func BenchmarkScale(b *testing.B) {
	n := 10_000
	if text := os.Getenv("CERTWRIGHT_BENCH_CERTIFICATES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	const measured = benchBatches * benchBatch
	revoked := max(n/10, 100+measured)
	w := newWorld(b, func(c *testConfig) { c.shards, c.CompleteLimit = 16, -1 })
	start := cpu(b)
	rows := w.fill(b, n, revoked+measured)
	b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(n), "µs-cpu/certificate")
	w.revokeAll(b, rows[:100])
	few := w.oneByOne(b, rows[100:100+measured])
	w.revokeAll(b, rows[100+measured:revoked])
	start = cpu(b)
	infos, err := w.Publish(b.Context(), "", "", "x:y")
	if err != nil {
		b.Fatal(err)
	}
	shards, entries := cpu(b)-start, 0
	for _, i := range infos {
		entries += i.Entries
	}
	if entries != revoked {
		b.Fatalf("the lists have %d entries: %d are revoked", entries, revoked)
	}
	many := w.oneByOne(b, rows[revoked:])
	b.ReportMetric(shards.Seconds(), "s-cpu/all-shards")
	b.ReportMetric(float64(few.Microseconds()), "µs-cpu/revocation-after-100")
	b.ReportMetric(float64(many.Microseconds()), fmt.Sprintf("µs-cpu/revocation-after-%d", revoked))
	b.ReportMetric(0, "ns/op")
}

// fill issues n certificates, many at a time, and returns some of them, spread
// over all: what a revocation needs of their rows.
func (w *world) fill(b *testing.B, n, some int) []storage.Certificate {
	b.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	var rows []storage.Certificate
	var group sync.WaitGroup
	for range 128 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !b.Failed(); i = int(next.Add(1)) - 1 {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					b.Error(err)
					return
				}
				got, err := w.authority.Issue(b.Context(), identity.Request{
					Kind: identity.X509, Profile: "server", PublicKey: key.Public(), Validity: 48 * time.Hour,
					Principal:   identity.Principal{Method: identity.LocalSocket, ID: "admin"},
					Identifiers: []identity.Identifier{{Type: identity.DNS, Value: fmt.Sprintf("svc-%d.internal", i)}},
				}, ca.Attach{})
				if err != nil {
					b.Error(err)
					return
				}
				if i*some/n != (i+1)*some/n { // some of n
					c := got.Certificate
					mu.Lock()
					rows = append(rows, storage.Certificate{Issuer: c.Issuer, Serial: c.Serial, SPKI: c.SPKI, CRLShard: c.CRLShard})
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return rows
}

// revokeAll revokes as the operations do.
func (w *world) revokeAll(b *testing.B, rows []storage.Certificate) {
	b.Helper()
	for unit := range slices.Chunk(rows, 100) {
		if err := w.authority.RevokeAll(b.Context(), unit, identity.Superseded, "local_socket:admin", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// oneByOne revokes each in a commit of its own; the result is the CPU time of one,
// as the median of batches.
func (w *world) oneByOne(b *testing.B, rows []storage.Certificate) time.Duration {
	b.Helper()
	var each []time.Duration
	for batch := range slices.Chunk(rows, benchBatch) {
		start := cpu(b)
		for _, row := range batch {
			w.revoke(b, row, identity.Superseded)
		}
		each = append(each, (cpu(b)-start)/time.Duration(len(batch)))
	}
	slices.Sort(each)
	return each[len(each)/2]
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
