package bench

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

// subject is a server in a comparison: a process and an operation of it.
type subject struct {
	name string
	pid  int
	do   func(n int) (failed int64) // n operations
}

// BenchmarkPeers has the same flows done by this server and by others, in turn, and
// prints what each costs and the ratio. CERTWRIGHT_BENCH_PEERS is a folder with the
// programs step-ca and cfssl ("make bench-peers" puts them there); without it this
// server stands alone. b.N is not used.
func BenchmarkPeers(b *testing.B) {
	peers := os.Getenv("CERTWRIGHT_BENCH_PEERS")
	for _, flow := range []struct {
		name    string
		n       int
		ours    func(testing.TB) subject
		theirs  []func(testing.TB, string) subject
		callers string
	}{
		{"ACME, http-01", 400, ourACME, []func(testing.TB, string) subject{stepACME}, "16 clients"},
		{"sign a CSR", 2000, ourSign, []func(testing.TB, string) subject{stepSign, cfsslSign}, "16 in flight"},
		{"OCSP, made before", 20000, func(tb testing.TB) subject { return ourOCSP(b, tb) }, []func(testing.TB, string) subject{
			func(tb testing.TB, peers string) subject { return cfsslOCSP(b, tb, peers) },
		}, "16 connections"},
	} {
		b.Run(flow.name, func(b *testing.B) {
			all := []subject{flow.ours(b)}
			for _, start := range flow.theirs {
				if peers != "" {
					all = append(all, start(b, peers))
				}
			}
			costs := compare(b, all, flow.n)
			b.Logf("%s, %s, V per operation: median (least to most) of %d\n%s", flow.name, flow.callers, rounds, ratioTable(all, costs))
			b.ReportMetric(middle(costs[0]), "V/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rounds is how often each subject has its turn.
const rounds = 3

// compare gives each subject its turns, and what an operation cost in each.
func compare(tb testing.TB, all []subject, n int) [][]float64 {
	tb.Helper()
	costs := make([][]float64, len(all))
	for range rounds {
		for i, s := range all {
			if failed := s.do(max(n/20, 16)); failed > 0 { // warm
				tb.Fatalf("%s: %d of the first operations failed", s.name, failed)
			}
			unit := verificationCPU(tb)
			cpu := processCPU(tb, s.pid)
			if failed := s.do(n); failed > 0 {
				tb.Fatalf("%s: %d of %d operations failed", s.name, failed, n)
			}
			cpu = processCPU(tb, s.pid) - cpu
			unit = (unit + verificationCPU(tb)) / 2
			costs[i] = append(costs[i], float64(cpu)/float64(unit)/float64(n))
		}
	}
	return costs
}

// ratioTable shows the costs, and how many times ours each is.
func ratioTable(all []subject, costs [][]float64) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	ours := middle(costs[0])
	for i, s := range all {
		m := middle(costs[i])
		_, _ = fmt.Fprintf(w, "%s\t%.2f\t(%.2f to %.2f)\t%.2f of ours\n", s.name, m, slices.Min(costs[i]), slices.Max(costs[i]), m/ours)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return out.String()
}

func (w *acmeWorld) subject(name string, pid int) subject {
	clients := w.clients(16)
	return subject{name, pid, func(n int) int64 {
		return inFlight(w.tb, len(clients), n, func(c, _ int) error { return clients[c].obtain(w.tb.Context(), false) })
	}}
}

func ourACME(tb testing.TB) subject {
	w := newACMEWorld(tb)
	return w.subject("certwright", w.server.cmd.Process.Pid)
}

func ourSign(tb testing.TB) subject {
	s := startServer(tb)
	sign, csrs := restSigner(s), newCSRs(tb, 16)
	return subject{"certwright, REST", s.cmd.Process.Pid, func(n int) int64 {
		return run(tb, sign, s.tokens(n/10000+1), csrs, len(csrs), n)
	}}
}

func ourOCSP(b *testing.B, tb testing.TB) subject {
	s := startServer(tb)
	cert, issuer := s.certificate()
	return ocspSubject(b, tb, "certwright", s.cmd.Process.Pid, "http://"+s.http+"/ocsp", cert, issuer)
}

// ocspSubject asks for one certificate by POST.
func ocspSubject(b *testing.B, tb testing.TB, name string, pid int, url string, cert, issuer *x509.Certificate) subject {
	question, err := xocsp.CreateRequest(cert, issuer, &xocsp.RequestOptions{Hash: crypto.SHA1})
	check(tb, err)
	return subject{name, pid, func(n int) int64 {
		ask(b, issuer, http.MethodPost, url, question, n)
		return 0
	}}
}

// TestCompare runs the comparison with ourselves: it judges no figure.
func TestCompare(t *testing.T) {
	one := ourSign(t)
	two := one
	two.name = "the same"
	start := time.Now()
	costs := compare(t, []subject{one, two}, 100)
	if table := ratioTable([]subject{one, two}, costs); !strings.Contains(table, "the same") || !strings.Contains(table, "1.00 of ours") {
		t.Errorf("after %s: %s", time.Since(start), table)
	}
}
