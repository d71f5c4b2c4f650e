package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// BenchmarkGrowth fills a ledger through the front door and measures what it
// takes on disk, a proof by serial, its verification and its export. The number of
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
	check(b, s.cmd.Process.Signal(syscall.SIGTERM))
	check(b, s.cmd.Wait())
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
