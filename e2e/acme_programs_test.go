package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// startDaemon starts a client that keeps running, until the test ends.
func startDaemon(t *testing.T, w *acmeWorld, dir, name string, args ...string) *syncBuffer {
	t.Helper()
	log := &syncBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, w.environ("HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir), log, log
	check(t, cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	return log
}

// serveWebroot serves the files of a folder as http-01's.
func serveWebroot(t *testing.T, address, folder string) {
	t.Helper()
	serveHTTP(t, address, http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(folder))))
}

func readFileOr(path string) string {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return ""
	}
	return string(data)
}

func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", address)
}

// shakeHands does the handshake of each connection, and no more.
func shakeHands(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}()
	}
}

// registered fails the test unless the server has a valid account with the
// client's mailbox.
func (w *acmeWorld) registered(t *testing.T, client string) {
	t.Helper()
	answer, err := certwrightv1.NewAccountServiceClient(w.socket()).ListAccounts(t.Context(), &certwrightv1.ListAccountsRequest{PageSize: 1000})
	check(t, err)
	for _, a := range answer.GetAccounts() {
		if slices.Contains(a.GetContacts(), "mailto:"+client+"@ops.internal") && a.GetState() == certwrightv1.Account_VALID {
			return
		}
	}
	t.Errorf("no account of %s among %d", client, len(answer.GetAccounts()))
}

// createEAB makes an EAB key at the command line.
func (w *acmeWorld) createEAB(t *testing.T, args ...string) (id, key string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "eab")
	if r := w.run(filepath.Dir(file), append([]string{"eab", "create", "--out", file}, args...)...); r.code != 0 {
		t.Fatalf("eab create: exit %d\n%s", r.code, r.stderr) // w's own test is the parent of t
	}
	for line := range strings.Lines(readAll(t, file)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "EAB_KID":
			id = value
		case "EAB_HMAC_KEY":
			key = value
		}
	}
	if id == "" || key == "" {
		t.Fatalf("no key in %s", file)
	}
	return id, key
}
