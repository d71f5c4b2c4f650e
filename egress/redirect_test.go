package egress

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/egress/egresstest"
)

// quiet is a TLS server whose complaints about clients are nobody's.
func quiet(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestRedirects(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "web.example", "A 127.0.0.1")
	zone.Set(t, "inner.example", "A 127.0.0.2")
	zone.Set(t, "meta.example", "A 169.254.169.254")
	other := egresstest.Canary(t, "127.0.0.1:0").Port()
	var location atomic.Value
	port := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			say(w, "end")
			return
		}
		w.Header().Set("Location", location.Load().(string))
		w.WriteHeader(http.StatusFound)
		say(w, secret)
	})
	secure := quiet(t, func(w http.ResponseWriter, _ *http.Request) { say(w, "secure") })
	securePort := portOfURL(t, secure.URL)
	for _, address := range []string{"127.0.0.2", "[::1]"} {
		egresstest.Canary(t, fmt.Sprintf("%s:%d", address, port))
	}
	c := client(t, Config{Resolver: zone.Addr, Ports: []int{port, securePort}, Deny: prefixes("127.0.0.2/32", "::1/128")})
	start := fmt.Sprintf("http://web.example:%d/start", port)
	tests := []struct {
		name, to string
		stage    Stage
		part     string
	}{
		{"another port", fmt.Sprintf("http://127.0.0.1:%d/%s", other, secret), StageURL, "this port is not contacted"},
		{"default port", "http://web.example/", StageURL, "port 80"},
		{"file", "file:///etc/passwd", StageURL, "neither http nor https"},
		{"gopher", fmt.Sprintf("gopher://127.0.0.1:%d/_x", port), StageURL, "neither http nor https"},
		{"javascript", "javascript:" + secret, StageURL, "neither http nor https"},
		{"credentials", fmt.Sprintf("http://%s:x@127.0.0.1:%d/", secret, port), StageURL, "credentials"},
		{"no URL", "http://[" + secret, StageURL, "not a URL"},
		{"odd host", fmt.Sprintf("http://%s%%21:%d/", secret, port), StageURL, ""},
		{"metadata", fmt.Sprintf("http://169.254.169.254:%d/", port), StageRefused, "metadata"},
		{"metadata by name", fmt.Sprintf("http://meta.example:%d/", port), StageRefused, "metadata"},
		{"denied", fmt.Sprintf("http://127.0.0.2:%d/", port), StageRefused, "denied"},
		{"denied by name", fmt.Sprintf("http://inner.example:%d/", port), StageRefused, "denied"},
		{"denied, mapped", fmt.Sprintf("http://[::ffff:127.0.0.2]:%d/", port), StageRefused, "denied"},
		{"denied, mapped in hexadecimal", fmt.Sprintf("http://[::ffff:7f00:2]:%d/", port), StageRefused, "denied"},
		{"denied v6", fmt.Sprintf("//[::1]:%d/", port), StageRefused, "denied"},
		{"denied by a number", fmt.Sprintf("http://2130706434:%d/", port), StageURL, ""},
		{"for ever", "/start", StageHTTP, "more than 10 redirects"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			location.Store(test.to)
			_, err := c.Get(t.Context(), start, Options{})
			fails(t, err, test.stage, test.part)
		})
	}
	for to, body := range map[string]string{
		"end": "end", "/end": "end", fmt.Sprintf("//127.0.0.1:%d/end", port): "end",
		fmt.Sprintf("https://web.example:%d/", securePort): "secure",
	} {
		location.Store(to)
		res, err := c.Get(t.Context(), start, Options{TLS: &tls.Config{InsecureSkipVerify: true}})
		if err != nil || string(res.Body) != body || len(res.Hops) != 2 {
			t.Errorf("%s: %+v, %v", to, res, err)
		}
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	var asked atomic.Int32
	port := web(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
	})
	for limit, want := range map[int]int32{-1: 1, 3: 4, 0: 11} {
		asked.Store(0)
		c := client(t, Config{Ports: []int{port}, MaxRedirects: limit})
		_, err := c.Get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/", port), Options{})
		fails(t, err, StageHTTP, "redirects")
		if asked.Load() != want {
			t.Errorf("limit %d: asked %d times, want %d", limit, asked.Load(), want)
		}
	}
}

func TestHTTPS(t *testing.T) {
	server := quiet(t, func(w http.ResponseWriter, _ *http.Request) { say(w, "secure") })
	port := portOfURL(t, server.URL)
	plain := web(t, func(w http.ResponseWriter, _ *http.Request) { say(w, secret) })
	garbage := raw(t, func(conn net.Conn) { say(conn, secret+" is not a record of TLS") })
	shut := raw(t, func(net.Conn) {})
	zone := egresstest.NewDNS(t)
	zone.Set(t, "example.com", "A 127.0.0.1")
	zone.Set(t, "other.example", "A 127.0.0.1")
	c := client(t, Config{Resolver: zone.Addr, Ports: []int{port, plain, garbage, shut}})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	get := func(host string, port int, cfg *tls.Config) error {
		_, err := c.Get(t.Context(), fmt.Sprintf("https://%s:%d/", host, port), Options{TLS: cfg})
		return err
	}
	if err := get("example.com", port, &tls.Config{RootCAs: roots}); err != nil {
		t.Error(err)
	}
	fails(t, get("other.example", port, &tls.Config{RootCAs: roots}), StageTLS, "does not verify")
	fails(t, get("example.com", port, nil), StageTLS, "does not verify")
	fails(t, get("example.com", plain, nil), StageTLS, "not TLS")
	fails(t, get("example.com", garbage, nil), StageTLS, "not TLS")
	fails(t, get("example.com", shut, nil), StageConnect, "closed")
	fails(t, get("example.com", port, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS11}), StageTLS, "protocol version")
}

func TestDial(t *testing.T) {
	server := quiet(t, func(http.ResponseWriter, *http.Request) {})
	port := portOfURL(t, server.URL)
	hold := raw(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
	c := client(t, Config{Ports: []int{port, hold}, Timeout: 500 * time.Millisecond, Deny: prefixes("127.0.0.2/32")})
	conn, tried, err := c.DialTLS(t.Context(), "127.0.0.1", port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(tried) != 1 || tried[0] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("tried %s", tried)
	}
	_, _, err = c.DialTLS(t.Context(), "127.0.0.1", port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}})
	fails(t, err, StageTLS, "no application protocol")
	_, _, err = c.DialTLS(t.Context(), "127.0.0.1", hold, &tls.Config{InsecureSkipVerify: true})
	fails(t, err, StageConnect, "no answer in time (in the TLS handshake)")
	_, _, err = c.Dial(t.Context(), "127.0.0.1", port+1)
	fails(t, err, StageURL, "this port is not contacted")
	_, _, err = c.Dial(t.Context(), "::ffff:127.0.0.2", port)
	fails(t, err, StageRefused, "denied")

	// The deadline stays on the connection after Dial has returned.
	held, _, err := c.Dial(t.Context(), "127.0.0.1", hold)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := held.Read(make([]byte, 1)); err == nil {
		t.Error("a read of a silent connection ended without an error")
	}
}
