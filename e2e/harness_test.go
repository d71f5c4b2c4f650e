package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// binary is the certwright that the tests run, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "certwright-e2e-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = build(dir, "certwright"); err != nil {
		panic(err)
	}
	m.Run()
}

// build makes the binary with build tags.
func build(dir, name string, tags ...string) (string, error) {
	path := filepath.Join(dir, name)
	out, err := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", path,
		"github.com/certwright/certwright/cmd/certwright").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// server is a running certwright process.
type server struct {
	t                          *testing.T
	bin, data                  string
	https, grpc, http, metrics string
	cmd                        *exec.Cmd
	exited                     chan struct{}
	log                        *syncBuffer
}

// syncBuffer is a process's output, readable while it runs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newServer prepares a server with an empty data folder and free ports; start
// starts it.
func newServer(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	if len(dir) > 80 { // the admin socket's path must stay under 107 octets
		short, err := os.MkdirTemp("", "cw") //nolint:usetesting // the path of the test's own folder is too long
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(short) })
		dir = short
	}
	s := &server{t: t, bin: binary, data: filepath.Join(dir, "data")}
	s.freeAddrs()
	t.Cleanup(s.stop)
	return s
}

// freeAddrs gives the server four addresses, and more that a test needs, of which
// no two are the same.
func (s *server) freeAddrs(more ...*string) {
	s.t.Helper()
	for _, to := range append([]*string{&s.https, &s.grpc, &s.http, &s.metrics}, more...) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		defer l.Close() // only when all four are known
		*to = l.Addr().String()
	}
}

// start runs the server and waits until it is ready.
func (s *server) start(args ...string) {
	s.t.Helper()
	s.startAs(exec.Command(s.bin, s.serveArgs(args...)...))
}

// startAs runs the server by another command, and waits until it is ready.
func (s *server) startAs(cmd *exec.Cmd) {
	s.t.Helper()
	s.launch(cmd)
	if err := s.ready(60 * time.Second); err != nil {
		s.t.Fatalf("server: %v\n%s", err, s.log)
	}
}

// serveArgs are the command line of serve.
func (s *server) serveArgs(args ...string) []string {
	return append([]string{
		"serve", "--dev", "--data", s.data, "--https", s.https, "--grpc", s.grpc, "--http", s.http, "--metrics", s.metrics,
	}, args...)
}

func (s *server) launch(cmd *exec.Cmd) { s.launchBy(cmd, (*exec.Cmd).Start) }

func (s *server) launchBy(cmd *exec.Cmd, start func(*exec.Cmd) error) {
	s.t.Helper()
	s.log, s.cmd = &syncBuffer{}, cmd
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := start(s.cmd); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
}

// ready polls /readyz.
func (s *server) ready(limit time.Duration) error {
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, _ := httpGet("http://" + s.metrics + "/readyz"); status == 200 {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("it ended")
		case <-deadline:
			return errors.New("it is not ready in time")
		case <-tick.C:
		}
	}
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// stop ends the server in the ordinary way.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.t.Errorf("the server did not stop on SIGTERM\n%s", s.log)
	}
	s.cmd = nil
}

// socket is a connection to the admin socket.
func (s *server) socket() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("unix:"+filepath.Join(s.data, "admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the command line against this server, in a folder.
func (s *server) run(dir string, args ...string) result {
	s.t.Helper()
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CERTWRIGHT_DATA="+s.data)
	return runCommand(s.t, cmd)
}

// must runs the command line and fails the test unless it exits 0.
func (s *server) must(dir string, args ...string) string {
	s.t.Helper()
	r := s.run(dir, args...)
	if r.code != 0 {
		s.t.Fatalf("certwright %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func runCommand(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// tool runs a program that make deps installs, and fails the test unless it
// exits 0.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := runCommand(t, exec.Command(name, args...))
	if r.code != 0 {
		t.Fatalf("%s %s: exit %d\n%s%s", name, strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// csrPEM is a CSR for DNS names.
func csrPEM(t *testing.T, key crypto.Signer, names ...string) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// decodePEM is the DER of the first block; nil if there is none.
func decodePEM(text string) []byte {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	return block.Bytes
}

func parsePEM(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(decodePEM(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listAll is every certificate of a filter.
func listAll(ctx context.Context, t *testing.T, c certwrightv1.CertificateServiceClient, filter string) []*certwrightv1.Certificate {
	t.Helper()
	var all []*certwrightv1.Certificate
	token := ""
	for {
		page, err := c.ListCertificates(ctx, &certwrightv1.ListCertificatesRequest{PageSize: 1000, PageToken: token, Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Certificates...)
		if token = page.NextPageToken; token == "" {
			return all
		}
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
