package bench

import (
	"encoding/csv"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkCurve measures what an operation costs at rising numbers of certificates.
// CERTWRIGHT_BENCH_SIZES are the numbers, separated by commas; without it they are
// small. With CERTWRIGHT_BENCH_CURVE the points are written into that file, from which
// tools/curve draws a picture. b.N is not used.
func BenchmarkCurve(b *testing.B) {
	sizes := []int{1000, 2000}
	if text := os.Getenv("CERTWRIGHT_BENCH_SIZES"); text != "" {
		sizes = nil
		for _, field := range strings.Split(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(field))
			check(b, err)
			sizes = append(sizes, n)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as serve does
	s := startServer(b)
	s.stop()
	have := 0
	lines := [][]string{curveColumns()}
	for i, n := range sizes {
		p := measurePoint(b, s, have, n)
		have = p.certificates
		lines = append(lines, p.line())
		b.Log(strings.Join(p.line(), " "))
		if path := os.Getenv("CERTWRIGHT_BENCH_CURVE"); path != "" {
			check(b, writeCSV(path, lines))
		}
		if i == len(sizes)-1 {
			b.ReportMetric(p.issueV, "V/issue")
			b.ReportMetric(p.grpcV, "V/grpc")
			b.ReportMetric(p.bytes, "bytes/cert")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// point is what is measured at one number of certificates.
type point struct {
	certificates int
	issueV       float64 // CPU of Authority.Issue, 64 in flight
	issueP50     float64 // its time in ms, one after the other: two commits with their fsyncs
	grpcV        float64 // CPU of SignCertificate over gRPC, 64 in flight
	bytes        float64 // of the file's pages that are in use, per certificate
	ready        float64 // seconds from the start until /readyz
	anon         float64 // RssAnon in MB, after some thousand requests
}

func curveColumns() []string {
	return []string{"certificates", "issue_v", "issue_p50_ms", "grpc_v", "bytes", "ready_s", "rss_anon_mb"}
}

func (p point) line() []string {
	out := []string{strconv.Itoa(p.certificates)}
	for _, x := range []float64{p.issueV, p.issueP50, p.grpcV, p.bytes, p.ready, p.anon} {
		out = append(out, strconv.FormatFloat(x, 'f', 2, 64))
	}
	return out
}

func writeCSV(path string, lines [][]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	if err := w.WriteAll(lines); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// measurePoint fills a stopped server's ledger from have to n certificates, measures
// the door, then the server over it, and leaves the server stopped.
func measurePoint(b *testing.B, s *server, have, n int) (p point) {
	b.Helper()
	many, few := max(min(2000, (n-have)/10), 1), 200
	f := newFiller(b, s.data())
	f.next.Store(int64(have))
	f.fill(max(n-have-3*many-few-4*many, 0))
	var costs []float64
	for range 3 {
		keys := newPublicKeys(b, many)
		unit := verificationCPU(b)
		cpu := ownCPU(b)
		if failed := inFlight(b, 64, many, func(_, i int) error { return f.issue(keys[i]) }); failed > 0 {
			b.Fatalf("%d failed", failed)
		}
		cpu = ownCPU(b) - cpu
		unit = (unit + verificationCPU(b)) / 2
		costs = append(costs, float64(cpu)/float64(unit)/float64(many))
	}
	times := make([]float64, few)
	for i, key := range newPublicKeys(b, few) {
		start := time.Now()
		check(b, f.issue(key))
		times[i] = time.Since(start).Seconds() * 1000
	}
	space, err := f.store.Space(b.Context())
	check(b, err)
	p.bytes = float64(space.Size-space.Free) / float64(f.next.Load())
	p.certificates = int(f.next.Load()) + 4*many
	f.close()
	s.launch() // brings checkpoint and count up to the fill, as no server needs that was there
	s.stop()
	start := time.Now()
	s.launch()
	p.ready = time.Since(start).Seconds()
	p.issueV, p.issueP50 = middle(costs), middle(times)
	p.grpcV = grpcCost(b, s, many)
	p.anon = s.anon()
	s.stop()
	return p
}

// grpcCost is the median of three runs of n each, after one that warms up.
func grpcCost(b *testing.B, s *server, n int) float64 {
	b.Helper()
	const callers = 64
	sign, csrs := grpcSigner(s), newCSRs(b, callers)
	var costs []float64
	for range 4 {
		tokens := s.tokens(1)
		unit := verificationCPU(b)
		cpu := s.cpu()
		if failed := run(b, sign, tokens, csrs, callers, n); failed > 0 {
			b.Fatalf("%d failed", failed)
		}
		cpu = s.cpu() - cpu
		unit = (unit + verificationCPU(b)) / 2
		costs = append(costs, float64(cpu)/float64(unit)/float64(n))
	}
	return middle(costs[1:])
}

func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// anon is the process's anonymous memory in MB (RssAnon of proc(5)): what the file
// has mapped is the system's cache, and not counted.
func (s *server) anon() float64 {
	s.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	check(s.tb, err)
	found := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		s.tb.Fatal("there is no RssAnon")
	}
	kb, err := strconv.ParseFloat(string(found[1]), 64)
	check(s.tb, err)
	return kb / 1024
}

// TestCurve measures one small point: it judges no figure.
func TestCurve(t *testing.T) {
	s := startServer(t)
	s.stop()
	f := newFiller(t, s.data())
	f.fill(100)
	if head, err := f.store.Head(t.Context()); err != nil || head.Size < 100 {
		t.Errorf("the ledger has %d entries (%v)", head.Size, err)
	}
	f.close()
	s.launch()
	if got := s.metric("certwright_ledger_completeness_difference"); got != 0 {
		t.Errorf("the ledger and the keys differ by %v", got)
	}
	if s.anon() <= 0 {
		t.Error("no memory")
	}
}
