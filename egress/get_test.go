package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/egress/egresstest"
)

// secret stands in what the targets of these tests answer: it must be in no error.
const secret = "TOP-SECRET-PAGE"

// say writes to whoever may have gone.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

func withTimeout(t *testing.T, c *Client) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), c.timeout)
}

// web serves on 127.0.0.1 and returns the port.
func web(t *testing.T, handler http.HandlerFunc) int {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return portOfURL(t, server.URL)
}

func portOfURL(t *testing.T, raw string) int {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return portOf(u)
}

// raw listens on 127.0.0.1, reads the request's head and lets answer write to the
// connection.
func raw(t *testing.T, answer func(net.Conn)) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			if _, err := conn.Read(buf); err == nil {
				answer(conn)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).Port
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fails is failure for those who need no more.
func fails(t *testing.T, err error, stage Stage, parts ...string) {
	t.Helper()
	failed := failure(t, err, stage, parts...)
	if failed.Hint == "" {
		t.Errorf("%s: no hint", failed)
	}
}

// failure wants an *Error of the stage whose text has all parts and no secret.
func failure(t *testing.T, err error, stage Stage, parts ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is not an *Error", err)
	}
	if e.Stage != stage {
		t.Errorf("stage %s, want %s: %s", e.Stage, stage, e)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q lacks %q", e, part)
		}
	}
	for _, err := range []error{e, e.Err} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the page: %s", err)
		}
	}
	return e
}

func TestGet(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	port := web(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Clone(context.Background()))
		w.WriteHeader(http.StatusTeapot)
		say(w, "short")
	})
	zone := egresstest.NewDNS(t)
	zone.Set(t, "web.example", "A 127.0.0.1")
	// The environment's proxy must not be asked.
	proxy := egresstest.Canary(t, "127.0.0.1:0")
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://"+proxy.String())
	}
	c := client(t, Config{Resolver: zone.Addr, Ports: []int{port}})
	res, err := c.Get(t.Context(), fmt.Sprintf("http://web.example:%d/path?q=1#part", port), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := netip.MustParseAddr("127.0.0.1")
	if res.Status != http.StatusTeapot || string(res.Body) != "short" || res.Truncated || len(res.Hops) != 1 ||
		len(res.Hops[0].Addresses) != 1 || res.Hops[0].Addresses[0] != want || res.Hops[0].Host != "web.example" {
		t.Errorf("%+v", res)
	}
	r := seen.Load()
	if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Referer") != "" || r.Host != fmt.Sprintf("web.example:%d", port) || r.RequestURI != "/path?q=1" {
		t.Errorf("asked %s of %s with %v", r.RequestURI, r.Host, r.Header)
	}
}

func TestBodies(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(bytes.Repeat([]byte(secret), 1000)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	gone := make(chan struct{})
	tests := []struct {
		name      string
		handler   http.HandlerFunc
		length    int
		truncated bool
	}{
		{"empty", func(http.ResponseWriter, *http.Request) {}, 0, false},
		{"as long as is read", func(w http.ResponseWriter, _ *http.Request) { say(w, strings.Repeat("x", 1024)) }, 1024, false},
		{"one longer", func(w http.ResponseWriter, _ *http.Request) { say(w, strings.Repeat("x", 1025)) }, 1024, true},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			say(w, zipped.String())
		}, zipped.Len(), false},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			defer close(gone)
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, 1024, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := web(t, test.handler)
			res, err := client(t, Config{Ports: []int{port}}).Get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/", port), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Body) != test.length || res.Truncated != test.truncated {
				t.Errorf("%d octets, truncated %t", len(res.Body), res.Truncated)
			}
		})
	}
	<-gone // the endless target has seen the connection close
}

func TestBadAnswers(t *testing.T) {
	hold := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) } // until the client goes
	tests := []struct {
		name   string
		answer func(net.Conn)
		stage  Stage
		part   string
	}{
		{"silent", hold, StageConnect, "no answer in time"},
		{"headers that end never", func(c net.Conn) { say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nX: %s", secret)); hold(c) }, StageConnect, "no answer in time"},
		{"a body that ends never", func(c net.Conn) { say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\n\r\n%s", secret)); hold(c) }, StageConnect, "no answer in time"},
		{"closed at once", func(net.Conn) {}, StageConnect, "closed"},
		{"half a body", func(c net.Conn) { say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n%s", secret)) }, StageConnect, "closed"},
		{"not HTTP", func(c net.Conn) { say(c, fmt.Sprintf("220 %s ESMTP\r\n", secret)) }, StageHTTP, "not valid HTTP"},
		{"bad status", func(c net.Conn) { say(c, fmt.Sprintf("HTTP/1.1 %s\r\n\r\n", secret)) }, StageHTTP, "not valid HTTP"},
		{"bad header", func(c net.Conn) { say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\n%s\r\n\r\n", secret)) }, StageHTTP, "not valid HTTP"},
		{"endless headers", func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, fmt.Sprintf("X-A: %s\r\n", strings.Repeat(secret, 50))); err != nil {
					return
				}
			}
		}, StageHTTP, "headers of more than"},
		{"endless 1xx", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"); err != nil {
					return
				}
			}
		}, StageHTTP, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := raw(t, test.answer)
			c := client(t, Config{Ports: []int{port}, Timeout: 300 * time.Millisecond})
			_, err := c.Get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/", port), Options{})
			e := failure(t, err, test.stage, test.part, "127.0.0.1", strconv.Itoa(port))
			if e.Hint == "" || len(e.Addresses) != 1 {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	c := client(t, Config{})
	for raw, part := range map[string]string{
		"file:///etc/passwd":                   "neither http nor https",
		"gopher://127.0.0.1/x":                 "neither http nor https",
		"ftp://127.0.0.1/x":                    "neither http nor https",
		"http://user:pw@127.0.0.1/":            "credentials",
		"http://user@127.0.0.1/":               "credentials",
		"http:///path":                         "neither a DNS name",
		"http:opaque":                          "neither a DNS name",
		"//127.0.0.1/":                         "neither http nor https",
		"http://127.0.0.1:8080/":               "port",
		"http://127.0.0.1:99999/":              "port",
		"http://127.0.0.1:0/":                  "port",
		"http://2130706433/":                   "neither a DNS name",
		"http://127.1/":                        "neither a DNS name",
		"http://0x7f.0x1/":                     "neither a DNS name",
		"http://a%00b/":                        "cannot be read",
		"http://bücher.example/":               "neither a DNS name",
		"http://[::1":                          "cannot be read",
		"http://x/" + strings.Repeat("x", 5e3): "cannot be read",
	} {
		_, err := c.Get(t.Context(), raw, Options{})
		if e := failure(t, err, StageURL, part); strings.Contains(e.Error(), "pw") {
			t.Errorf("%s: %s", raw, e)
		}
	}
	for raw, stage := range map[string]string{
		"http://169.254.169.254/latest/meta-data/": "metadata",
		"http://[::ffff:169.254.169.254]/":         "metadata",
		"http://[::ffff:a9fe:a9fe]/":               "metadata",
		"http://[64:ff9b::a9fe:a9fe]/":             "metadata",
		"http://[fd00:ec2::254]/":                  "metadata",
		"http://[fe80::1%25eth0]/":                 "zone",
		"https://0.0.0.0/":                         "unspecified",
		"http://[::]/":                             "unspecified",
		"http://255.255.255.255/":                  "broadcast",
		"http://[ff02::1]/":                        "multicast",
	} {
		_, err := c.Get(t.Context(), raw, Options{})
		fails(t, err, StageRefused, stage)
	}
}

func TestAddressesInTurn(t *testing.T) {
	port := web(t, func(w http.ResponseWriter, _ *http.Request) { say(w, "here") })
	zone := egresstest.NewDNS(t)
	zone.Set(t, "both.example", "AAAA ::1", "A 127.0.0.1")
	zone.Set(t, "mixed.example", "A 169.254.169.254", "AAAA ::ffff:169.254.169.254", "A 127.0.0.1")
	zone.Set(t, "dead.example", "AAAA ::1", "A 127.0.0.3")
	c := client(t, Config{Resolver: zone.Addr, Ports: []int{port}})
	for host, want := range map[string]string{"both.example": "::1, 127.0.0.1", "mixed.example": "127.0.0.1"} {
		res, err := c.Get(t.Context(), fmt.Sprintf("http://%s:%d/", host, port), Options{})
		if err != nil {
			t.Errorf("%s: %v", host, err)
		} else if got := JoinAddrs(res.Hops[0].Addresses); got != want {
			t.Errorf("%s: tried %s, want %s", host, got, want)
		}
	}
	_, err := c.Get(t.Context(), fmt.Sprintf("http://dead.example:%d/", port), Options{})
	fails(t, err, StageConnect, "dead.example", "::1, 127.0.0.3", strconv.Itoa(port), "connection refused")
}

// TestRebinding has a name that stands for a good address when it is asked first,
// and for a denied one ever after.
func TestRebinding(t *testing.T) {
	port := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/again" {
			http.Redirect(w, r, "/second", http.StatusFound)
			return
		}
		say(w, "first")
	})
	egresstest.Canary(t, fmt.Sprintf("127.0.0.2:%d", port))
	zone := egresstest.NewDNS(t)
	rebind := func(name string) {
		var asked atomic.Int32
		zone.Respond(name, func(q *dns.Msg, _ string) *dns.Msg {
			answer := new(dns.Msg).SetReply(q)
			if q.Question[0].Qtype == dns.TypeA {
				address := "127.0.0.1"
				if asked.Add(1) > 1 {
					address = "127.0.0.2"
				}
				rr, err := dns.NewRR(name + ". 0 IN A " + address)
				if err != nil {
					t.Error(err)
				}
				answer.Answer = append(answer.Answer, rr)
			}
			return answer
		})
	}
	rebind("one.example")
	rebind("two.example")
	c := client(t, Config{Resolver: zone.Addr, Ports: []int{port}, Deny: prefixes("127.0.0.2/32")})
	res, err := c.Get(t.Context(), fmt.Sprintf("http://one.example:%d/", port), Options{})
	if err != nil || string(res.Body) != "first" {
		t.Errorf("%+v, %v", res, err)
	}
	_, err = c.Get(t.Context(), fmt.Sprintf("http://two.example:%d/again", port), Options{})
	fails(t, err, StageRefused, "denied network", "after a redirect from two.example")
}
