package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/server/config"
)

// load is the configuration of a server in dir on free ports.
func load(t *testing.T, dir string, dev bool, environ ...string) config.Config {
	t.Helper()
	flags := map[string]string{"data": filepath.Join(dir, "data")}
	for _, each := range []string{"https", "grpc", "http", "metrics"} {
		flags["listen."+each] = "127.0.0.1:0"
	}
	s, err := config.Load(config.Sources{Dev: dev, Flags: flags, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return s.Config
}

// running is a server under test.
type running struct {
	Addresses
	t      *testing.T
	config config.Config
	log    *syncBuffer
	out    *syncBuffer
	hangup chan os.Signal
	stop   context.CancelFunc
	ended  chan error
	server *Server
}

// syncBuffer is a buffer that a server and a test may use at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs a server until the test ends or end is called.
func start(t *testing.T, c config.Config, change ...func(*Options)) *running {
	t.Helper()
	r := &running{t: t, config: c, log: &syncBuffer{}, out: &syncBuffer{}, hangup: make(chan os.Signal), ended: make(chan error, 1)}
	ready := make(chan Addresses, 1)
	o := Options{
		Config: c, Version: "test", Out: r.out, Logger: slog.New(slog.NewTextHandler(r.log, nil)), Reload: r.hangup,
		Ready: func(a Addresses) { ready <- a },
	}
	for _, each := range change {
		each(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	server, err := Open(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	r.server = server
	go func() { r.ended <- server.Run(ctx) }()
	select {
	case r.Addresses = <-ready:
	case err := <-r.ended:
		t.Fatalf("ended before it was ready: %v", err)
	}
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// end stops the server and waits.
func (r *running) end() {
	r.stop()
	select {
	case err, open := <-r.ended:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
		if open {
			close(r.ended)
		}
	case <-time.After(30 * time.Second):
		r.t.Error("the server does not stop")
	}
}

// issue asks over the admin socket for a certificate.
func (r *running) issue(name string) (*certwrightv1.Certificate, error) {
	conn, err := client.Dial(r.t.Context(), client.Config{Server: "unix:" + r.Socket})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return client.Sign(r.t.Context(), conn, key, client.ParseNames([]string{name}), &certwrightv1.SignCertificateRequest{Profile: "server"})
}

// roots trusts the server's root only.
func (r *running) roots() *x509.CertPool {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.config.Data, "root.crt"))
	if err != nil {
		r.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		r.t.Fatal("no root")
	}
	return pool
}

func (r *running) get(url string) (int, string) {
	r.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots()}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func oneLine(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one line with %q", err, want)
	}
}
