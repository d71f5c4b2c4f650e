package http01

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
	"github.com/certwright/certwright/identity"
)

const (
	token  = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	auth   = token + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	secret = "TOP-SECRET-PAGE"
)

// say writes to whoever may have gone.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// serve answers on an address of loopback and returns the port.
func serve(t *testing.T, address string, handler http.HandlerFunc) int {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).Port
}

func target(kind identity.IdentifierType, value string) challenge.Target {
	return challenge.Target{Identifier: identity.Identifier{Type: kind, Value: value}, Token: token, KeyAuthorization: auth}
}

func zipped(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(auth)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestValidate(t *testing.T) {
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); say(w, text) }
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		kind    challenge.ErrorType // "" is proven
		part    string
	}{
		{"right", body(200, auth), "", ""},
		{"white space at the end", body(200, auth+" \t\r\n\n"), "", ""},
		{"white space before", body(200, " "+auth), challenge.IncorrectResponse, "is not the key authorization"},
		{"more after", body(200, auth+"\n"+secret), challenge.IncorrectResponse, "is not the key authorization"},
		{"token only", body(200, token), challenge.IncorrectResponse, "(43 octets)"},
		{"another account", body(200, token+"."+strings.Repeat("x", 43)), challenge.IncorrectResponse, "(87 octets) is not the key authorization (87 octets)"},
		{"a page", body(200, secret), challenge.IncorrectResponse, "is not the key authorization"},
		{"empty", body(200, ""), challenge.IncorrectResponse, "(0 octets)"},
		{"padded beyond what is read", body(200, auth+strings.Repeat(" ", 2000)), challenge.IncorrectResponse, "more than 1024 octets"},
		{"not found", body(404, secret), challenge.Unauthorized, "status 404, expected 200"},
		{"right, but 404", body(404, auth), challenge.Unauthorized, "status 404"},
		{"right, but 206", body(206, auth), challenge.Unauthorized, "status 206"},
		{"right, but 300", body(300, auth), challenge.Unauthorized, "status 300"},
		{"server error", body(500, secret), challenge.Unauthorized, "status 500"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			say(w, string(zipped(t)))
		}, challenge.IncorrectResponse, "compressed"},
		{"redirected", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				say(w, auth)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "", ""},
		{"redirected to nothing", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				w.WriteHeader(http.StatusGone)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, challenge.Unauthorized, "after a redirect from web.example"},
		{"redirected to metadata", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254:"+r.Host[strings.LastIndexByte(r.Host, ':')+1:]+"/", http.StatusFound)
		}, challenge.Connection, "metadata"},
		{"hanging up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, challenge.Connection, "closed"},
	}
	zone := egresstest.NewDNS(t)
	zone.Set(t, "web.example", "A 127.0.0.1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/.well-known/acme-challenge/"+token && r.URL.Path != "/elsewhere" {
					t.Errorf("asked %s %s", r.Method, r.URL)
				}
				if r.Host != "web.example:"+strconv.Itoa(r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).Port) {
					t.Errorf("Host %s", r.Host)
				}
				test.handler(w, r)
			})
			client, err := egress.New(egress.Config{Resolver: zone.Addr, Ports: []int{port}})
			if err != nil {
				t.Fatal(err)
			}
			evidence, err := New(Config{Egress: client, Port: port}).Validate(t.Context(), target(identity.DNS, "web.example"))
			if len(evidence.Hops) == 0 || evidence.Hops[0].Addresses[0] != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("evidence %+v", evidence)
			}
			check(t, err, test.kind, test.part, strconv.Itoa(port))
		})
	}
}

// check wants an error of a type whose text has all parts, and nothing of what was
// fetched.
func check(t *testing.T, err error, kind challenge.ErrorType, parts ...string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *challenge.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want one of type %s", err, kind)
	}
	if e.Type != kind || e.Hint == "" {
		t.Errorf("type %s, want %s: %s", e.Type, kind, e)
	}
	for _, part := range parts {
		if !strings.Contains(e.Text(), part) {
			t.Errorf("%q lacks %q", e, part)
		}
	}
	if strings.Contains(fmt.Sprint(e, e.Err), secret) {
		t.Errorf("the page is shown: %s, %v", e, e.Err)
	}
}

// TestAddresses proves IP addresses: no DNS is asked, and the Host header is the
// address (RFC 8738 §4).
func TestAddresses(t *testing.T) {
	zone := egresstest.NewDNS(t)
	for address, host := range map[string]string{"127.0.0.1": "127.0.0.1", "::1": "[::1]"} {
		var port int
		port = serve(t, net.JoinHostPort(address, "0"), func(w http.ResponseWriter, r *http.Request) {
			if r.Host != fmt.Sprintf("%s:%d", host, port) {
				t.Errorf("Host %s", r.Host)
			}
			say(w, auth)
		})
		client, err := egress.New(egress.Config{Resolver: zone.Addr, Ports: []int{port}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Egress: client, Port: port}).Validate(t.Context(), target(identity.IP, address)); err != nil {
			t.Error(err)
		}
	}
	if asked := zone.Asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	for host, want := range map[string]string{"a.example": "a.example", "10.0.0.1": "10.0.0.1", "fd12::1": "[fd12::1]"} {
		kind := identity.IP
		if host == "a.example" {
			kind = identity.DNS
		}
		if got := New(Config{}).url(target(kind, host)); got != "http://"+want+"/.well-known/acme-challenge/"+token {
			t.Error(got)
		}
	}
}

func TestUnreachable(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "inner.example", "A 127.0.0.2")
	zone.Set(t, "closed.example", "A 127.0.0.3", "AAAA ::1")
	canary := egresstest.Canary(t, "127.0.0.2:0")
	port := int(canary.Port())
	client, err := egress.New(egress.Config{Resolver: zone.Addr, Ports: []int{port}, Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	if err != nil {
		t.Fatal(err)
	}
	v := New(Config{Egress: client, Port: port})
	validate := func(kind identity.IdentifierType, value string) error {
		_, err := v.Validate(t.Context(), target(kind, value))
		return err
	}
	check(t, validate(identity.DNS, "inner.example"), challenge.Connection, "denied network", "127.0.0.2", strconv.Itoa(port))
	check(t, validate(identity.IP, "127.0.0.2"), challenge.Connection, "denied network")
	check(t, validate(identity.IP, "169.254.169.254"), challenge.Connection, "metadata")
	check(t, validate(identity.IP, "64:ff9b::7f00:2"), challenge.Connection, "denied network")
	check(t, validate(identity.DNS, "gone.example"), challenge.DNS, "gone.example", "NXDOMAIN")
	check(t, validate(identity.DNS, "closed.example"), challenge.Connection, "::1, 127.0.0.3", "connection refused", strconv.Itoa(port))
	wild := target(identity.DNS, "inner.example")
	wild.Wildcard = true
	_, err = v.Validate(t.Context(), wild)
	check(t, err, challenge.Malformed, "wildcard")
	check(t, validate(identity.Email, "a@b.example"), challenge.Malformed, "email")
}
