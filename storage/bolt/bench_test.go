package bolt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
	"github.com/certwright/certwright/storage/storagetest"
)

// makeIssuances makes the commands of n certificates, by two goroutines.
func makeIssuances(t testing.TB, n int) []storagetest.Issuance {
	t.Helper()
	issuer := storagetest.NewIssuer(t)
	out := make([]storagetest.Issuance, n)
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			for i := part; i < n; i += 2 {
				out[i] = issuer.Issue(t, storagetest.Spec{
					Names:     storagetest.DNS(fmt.Sprintf("host-%06d.prod.internal", i)),
					Owner:     fmt.Sprintf("team-%02d", i%50),
					RequestID: strconv.Itoa(i),
				})
			}
		})
	}
	wg.Wait()
	return out
}

// issueAll takes all through both phases, by so many callers.
func issueAll(t testing.TB, s storage.Committer, all []storagetest.Issuance, callers int, between func()) {
	t.Helper()
	work := make(chan storagetest.Issuance)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range work {
				for _, c := range []storage.Command{i.Reserve, i.Complete} {
					between()
					if _, err := s.Commit(context.Background(), storage.Unit{c}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for _, i := range all {
		work <- i
	}
	close(work)
	wg.Wait()
}

// BenchmarkTwoPhase reserves and completes certificates; an operation is one
// certificate.
func BenchmarkTwoPhase(b *testing.B) { twoPhase(b, func() {}) }

// BenchmarkTwoPhaseBusy does the same with callers that verify and sign between
// the commits, as a server does: they arrive one by one.
func BenchmarkTwoPhaseBusy(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := make([]byte, 32)
	twoPhase(b, func() {
		for range 3 {
			signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
			if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
				b.Error(err)
			}
		}
	})
}

func twoPhase(b *testing.B, between func()) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			s := open(b, bolt.Config{Path: create(b)})
			defer s.Close()
			all := makeIssuances(b, b.N)
			before := s.Stats()
			b.ResetTimer()
			issueAll(b, s, all, callers, between)
			b.StopTimer()
			after := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certs/s")
			b.ReportMetric(float64(after.Fsyncs-before.Fsyncs)/float64(b.N), "fsyncs/cert")
			b.ReportMetric(float64(after.Units-before.Units)/float64(after.Transactions-before.Transactions), "units/tx")
		})
	}
}

// BenchmarkFill fills a file with b.N certificates and says how large it is and
// how long a scrub takes. Meaningful with -benchtime=100000x.
func BenchmarkFill(b *testing.B) {
	path := create(b)
	s := open(b, bolt.Config{Path: path})
	defer s.Close()
	all := makeIssuances(b, b.N)
	b.ResetTimer()
	issueAll(b, s, all, 256, func() {})
	b.StopTimer()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(b.N), "bytes/cert")
	start := time.Now()
	if err := s.Scrub(context.Background(), nil, func(f storage.Finding) { b.Errorf("%+v", f) }); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "scrub-s")
}

// BenchmarkCopies fills a file with b.N certificates, and says how long it takes to
// open, how fast it is backed up, and how long the checks of its pages and a
// compaction take. Meaningful with -benchtime=100000x.
func BenchmarkCopies(b *testing.B) {
	path := create(b)
	s := open(b, bolt.Config{Path: path})
	issueAll(b, s, makeIssuances(b, b.N), 256, func() {})
	timed := func(unit string, do func() error) float64 {
		b.Helper()
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		seconds := time.Since(start).Seconds()
		b.ReportMetric(seconds, unit)
		return seconds
	}
	size := 0.0
	took := timed("backup-s", func() error {
		out, err := os.Create(path + ".backup")
		if err != nil {
			return err
		}
		err = s.Backup(context.Background(), func(octets uint64) error {
			size = float64(octets)
			return nil
		}, out)
		return errors.Join(err, out.Sync(), out.Close())
	})
	b.ReportMetric(size/(1<<20)/took, "backup-MB/s")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	timed("open-s", func() (err error) {
		s = open(b, bolt.Config{Path: path})
		_, err = s.Head(context.Background())
		return err
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	timed("pages-s", func() error {
		return bolt.CheckPages(context.Background(), path+".backup", func(found string) bool {
			b.Error(found)
			return false
		})
	})
	timed("compact-s", func() error { return bolt.Compact(context.Background(), path, path+".compact", nil) })
	b.ReportMetric(0, "ns/op")
}
