package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// serve starts the server, which must end by itself: a start that fails.
func (s *server) serve(args ...string) result {
	s.t.Helper()
	return s.ends(s.bin, s.serveArgs(args...)...)
}

// ends runs a program that must end by itself within a minute.
func (s *server) ends(name string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	r := runCommand(s.t, exec.CommandContext(ctx, name, args...))
	if ctx.Err() != nil {
		s.t.Fatalf("%s %q did not end\n%s", name, args, r.stderr)
	}
	return r
}

// wantLine checks that a command failed with this code and one line on stderr,
// in which all these words stand.
func wantLine(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	text := strings.TrimSuffix(r.stderr, "\n")
	if r.code != code || strings.Contains(text, "\n") {
		t.Errorf("exit %d, want %d and one line\n%s", r.code, code, r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}

// stopped is a server that was started once and has a certificate.
func stopped(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.start()
	s.must(t.TempDir(), "cert", "issue", "svc.internal")
	s.stop()
	return s
}

func TestPortInUse(t *testing.T) {
	s := newServer(t)
	l, err := net.Listen("tcp", s.grpc)
	check(t, err)
	defer l.Close()
	wantLine(t, s.serve(), 7, s.grpc, "is in use", "--grpc")
}

func TestNewerDataFormat(t *testing.T) {
	s := stopped(t)
	path := filepath.Join(s.data, "format")
	check(t, writeFile(path, strings.Replace(readAll(t, path), "format 1", "format 99", 1)))
	wantLine(t, s.serve(), 6, path, "99", "newer")
}

func TestLockedDatabase(t *testing.T) {
	s := stopped(t)
	db, err := bbolt.Open(filepath.Join(s.data, "ledger.db"), 0o600, &bbolt.Options{Timeout: time.Second})
	check(t, err)
	wantLine(t, s.serve(), 6, "ledger.db", "locked", "--data")
	check(t, db.Close())

	s.start()
	second := *s
	second.freeAddrs()
	wantLine(t, second.serve(), 6, "another server is running", s.data, "--data")
}

// TestFullDisk: where no file can grow, by the limit of a file's size, which
// needs no rights. The first start has no room for the CA, the second none for the
// database; a server that runs into it says so, and what was there is whole.
func TestFullDisk(t *testing.T) {
	for _, blocks := range []string{"1", "100"} {
		s := newServer(t)
		wantFull(t, s.ends("bash", s.limited(blocks)...))
	}
	s := stopped(t)
	info, err := os.Stat(filepath.Join(s.data, "ledger.db"))
	check(t, err)
	before := s.entries()
	s.startAs(exec.Command("bash", s.limited(fmt.Sprint(info.Size()/1024))...))
	full, issued := s.fill(5000)
	if !strings.Contains(full, "disk") || !strings.Contains(full, "full") {
		t.Errorf("after %d certificates: %q", issued, full)
	}
	late := s.run(t.TempDir(), "cert", "issue", "late.internal")
	if first := firstLine(late.stderr); late.code != 7 || !strings.Contains(first, "takes no writes") || !strings.Contains(first, "tell the administrator") {
		t.Errorf("later: exit %d\n%s", late.code, late.stderr)
	}
	if strings.Contains(s.log.String(), "goroutine ") {
		t.Errorf("a trace:\n%s", s.log)
	}
	s.stop()
	if after := s.entries(); after < before+uint64(issued) {
		t.Errorf("the ledger has %d entries: %d and %d certificates", after, before, issued)
	}
	s.start() // with room again
	s.must(t.TempDir(), "cert", "issue", "svc2.internal")
	s.must(t.TempDir(), "ledger", "verify", "--signatures")
}

// limited are bash's arguments to start the server where files have at most so
// many KiB.
func (s *server) limited(blocks string) []string {
	return append([]string{"-c", `ulimit -f "$1" && shift && exec "$@"`, "bash", blocks, s.bin}, s.serveArgs()...)
}

// fill asks for certificates until one is refused: the refusal, and how many were
// delivered.
func (s *server) fill(most int) (refusal string, issued int) {
	s.t.Helper()
	client := certwrightv1.NewCertificateServiceClient(s.socket())
	csr := csrPEM(s.t, newKey(s.t), "fill.internal")
	for ; issued < most; issued++ {
		_, err := client.SignCertificate(s.t.Context(), &certwrightv1.SignCertificateRequest{Csr: csr, Profile: "server"})
		if err != nil {
			return err.Error(), issued
		}
	}
	s.t.Fatalf("%d certificates, and the disk is not full", issued)
	return "", issued
}

// wantFull checks that the last line says what to do about a full disk; the log
// may have lines before it.
func wantFull(t *testing.T, r result) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	last := lines[len(lines)-1]
	if r.code != 7 || !strings.HasPrefix(last, "certwright: the disk ") || !strings.Contains(last, "full") || !strings.Contains(last, "free space") {
		t.Errorf("exit %d, want 7 and what to do\n%s", r.code, r.stderr)
	}
	if strings.Contains(r.stderr, "panic") || strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("a trace:\n%s", r.stderr)
	}
}

// TestUnknownKeys: file, line, key and the nearest known key.
func TestUnknownKeys(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "certwright.yaml")
	check(t, writeFile(path, "listen:\n  htps: 127.0.0.1:1\n"))
	wantLine(t, s.serve("--config", path), 2, path+":2", "listen.htps", `"https"`)
	wantLine(t, s.run(dir, "config", "validate", "--config", path), 8, path+":2", "listen.htps", `"https"`)

	policy := filepath.Join(dir, "policy.yaml")
	s.start()
	text := strings.Replace(s.must(dir, "policy", "show"), "max_names: 20", "max_name: 20", 1)
	check(t, writeFile(policy, text))
	line := 1 + strings.Count(text[:strings.Index(text, "max_name: 20")], "\n")
	for _, args := range [][]string{{"policy", "check", policy}, {"policy", "apply", policy, "--yes"}} {
		r := s.run(dir, args...)
		if r.code != 8 {
			t.Errorf("%s: exit %d, want 8", args, r.code)
		}
		for _, want := range []string{fmt.Sprintf(":%d", line), "max_name", `"max_names"`} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s does not say %q:\n%s", args, want, r.stderr)
			}
		}
	}
}
