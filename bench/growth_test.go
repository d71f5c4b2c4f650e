package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage/bolt"
)

// BenchmarkGrowth fills a ledger through the front door and measures what it
// takes on disk, a proof by serial, its verification and its export, how long
// opening, a restart and a backup take, and what a backup does to those who wait
// meanwhile. The number of
// certificates is CERTWRIGHT_BENCH_CERTIFICATES, 100,000 if that is not set;
// b.N is not used.
func BenchmarkGrowth(b *testing.B) {
	n := 100000
	if text := os.Getenv("CERTWRIGHT_BENCH_CERTIFICATES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		check(b, err)
	}
	const callers = 256
	s := startServer(b)
	before := s.size()
	tokens := s.tokens(n/10000 + 1)
	if failed := run(b, grpcSigner(s), tokens, newCSRs(b, callers), callers, n); failed > 0 {
		b.Fatalf("%d of %d requests failed", failed, n)
	}
	b.ReportMetric(float64(proofTime(b, s))/1e6, "proof-ms")
	s.stop()
	b.ReportMetric(float64(s.size()-before)/float64(n), "bytes/cert")
	for name, args := range map[string][]string{"verify": nil, "verify-signatures": {"--signatures"}} {
		took, cpu := verify(b, s, args...)
		b.ReportMetric(took.Seconds(), name+"-s")
		b.ReportMetric(float64(n)/took.Seconds(), name+"-entries/s")
		b.ReportMetric(float64(n)/cpu.Seconds(), name+"-entries/cpu-s")
	}
	start := time.Now()
	command(b, s, "ledger", "export", filepath.Join(s.dir, "export"))
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "export-entries/s")
	start = time.Now()
	store, err := bolt.Open(b.Context(), bolt.Config{Path: filepath.Join(s.data(), "ledger.db")})
	check(b, err)
	_, err = store.Head(b.Context())
	check(b, err)
	b.ReportMetric(time.Since(start).Seconds(), "open-s")
	check(b, store.Close())
	start = time.Now()
	s.launch()
	b.ReportMetric(time.Since(start).Seconds(), "restart-s")
	backups(b, s)
	b.ReportMetric(0, "ns/op")
}

// proofTime is the median time of a proof by serial over the admin socket: the
// certificate is found and its entry proven, in two calls.
func proofTime(b *testing.B, s *server) time.Duration {
	b.Helper()
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data(), "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(b, err)
	defer conn.Close()
	certificates, ledger := certwrightv1.NewCertificateServiceClient(conn), certwrightv1.NewLedgerServiceClient(conn)
	var serials []string
	for token := ""; len(serials) < 1000; {
		page, err := certificates.ListCertificates(b.Context(), &certwrightv1.ListCertificatesRequest{PageSize: 1000, PageToken: token, OrderBy: "create_time"})
		check(b, err)
		for _, c := range page.GetCertificates() {
			serials = append(serials, c.GetSerial())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	var times []time.Duration
	for _, serial := range serials {
		start := time.Now()
		page, err := certificates.ListCertificates(b.Context(), &certwrightv1.ListCertificatesRequest{PageSize: 2, Filter: fmt.Sprintf("serial = %q", serial)})
		check(b, err)
		_, err = ledger.GetProof(b.Context(), &certwrightv1.GetProofRequest{Index: page.GetCertificates()[0].GetLedgerIndex()})
		check(b, err)
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// verify runs ledger verify over the stopped server's file, as a process: its time,
// and its CPU time, which holds on a machine that does other things too.
func verify(b *testing.B, s *server, args ...string) (took, cpu time.Duration) {
	b.Helper()
	start := time.Now()
	cpu = command(b, s, append([]string{"ledger", "verify"}, args...)...)
	return time.Since(start), cpu
}

// command runs a command and answers its CPU time, with that of its children.
func command(b *testing.B, s *server, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(binary, append(args, "--data", s.data())...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%q: %v\n%s", args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// backups measures a backup of the running server, and the latency of an issuance
// without and during backups.
func backups(b *testing.B, s *server) {
	b.Helper()
	const callers, n = 16, 4000
	tokens, csrs, sign := s.tokens(3), newCSRs(b, callers), grpcSigner(s)
	var mu sync.Mutex
	var took []time.Duration
	timed := func(ctx context.Context, token, csr string) error {
		start := time.Now()
		err := sign(ctx, token, csr)
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Since(start))
		return err
	}
	p99 := func(token string) float64 {
		took = nil
		if failed := run(b, timed, []string{token}, csrs, callers, n); failed > 0 {
			b.Fatalf("%d of %d requests failed", failed, n)
		}
		slices.Sort(took)
		return took[len(took)*99/100].Seconds() * 1000
	}
	start := time.Now()
	dest := backup(b, s, 0)
	seconds := time.Since(start).Seconds()
	b.ReportMetric(seconds, "backup-s")
	b.ReportMetric(float64(s.size())/(1<<20)/seconds, "backup-MB/s")
	start = time.Now()
	if out, err := exec.Command(binary, "backup", "verify", dest).CombinedOutput(); err != nil {
		b.Fatalf("backup verify: %v\n%s", err, out)
	}
	b.ReportMetric(time.Since(start).Seconds(), "backup-verify-s")
	p99(tokens[0]) // warm
	b.ReportMetric(p99(tokens[1]), "p99-ms")
	done := make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-done:
				return
			default:
				_ = os.Remove(backup(b, s, i))
			}
		}
	})
	during := p99(tokens[2])
	close(done)
	loop.Wait()
	b.ReportMetric(during, "p99-during-backup-ms")
}

// backup makes a backup as another process does.
func backup(b *testing.B, s *server, number int) string {
	dest := filepath.Join(s.dir, "backup-"+strconv.Itoa(number)+".tar")
	if out, err := exec.Command(binary, "backup", dest, "--data", s.data()).CombinedOutput(); err != nil {
		b.Errorf("backup: %v\n%s", err, out)
	}
	return dest
}
