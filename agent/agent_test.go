package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/client"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// pair reads the files of web as a TLS server would.
func pair(t *testing.T, a *Agent) *x509.Certificate {
	t.Helper()
	dir := a.keepers[0].config.Folder
	p, err := tls.LoadX509KeyPair(filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Leaf
}

// TestRenews: the first certificate comes by the token, the next by the certificate
// that is there, with a new key; the private key is in no request.
func TestRenews(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, "    profile: mtls\n    owner: team\n    labels: {a: b}\n    validity: 1h\n"))
	if r := obtain(t, a); !r.Obtained || r.Err != nil || r.State != Valid || r.Serial == "" {
		t.Fatalf("%+v", r)
	}
	first := h.last(t, 1)
	if first.renewal || first.token != "join-token" || first.shown != nil || first.profile != "mtls" || first.owner != "team" || first.labels["a"] != "b" || !first.hasLength || first.requestID == "" {
		t.Errorf("%+v", first)
	}
	one := pair(t, a)
	if r := obtain(t, a); !r.Obtained || r.Note != "" {
		t.Fatalf("%+v", r)
	}
	second := h.last(t, 2)
	if !second.renewal || second.token != "" || second.shown == nil || !second.shown.Equal(one) || second.requestID == first.requestID || !second.hasLength {
		t.Errorf("%+v", second)
	}
	two := pair(t, a)
	if key, ok := one.PublicKey.(interface{ Equal(any) bool }); ok && key.Equal(two.PublicKey) || one.Equal(two) {
		t.Error("the key is the same")
	}
	for _, r := range h.requests {
		if strings.Contains(r.text, "PRIVATE") {
			t.Error("a private key was sent")
		}
	}
	// What is not due is left alone.
	results, err := a.Obtain(t.Context(), []string{"web"}, false)
	if err != nil || results[0].Obtained || results[0].Err != nil {
		t.Errorf("%+v %v", results, err)
	}
	if _, err := a.Obtain(t.Context(), []string{"db"}, false); err == nil || !strings.Contains(err.Error(), `no certificate "db"`) {
		t.Error(err)
	}
	h.last(t, 2)
}

func TestKeyIsKept(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, "    key: {reuse: true, type: ed25519}\n"))
	obtain(t, a)
	one := pair(t, a)
	obtain(t, a)
	if two := pair(t, a); one.Equal(two) || !bytes.Equal(one.RawSubjectPublicKeyInfo, two.RawSubjectPublicKeyInfo) || one.PublicKeyAlgorithm != x509.Ed25519 {
		t.Error("another key, or the same certificate")
	}
}

// TestHostileServer: an answer that is not what was asked for is not kept: the
// certificate that is there stays, and the status says why.
func TestHostileServer(t *testing.T) {
	h := newHostile(t)
	other := agenttest.New(t)
	a := open(t, h.file(t, ""))
	obtain(t, a)
	good := pair(t, a)
	sign := func(change func(*x509.Certificate), names ...string) func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
		return func(q asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.Pem = string(agenttest.PEM(h.ca.Sign(q.csr.PublicKey, change, names...)))
			return c, nil
		}
	}
	n := 1
	for name, test := range map[string]struct {
		answer func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error)
		want   string
	}{
		"another name": {sign(nil, "admin.internal"), "asked for was"},
		"more names":   {sign(nil, "web.internal", "admin.internal"), "asked for was"},
		"expired": {sign(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		}, "web.internal"), "that is over: it ended"},
		"old": {sign(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-20 * time.Hour) }, "web.internal"), "old already"},
		"nothing": {func(_ asked, _ *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			return &certwrightv1.Certificate{}, nil
		}, "holds no certificate"},
		"a huge chain": {func(_ asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.ChainPem = strings.Repeat(c.GetChainPem(), 1000)
			return c, nil
		}, "at most"},
		"a huge answer": {func(_ asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.ChainPem = strings.Repeat("x", 70<<20)
			return c, nil
		}, "larger than max"},
		"no chain": {func(_ asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.ChainPem = ""
			return c, nil
		}, "trusted root"},
		"steering bytes":   {refuse(codes.InvalidArgument, "\x1b[31mred\nlines"), "[31mred lines"},
		"a long complaint": {refuse(codes.InvalidArgument, strings.Repeat("x", 5000)), "…"},
		"another key": {func(_ asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.Pem = string(agenttest.PEM(h.ca.Sign(agenttest.Key(t).Public(), nil, "web.internal")))
			return c, nil
		}, "another key"},
		"another CA": {func(q asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
			c.Pem, c.ChainPem = string(agenttest.PEM(other.Sign(q.csr.PublicKey, nil, "web.internal"))), string(agenttest.PEM(other.Issuer, other.Root))
			return c, nil
		}, "trusted root"},
	} {
		h.set(test.answer)
		r := obtain(t, a)
		if r.Obtained || r.Err == nil || !strings.Contains(r.Err.Error(), test.want) || r.State != Failing || r.LastError == "" || strings.ContainsAny(r.LastError, "\x1b\n") || len(r.LastError) > 10000 {
			t.Errorf("%s: %v (%.200q)", name, r.Err, r.LastError)
		}
		if !pair(t, a).Equal(good) {
			t.Fatalf("%s: another certificate is there", name)
		}
		n++
	}
	h.set(nil)
	if r := obtain(t, a); !r.Obtained || r.State != Valid || r.LastError != "" || r.Failures != 0 {
		t.Errorf("after all: %+v", r)
	}
}

// TestOtherServer: a server of another CA is not spoken to, and gets no token.
func TestOtherServer(t *testing.T) {
	h, other := newHostile(t), newHostile(t)
	c := h.file(t, "")
	c.Server = other.address
	r := obtain(t, open(t, c))
	if r.Err == nil || !strings.Contains(r.Err.Error(), "unknown authority") || r.State != Missing {
		t.Error(r.Err)
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.requests) > 0 {
		t.Errorf("it was asked: %+v", other.requests)
	}
}

// TestLostAnswer: a request whose answer was lost is made again as it was, with the
// same key and under the same ID, by this process and by the next; one that was
// refused is not.
func TestLostAnswer(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	a := open(t, c)
	h.set(refuse(codes.Unavailable, "down"))
	obtain(t, a)
	first := h.last(t, 1)
	obtain(t, a)
	if second := h.last(t, 2); second.requestID != first.requestID || !bytes.Equal(second.csr.Raw, first.csr.Raw) {
		t.Error("the request is another")
	}
	a.Close()
	a = open(t, c)
	obtain(t, a)
	if third := h.last(t, 3); third.requestID != first.requestID || !bytes.Equal(third.csr.Raw, first.csr.Raw) {
		t.Error("the request of the next process is another")
	}
	h.set(refuse(codes.InvalidArgument, "no"))
	obtain(t, a)
	obtain(t, a)
	if fifth := h.last(t, 5); fifth.requestID == first.requestID || bytes.Equal(fifth.csr.RawSubjectPublicKeyInfo, first.csr.RawSubjectPublicKeyInfo) {
		t.Error("a refused request was made again")
	}
	h.set(nil)
	obtain(t, a)
	if files, err := filepath.Glob(a.path("pending", "*")); err != nil || len(files) > 0 {
		t.Errorf("a request is left: %v %v", files, err)
	}
}

// TestCrashAfterPublish: the process ended between the files and the record: the next
// takes what is there, and runs the hook.
func TestCrashAfterPublish(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "    hook: {command: [touch, "+filepath.Join(t.TempDir(), "ran")+"]}\n")
	marker := c.Certificates[0].Hook.Command[1]
	a := open(t, c)
	k := a.keepers[0]
	p, err := k.request(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	held := h.ca.Held("web.internal")
	held.Chain[0] = h.ca.Sign(p.key.Public(), nil, "web.internal")
	held.Key = p.key
	if err := k.folder.Publish(held); err != nil {
		t.Fatal(err)
	}
	a.Close()
	a = open(t, c)
	results, err := a.Obtain(t.Context(), nil, false)
	if err != nil || results[0].Err != nil || results[0].Obtained || results[0].ID != held.ID() {
		t.Fatalf("%+v %v", results, err)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Error("the hook was not run")
	}
	if p, err := a.keepers[0].pending(); p != nil || err != nil {
		t.Errorf("the request is left: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) > 0 {
		t.Error("another was asked for")
	}
}

// TestRefusedRenewal: a renewal that is refused for good is followed by a request with
// the token, and the status says so; without a token it says that.
func TestRefusedRenewal(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	a := open(t, c)
	obtain(t, a)
	h.set(func(q asked, c *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
		if q.renewal {
			return nil, status.Error(codes.Unauthenticated, "the client certificate is revoked")
		}
		return c, nil
	})
	r := obtain(t, a)
	if last := h.last(t, 3); !r.Obtained || last.renewal || last.token != "join-token" || last.shown != nil || !strings.Contains(r.Note, "the client certificate is revoked") {
		t.Errorf("%+v", r)
	}
	// An outage is no refusal: the token stays where it is.
	h.set(refuse(codes.Unavailable, "down"))
	if r := obtain(t, a); !strings.Contains(r.LastError, "down") {
		t.Errorf("%+v", r)
	}
	if last := h.last(t, 4); !last.renewal || last.token != "" {
		t.Errorf("%+v", last)
	}
	h.set(refuse(codes.PermissionDenied, "no grant"))
	if r := obtain(t, a); !strings.Contains(r.LastError, "the renewal was refused: no grant; then: no grant") {
		t.Errorf("%+v", r)
	}
	a.Close()
	c.Certificates[0].Auth.TokenFile = ""
	a = open(t, c)
	if r := obtain(t, a); !strings.Contains(r.LastError, "no grant; no auth is set") {
		t.Errorf("%+v", r)
	}
}

// TestRejectedInTLS: a server that ends the handshake because of the certificate is no
// server that is down: what it does not take is due, and a new one is asked for.
func TestRejectedInTLS(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, ""))
	obtain(t, a)
	h.turned.Store(true)
	results, err := a.Obtain(t.Context(), nil, false)
	if err != nil || !results[0].Obtained || !strings.Contains(results[0].Note, "the server does not take the certificate: remote error: tls: bad certificate") {
		t.Fatalf("%+v %v", results, err)
	}
	if last := h.last(t, 2); last.renewal || last.token != "join-token" {
		t.Errorf("%+v", last)
	}
	h.turned.Store(false)
	obtain(t, a)
	if last := h.last(t, 3); !last.renewal {
		t.Errorf("%+v", last)
	}
}

// TestToldToWait: the server's RetryInfo holds.
func TestToldToWait(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, ""))
	h.set(func(asked, *certwrightv1.Certificate) (*certwrightv1.Certificate, error) {
		st, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(50 * time.Minute)})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	})
	before := time.Now()
	if r := obtain(t, a); r.NextAttempt.Before(before.Add(50 * time.Minute)) {
		t.Errorf("next at %v", r.NextAttempt)
	}
}

// TestLimit: what was tried too often is not tried again by hand either, but by force.
func TestLimit(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	c.TriesPerHour = 2
	a := open(t, c)
	h.set(refuse(codes.PermissionDenied, "no"))
	for n := range 4 {
		results, err := a.Obtain(t.Context(), nil, false)
		if err != nil || results[0].Err == nil || strings.Contains(results[0].Err.Error(), "there were 2 attempts already") != (n >= 2) {
			t.Errorf("%d: %+v %v", n, results, err)
		}
	}
	h.last(t, 2)
	obtain(t, a)
	h.last(t, 3)
}

// TestTokens: the token is read for each request.
func TestTokens(t *testing.T) {
	h := newHostile(t)
	h.set(refuse(codes.PermissionDenied, "no"))
	c := h.file(t, "")
	file := c.Auth.TokenFile
	a := open(t, c)
	n := 0
	for content, want := range map[string]string{"one\n": "one", " two ": "two"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		obtain(t, a)
		n++
		if got := h.last(t, n).token; got != want {
			t.Errorf("%q: token %q", content, got)
		}
	}
	for content, want := range map[string]string{"": "no token", "a b": "no token", "a\nb": "no token", strings.Repeat("x", 70000): "more than 65536", "\x00": "no token"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := obtain(t, a); r.Err == nil || !strings.Contains(r.Err.Error(), want) || content != "" && strings.Contains(r.Err.Error(), content) {
			t.Errorf("%.20q: %v", content, r.Err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if r := obtain(t, a); r.Err == nil || !strings.Contains(r.Err.Error(), "no such file") {
		t.Error(r.Err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil { // nobody ever writes to it
		t.Fatal(err)
	}
	if r := obtain(t, a); r.Err == nil || !strings.Contains(r.Err.Error(), "auth.token_file: "+file+" is not a regular file") {
		t.Error(r.Err)
	}
	h.last(t, n)
}

func TestTokenCommand(t *testing.T) {
	h := newHostile(t)
	a := open(t, h.file(t, "    auth: {token_command: [sh, -c, 'echo made; echo noise >&2']}\n"))
	if r := obtain(t, a); r.Err != nil || h.last(t, 1).token != "made" {
		t.Error(r.Err)
	}
	a = open(t, h.file(t, "    auth: {token_command: [sh, -c, 'echo it broke >&2; exit 1']}\n"))
	if r := obtain(t, a); r.Err == nil || !strings.Contains(r.Err.Error(), "auth.token_command") || !strings.Contains(r.Err.Error(), "it broke") {
		t.Error(r.Err)
	}
}

// TestDevice: the certificate of a CA of devices is shown, then that of this CA.
func TestDevice(t *testing.T) {
	h := newHostile(t)
	device := agenttest.New(t).Held("device-1.factory")
	c := h.file(t, "    auth: {cert_file: device.crt, key_file: device.key}\n")
	auth := c.Certificates[0].Auth
	key, err := client.EncodeKey(device.Key)
	if err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{auth.CertFile: agenttest.PEM(device.Chain...), auth.KeyFile: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := open(t, c)
	obtain(t, a)
	if first := h.last(t, 1); first.renewal || first.shown == nil || !first.shown.Equal(device.Leaf()) || first.token != "" {
		t.Errorf("%+v", first)
	}
	one := pair(t, a)
	obtain(t, a)
	if second := h.last(t, 2); !second.renewal || !second.shown.Equal(one) {
		t.Errorf("%+v", second)
	}
}

// TestWantsChange: what the file asks for is no longer what is there: a new one is
// asked for, not a renewal; another kind of key is a renewal.
func TestWantsChange(t *testing.T) {
	h := newHostile(t)
	c := h.file(t, "")
	a := open(t, c)
	obtain(t, a)
	web := &c.Certificates[0]
	for i, test := range []struct {
		name    string
		change  func()
		renewal bool
	}{
		{"names", func() { web.Names = []string{"web.internal", "www.internal"} }, false},
		{"owner", func() { web.Owner = "other" }, false},
		{"labels", func() { web.Labels = map[string]string{"a": "b"} }, false},
		{"key", func() { web.Key.Type = "ecdsa-p384" }, true},
	} {
		a.Close()
		test.change()
		a = open(t, c)
		results, err := a.Obtain(t.Context(), nil, false)
		if err != nil || !results[0].Obtained {
			t.Fatalf("%s: %+v %v", test.name, results, err)
		}
		if last := h.last(t, i+2); last.renewal != test.renewal {
			t.Errorf("%s: %+v", test.name, last)
		}
	}
	// Files and permissions need no other certificate.
	a.Close()
	web.Mode, web.Files.Combined = 0o640, "all.pem"
	a = open(t, c)
	if results, err := a.Obtain(t.Context(), nil, false); err != nil || results[0].Obtained || !a.keepers[0].folder.Fits() {
		t.Errorf("%+v %v", results, err)
	}
}
