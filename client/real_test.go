package client_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/client"
)

func (w *world) fingerprint(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(w.root())
	if err != nil {
		t.Fatal(err)
	}
	roots, err := client.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	return client.Fingerprint(roots[0])
}

// wish is for a name, by a new token.
func (w *world) wish(name string, uses int) client.Wish {
	return client.Wish{
		CA:    client.Config{Server: w.grpc, CAFile: w.root(), Token: client.TokenFile(w.token(uses))},
		Names: []string{name}, Profile: "mtls",
	}
}

// seen is what the CA's book says about a certificate.
type seen struct {
	Requester, Replaces, State string
}

func (w *world) seen(t *testing.T, k *client.Keeper) seen {
	t.Helper()
	out, err := w.run("cert", "show", fmt.Sprintf("%032x", k.Status().Leaf.SerialNumber), "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRealRenewal: by a token that is good for two, then by mTLS, then, revoked, by the
// token once more; and with the token used up it goes on with what it has.
func TestRealRenewal(t *testing.T) {
	w := ca()
	var failed []client.Event
	wish := w.wish("renew.team-a.internal", 2)
	wish.OnEvent = func(e client.Event) {
		if e.Kind == client.Failed {
			failed = append(failed, e)
		}
	}
	k, err := client.Open(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if s := w.seen(t, k); !strings.HasPrefix(s.Requester, "token:") {
		t.Errorf("%+v", s)
	}
	for range 2 {
		if err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := w.seen(t, k); !strings.HasPrefix(s.Requester, "mtls:") || s.Replaces == "" {
			t.Errorf("renewed: %+v", s)
		}
	}
	revoke := func() {
		t.Helper()
		if _, err := w.run("cert", "revoke", fmt.Sprintf("%032x", k.Status().Leaf.SerialNumber), "--reason", "superseded"); err != nil {
			t.Fatal(err)
		}
	}
	revoke()
	if err := k.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := w.seen(t, k); !strings.HasPrefix(s.Requester, "token:") {
		t.Errorf("revoked, then: %+v", s)
	}
	revoke()
	last := k.Status().Leaf
	err = k.Renew(t.Context())
	if err == nil || len(failed) != 1 || k.Status().Leaf != last || k.Status().Failures != 1 {
		t.Errorf("revoked, without a token: %v, %+v", err, k.Status())
	}
}

// TestRealOutage: the CA is stopped; what there is is handed out, also after a restart
// of the workload, and renewed once the CA is there again.
func TestRealOutage(t *testing.T) {
	w := ca()
	wish := w.wish("outage.team-a.internal", 1)
	wish.CA.CAFile, wish.CA.Fingerprint = "", w.fingerprint(t)
	wish.Folder = filepath.Join(t.TempDir(), "kept")
	k, err := client.Open(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	err = k.Renew(t.Context())
	if status.Code(err) != codes.Unavailable || k.Status().Failures != 1 {
		t.Errorf("the CA is stopped: %v", err)
	}
	k.Close()
	k, err = client.Open(t.Context(), wish) // without the CA
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	greets(t, k)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	before := k.Status().Leaf
	if err := k.Renew(t.Context()); err != nil || k.Status().Leaf == before || k.Status().Err != nil {
		t.Errorf("the CA is there again: %v", err)
	}
	greets(t, k)
}

// greets has the keeper's certificate served and verified.
func greets(t *testing.T, k *client.Keeper) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", k.MutualTLS(nil))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
		served <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), k.ClientTLS(client.WithHost(k.Status().Leaf.DNSNames[0])))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" {
		t.Errorf("%q %v", text, err)
	}
	if err := errors.Join(<-served, l.Close()); err != nil {
		t.Error(err)
	}
}

// TestRealRotation: a certificate of some seconds is renewed by itself, in its window,
// while a server goes on serving; afterwards nothing of it is left running.
func TestRealRotation(t *testing.T) {
	w := ca()
	before := runtime.NumGoroutine()
	wish := w.wish("rotate.team-a.internal", 9)
	wish.Validity = 20 * time.Second
	events := make(chan client.Event, 100)
	wish.OnEvent = func(e client.Event) { events <- e }
	k, err := client.Open(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	service := &http.Server{TLSConfig: k.ServerTLS(), Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- service.ServeTLS(l, "", "") }()
	serial := func() string {
		conn, err := tls.Dial("tcp", l.Addr().String(), k.ClientTLS(client.WithHost("rotate.team-a.internal")))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := <-events
	if first.Kind != client.Obtained {
		t.Fatalf("%+v", first)
	}
	old := serial()
	limit := time.After(3 * time.Minute)
	for renewed := false; !renewed; {
		select {
		case e := <-events:
			renewed = e.Kind == client.Renewed || e.Kind == client.Obtained
		case <-limit:
			t.Fatal("not renewed")
		}
	}
	if time.Now().Before(first.Leaf.NotBefore.Add(8 * time.Second)) {
		t.Error("renewed long before its window")
	}
	if serial() == old {
		t.Error("the old certificate is served")
	}
	k.Close()
	_ = service.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	for range 500 { // what ends, ends in its own time
		if runtime.NumGoroutine() <= before {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

func TestRealRoot(t *testing.T) {
	w := ca()
	pin := w.fingerprint(t)
	wrong := "sha256:" + strings.Repeat("0", 64)
	for name, config := range map[string]client.Config{
		"fingerprint": {Server: w.grpc, Fingerprint: strings.ToUpper(pin)}, "file": {Server: "https://" + w.https, CAFile: w.root()},
	} {
		root, err := client.ShownRoot(t.Context(), config)
		if err != nil || client.Fingerprint(root) != pin {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := client.ShownRoot(t.Context(), client.Config{Server: w.grpc})
	var unknown *client.UnknownRoot
	if !errors.As(err, &unknown) || client.Fingerprint(unknown.Shown) != pin || !strings.Contains(err.Error(), pin) {
		t.Errorf("nothing is known: %v", err)
	}
	if _, err := client.ShownRoot(t.Context(), client.Config{Server: w.grpc, Fingerprint: wrong}); !errors.Is(err, client.ErrOtherRoot) {
		t.Errorf("a wrong fingerprint: %v", err)
	}
	if _, err := client.Open(t.Context(), client.Wish{CA: client.Config{Server: w.grpc, Fingerprint: wrong}, Names: []string{"x"}}); err == nil {
		t.Error("a keeper by a wrong fingerprint")
	}
}
