package crl

import (
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/storagetest"
)

const (
	benchRevoked = 100_000
	benchUnit    = 250 // certificates of one unit
)

// fill puts n certificates into the ledger, in the authority's shards, the first
// of them revoked.
func (w *world) fill(b *testing.B, n, revoked int) {
	b.Helper()
	key := newKey(b)
	issuer := storagetest.NewIssuer(b)
	issuer.ID = w.authority.Issuers()[0].KeyID
	for done := 0; done < n; {
		var unit storage.Unit
		for range min(benchUnit, n-done) {
			c := issuer.Issue(b, storagetest.Spec{Key: key, CRLShard: uint16(done % 16)})
			unit = append(unit, c.Reserve, c.Complete)
			if done < revoked {
				unit = append(unit, c.Revoke(b, identity.Superseded))
			}
			done++
		}
		if _, err := w.store.Commit(b.Context(), unit); err != nil {
			b.Fatal(err)
		}
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkShards builds all shards of 100,000 revoked certificates; cpu-s/op is
// the process's time on all cores. Certificates that are
// not revoked are not read.
func BenchmarkShards(b *testing.B) {
	w := newWorld(b, func(c *testConfig) { c.shards, c.CompleteLimit = 16, -1 })
	w.fill(b, benchRevoked, benchRevoked)
	before, n := cpu(b), 0
	for b.Loop() {
		if _, err := w.Publish(b.Context(), "", "", "x:y"); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric((cpu(b)-before).Seconds()/float64(n), "cpu-s/op")
}

// BenchmarkRevoke commits one revocation among 100,000 certificates, with 100 and
// with all of them revoked before it.
func BenchmarkRevoke(b *testing.B) {
	for name, n := range map[string]int{"after 100": 100, "after 100000": benchRevoked} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, func(c *testConfig) { c.shards = 16 })
			w.fill(b, benchRevoked, n)
			for b.Loop() {
				b.StopTimer()
				c := w.issue(b)
				b.StartTimer()
				w.revoke(b, c, identity.Superseded)
			}
		})
	}
}
