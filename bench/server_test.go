package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

var binary string

func TestMain(m *testing.M) {
	if config := os.Getenv(floorVariable); config != "" {
		if err := serveFloor(config); err != nil {
			panic(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "certwright-bench-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "certwright")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/certwright/certwright/cmd/certwright").CombinedOutput()
	if err != nil {
		panic(fmt.Errorf("go build: %w\n%s", err, out))
	}
	m.Run()
}

// server is a certwright process of its own, so that its CPU time is its own.
type server struct {
	tb                         testing.TB
	dir                        string
	https, grpc, http, metrics string
	settings                   []string // NAME=VALUE each
	cmd                        *exec.Cmd
	ended                      chan struct{} // closed once the process has; nil: it was never started
}

// startServer starts a server with further settings, as NAME=VALUE each.
func startServer(tb testing.TB, settings ...string) *server {
	tb.Helper()
	s := newServer(tb)
	s.settings = settings
	s.launch()
	return s
}

// newServer is a server that has its folder and addresses, and ends with the test.
func newServer(tb testing.TB) *server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "cw") //nolint:usetesting // the path of the socket in a test's own folder is too long
	check(tb, err)
	s := &server{tb: tb, dir: dir}
	for _, a := range []*string{&s.https, &s.grpc, &s.http, &s.metrics} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(tb, err)
		*a = l.Addr().String()
		check(tb, l.Close())
	}
	tb.Cleanup(func() {
		if s.ended != nil {
			s.stop()
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

// launch starts the process and waits until it is ready.
func (s *server) launch() {
	s.tb.Helper()
	s.cmd = exec.Command(binary, "serve", "--dev", "--data", s.data(), "--log-level", "error",
		"--https", s.https, "--grpc", s.grpc, "--http", s.http, "--metrics", s.metrics)
	s.cmd.Env = append(os.Environ(), s.settings...)
	s.run()
}

// run starts s.cmd and waits until it is ready.
func (s *server) run() {
	tb := s.tb
	tb.Helper()
	var log bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	check(tb, s.cmd.Start())
	s.ended = make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get("http://" + s.metrics + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-deadline:
			tb.Fatal("the server is not ready")
		case <-s.ended:
			tb.Fatalf("the server has ended\n%s", log.String())
		case <-tick.C:
		}
	}
}

// stop ends the process in good order.
func (s *server) stop() {
	s.tb.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails for one that has ended: its state tells
	<-s.ended
	if !s.cmd.ProcessState.Success() {
		s.tb.Errorf("the server ended with %s", s.cmd.ProcessState)
	}
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// cpu is the CPU time that the server has used.
func (s *server) cpu() time.Duration { return processCPU(s.tb, s.cmd.Process.Pid) }

// processCPU is the CPU time that a process has used: utime and stime of proc(5), in
// ticks of 10 ms.
func processCPU(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(tb, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, i := range []int{11, 12} { // utime, stime: fields 14 and 15
		n, err := strconv.Atoi(fields[i])
		check(tb, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// metric is the sum of a metric's series.
func (s *server) metric(name string) float64 {
	s.tb.Helper()
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	check(s.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(s.tb, err)
	sum, found := 0.0, false
	for line := range strings.Lines(string(text)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		check(s.tb, err)
		sum, found = sum+v, true
	}
	if !found {
		s.tb.Fatalf("there is no metric %s", name)
	}
	return sum
}

// size is what the store takes on disk, in octets.
func (s *server) size() int64 {
	s.tb.Helper()
	info, err := os.Stat(filepath.Join(s.data(), "ledger.db"))
	check(s.tb, err)
	return info.Size()
}

// tokens makes join tokens for *.bench.internal with 10,000 uses each.
func (s *server) tokens(n int) []string {
	s.tb.Helper()
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data(), "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(s.tb, err)
	defer conn.Close()
	client := certwrightv1.NewTokenServiceClient(conn)
	out := make([]string, n)
	for i := range out {
		answer, err := client.CreateToken(context.Background(), &certwrightv1.CreateTokenRequest{
			Owner: "bench", Profiles: []string{"server"}, DnsPatterns: []string{"*.bench.internal"},
			Ttl: durationpb.New(12 * time.Hour), Uses: 10000,
		})
		check(s.tb, err)
		out[i] = answer.Secret
	}
	return out
}

func (s *server) roots() *x509.CertPool {
	s.tb.Helper()
	text, err := os.ReadFile(filepath.Join(s.data(), "root.crt"))
	check(s.tb, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		s.tb.Fatal("root.crt holds no certificate")
	}
	return pool
}

// newCSRs are CSRs with a P-256 key each, in PEM.
func newCSRs(tb testing.TB, n int) []string {
	tb.Helper()
	csrs, _ := newKeys(tb, n)
	return csrs
}

// newKeys are CSRs with the keys that made them.
func newKeys(tb testing.TB, n int) ([]string, []*ecdsa.PrivateKey) {
	tb.Helper()
	out, keys := make([]string, n), make([]*ecdsa.PrivateKey, n)
	for i := range out {
		name := fmt.Sprintf("h%d.bench.internal", i)
		out[i], keys[i] = newCSR(tb, name)
	}
	return out, keys
}

func newCSR(tb testing.TB, name string) (string, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	check(tb, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key
}
