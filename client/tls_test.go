package client

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/client/schedule"
)

// ends are two ends of TLS connections on loopback.
type ends struct {
	t        *testing.T
	server   *tls.Config
	listener net.Listener
}

func serving(t *testing.T, server *tls.Config) *ends {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{t, server, l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secured := tls.Server(conn, server)
			_ = secured.SetDeadline(time.Now().Add(30 * time.Second))
			if secured.Handshake() == nil {
				_, _ = secured.Write([]byte("hello"))
			}
			_ = secured.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return e
}

// greeted makes a connection and wants the server's greeting; it tells whether the
// session was resumed, and who the server was.
func (e *ends) greeted(client *tls.Config) (tls.ConnectionState, error) {
	e.t.Helper()
	conn, err := tls.Dial("tcp", e.listener.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = io.ReadFull(conn, make([]byte, 5))
	return conn.ConnectionState(), err
}

func keeps(t *testing.T, p *paper, names ...string) *Keeper {
	t.Helper()
	wish := asked(p)
	wish.Names = names
	k, err := open(t.Context(), wish, p, schedule.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// dialling is ClientTLS for a server by its name.
func dialling(k *Keeper, name string, match Match) *tls.Config {
	c := k.ClientTLS(match)
	c.ServerName = name
	return c
}

func TestTLS(t *testing.T) {
	p, others := newPaper(t, time.Hour), newPaper(t, time.Hour)
	server := keeps(t, p, "svc.internal", "spiffe://internal/svc", "127.0.0.1")
	caller := keeps(t, p, "spiffe://internal/ns/web/sa/api")
	stranger := keeps(t, others, "spiffe://internal/ns/web/sa/api")
	imposter := keeps(t, others, "svc.internal", "spiffe://internal/svc")
	p.twist = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	serverOnly := keeps(t, p, "spiffe://internal/ns/web/sa/api")
	p.twist = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	clientOnly := keeps(t, p, "svc.internal")

	bare := serving(t, server.ServerTLS())
	mutual := serving(t, server.MutualTLS(WithinURI("spiffe://internal/ns/web/")))
	anybody := serving(t, server.MutualTLS(nil))
	picky := serving(t, server.MutualTLS(WithURI("spiffe://internal/ns/web/sa/other")))
	for name, test := range map[string]struct {
		to   *ends
		by   *tls.Config
		want string // in the client's error; "": it is greeted
	}{
		"by name":                      {bare, dialling(caller, "svc.internal", nil), ""},
		"no certificate needed":        {bare, &tls.Config{RootCAs: server.Roots(), ServerName: "svc.internal"}, ""},
		"by SPIFFE ID":                 {bare, dialling(caller, "", WithURI("spiffe://internal/svc")), ""},
		"by address":                   {bare, caller.ClientTLS(WithHost("127.0.0.1")), ""},
		"by address, without a match":  {bare, caller.ClientTLS(nil), "dialled by an address"},
		"another name":                 {bare, dialling(caller, "db.internal", nil), "not db.internal"},
		"another SPIFFE ID":            {bare, dialling(caller, "svc.internal", WithURI("spiffe://internal/svc2")), "expected is"},
		"another host":                 {bare, dialling(caller, "svc.internal", WithHost("db.internal")), "127.0.0.1"},
		"one of two":                   {bare, dialling(caller, "x", AnyOf(WithHost("db.internal"), WithURI("spiffe://internal/svc"))), ""},
		"none of two":                  {bare, dialling(caller, "x", AnyOf(WithHost("db.internal"), WithURI("spiffe://x/y"))), "spiffe://x/y"},
		"another root":                 {serving(t, imposter.ServerTLS()), dialling(caller, "svc.internal", nil), "unknown authority"},
		"no certificate for servers":   {serving(t, clientOnly.ServerTLS()), dialling(caller, "svc.internal", nil), "incompatible key usage"},
		"mutual":                       {mutual, dialling(caller, "svc.internal", nil), ""},
		"mutual, any":                  {anybody, dialling(caller, "svc.internal", nil), ""},
		"mutual, not expected":         {picky, dialling(caller, "svc.internal", nil), "bad certificate"},
		"mutual, of another root":      {mutual, dialling(stranger, "svc.internal", AnyPeer), "unknown authority"},
		"shown, of another root":       {mutual, &tls.Config{RootCAs: server.Roots(), ServerName: "svc.internal", GetClientCertificate: stranger.GetClientCertificate}, "bad certificate"},
		"mutual, not for clients":      {mutual, dialling(serverOnly, "svc.internal", nil), "bad certificate"},
		"mutual, without certificates": {mutual, &tls.Config{RootCAs: server.Roots(), ServerName: "svc.internal"}, "certificate required"},
	} {
		_, err := test.to.greeted(test.by)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestTLSRotates: what is handed out changes under connections that go on, and both
// ends are judged anew when a session is resumed.
func TestTLSRotates(t *testing.T) {
	p := newPaper(t, time.Hour)
	server, caller := keeps(t, p, "svc.internal"), keeps(t, p, "web.internal")
	allowed := []Match{nil, nil}
	ends := serving(t, server.MutualTLS(func(leaf *x509.Certificate) error { return WithHost("web.internal")(leaf) }))
	config := dialling(caller, "svc.internal", func(leaf *x509.Certificate) error {
		if allowed[0] != nil {
			return allowed[0](leaf)
		}
		return nil
	})
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	first, err := ends.greeted(config)
	if err != nil || first.DidResume {
		t.Fatalf("%v, resumed: %v", err, first.DidResume)
	}
	second, err := ends.greeted(config)
	if err != nil || !second.DidResume {
		t.Fatalf("%v, resumed: %v", err, second.DidResume)
	}
	if err := server.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := caller.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	config.ClientSessionCache = nil
	third, err := ends.greeted(config)
	if err != nil || third.PeerCertificates[0].SerialNumber.Cmp(first.PeerCertificates[0].SerialNumber) == 0 {
		t.Fatalf("%v: the old certificate is handed out", err)
	}

	// The client's match, then the server's roots, change; a session is resumed in vain.
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if _, err := ends.greeted(config); err != nil {
		t.Fatal(err)
	}
	allowed[0] = WithHost("other.internal")
	if _, err := ends.greeted(config); err == nil || !strings.Contains(err.Error(), "expected is") {
		t.Errorf("a resumed session is not matched: %v", err)
	}
	allowed[0] = nil
	if _, err := ends.greeted(config); err != nil {
		t.Fatal(err)
	}
	now := server.held.Load()
	server.held.Store(newHeld(now.certificate, []*x509.Certificate{newPaper(t, time.Hour).root}))
	state, err := ends.greeted(config)
	if err == nil || !strings.Contains(err.Error(), "bad certificate") || !state.DidResume {
		t.Errorf("a resumed session of a root that is gone: %v, resumed: %v", err, state.DidResume)
	}
}
