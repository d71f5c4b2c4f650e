package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// BenchmarkGrowth fills a ledger through the front door and measures what it
// takes on disk, and how long its verification and a restart take. The number of
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
	check(b, s.cmd.Process.Signal(syscall.SIGTERM))
	check(b, s.cmd.Wait())
	b.ReportMetric(float64(s.size()-before)/float64(n), "bytes/cert")
	b.ReportMetric(verify(b, s).Seconds(), "verify-s")
	b.ReportMetric(verify(b, s, "--signatures").Seconds(), "verify-signatures-s")
	b.ReportMetric(0, "ns/op")
}

// verify runs ledger verify over the stopped server's file, as a process.
func verify(b *testing.B, s *server, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(binary, append([]string{"ledger", "verify", "--data", filepath.Join(s.dir, "data")}, args...)...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("ledger verify: %v\n%s", err, out)
	}
	return time.Since(start)
}
