package tlsalpn01

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
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
	secret = "top-secret.example"
)

var (
	oidACME = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	oidOld  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}
	oidSAN  = asn1.ObjectIdentifier{2, 5, 29, 17}
)

func target(kind identity.IdentifierType, value string) challenge.Target {
	return challenge.Target{Identifier: identity.Identifier{Type: kind, Value: value}, Token: token, KeyAuthorization: auth}
}

func der(t testing.TB, value any) []byte {
	t.Helper()
	out, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func acmeExtension(t testing.TB, oid asn1.ObjectIdentifier, critical bool, auth string) pkix.Extension {
	digest := sha256.Sum256([]byte(auth))
	return pkix.Extension{Id: oid, Critical: critical, Value: der(t, digest[:])}
}

// certificate is what a client shows: right for web.example, but for what change
// makes of it. A second signer makes it not self-signed.
func certificate(t testing.TB, change func(*x509.Certificate), signer ...crypto.Signer) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "challenge"}, DNSNames: []string{"web.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{acmeExtension(t, oidACME, true, auth)},
	}
	if change != nil {
		change(template)
	}
	parent, by := template, crypto.Signer(key)
	if len(signer) > 0 {
		parent, by = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: template.Subject}, signer[0]
		if template.Issuer.CommonName != "" {
			parent.Subject = template.Issuer
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// serve makes handshakes on an address of loopback, each with what config says, and
// returns the port.
func serve(t *testing.T, address string, config *tls.Config) int {
	t.Helper()
	listener, err := net.Listen("tcp", address)
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
			secure := tls.Server(conn, config)
			if secure.Handshake() == nil {
				_, _ = secure.Read(make([]byte, 1)) // until the client goes
			}
			secure.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).Port
}

// check wants an error of a type whose text has all parts, and nothing of what was
// shown.
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
	if strings.Contains(fmt.Sprint(e), secret) {
		t.Errorf("the certificate is shown: %s", e)
	}
}

func TestValidate(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	extensions := func(list ...pkix.Extension) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = list }
	}
	right := acmeExtension(t, oidACME, true, auth)
	san := func(entries ...asn1.RawValue) pkix.Extension {
		return pkix.Extension{Id: oidSAN, Value: der(t, entries)}
	}
	dnsName := func(name string) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte(name)} }
	otherName := asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: append(der(t, asn1.ObjectIdentifier{1, 2, 3}), 0xa0, 2, 5, 0)}
	alpn := []string{Protocol}
	tests := []struct {
		name  string
		cert  tls.Certificate
		alpn  []string
		max   uint16
		kind  challenge.ErrorType
		parts string
	}{
		{"right", certificate(t, nil), alpn, 0, "", ""},
		{"right by TLS 1.2", certificate(t, nil), alpn, tls.VersionTLS12, "", ""},
		{"right beside others", certificate(t, nil), []string{"h2", Protocol}, 0, "", ""},
		{"name in upper case", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"WEB.example"} }), alpn, 0, "", ""},
		{"expired", certificate(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore }), alpn, 0, "", ""},
		{"TLS 1.1", certificate(t, nil), alpn, tls.VersionTLS11, challenge.TLS, "protocol version"},
		{"no ALPN", certificate(t, nil), nil, 0, challenge.TLS, "did not agree on the protocol acme-tls/1"},
		{"other ALPN", certificate(t, nil), []string{"h2"}, 0, challenge.TLS, "no application protocol"},
		{"two names", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"web.example", secret} }), alpn, 0, challenge.IncorrectResponse, "2 names"},
		{"name twice", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"web.example", "web.example"} }), alpn, 0, challenge.IncorrectResponse, "2 names"},
		{"name and address", certificate(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{{127, 0, 0, 1}} }), alpn, 0, challenge.IncorrectResponse, "2 names"},
		{"name and email", certificate(t, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@" + secret} }), alpn, 0, challenge.IncorrectResponse, "2 names"},
		{"name and otherName", certificate(t, extensions(right, san(dnsName("web.example"), otherName))), alpn, 0, challenge.IncorrectResponse, "2 names"},
		{"other name", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{secret} }), alpn, 0, challenge.IncorrectResponse, "not the identifier"},
		{"longer name", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"x.web.example"} }), alpn, 0, challenge.IncorrectResponse, "not the identifier"},
		{"wildcard name", certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"*.example"} }), alpn, 0, challenge.IncorrectResponse, "not the identifier"},
		{"only an address", certificate(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{127, 0, 0, 1}} }), alpn, 0, challenge.IncorrectResponse, "not of type dns"},
		{"only an otherName", certificate(t, extensions(right, san(otherName))), alpn, 0, challenge.IncorrectResponse, "not of type dns"},
		{"no name", certificate(t, func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "web.example" }), alpn, 0, challenge.IncorrectResponse, "no extension subjectAltName"},
		{"no acmeIdentifier", certificate(t, extensions()), alpn, 0, challenge.IncorrectResponse, "no extension acmeIdentifier"},
		{"of the old OID", certificate(t, extensions(acmeExtension(t, oidOld, true, auth))), alpn, 0, challenge.IncorrectResponse, "no extension acmeIdentifier"},
		{"not critical", certificate(t, extensions(acmeExtension(t, oidACME, false, auth))), alpn, 0, challenge.IncorrectResponse, "not critical"},
		{"another digest", certificate(t, extensions(acmeExtension(t, oidACME, true, auth+"x"))), alpn, 0, challenge.Unauthorized, "not the digest"},
		{"bare digest", certificate(t, extensions(pkix.Extension{Id: oidACME, Critical: true, Value: right.Value[2:]})), alpn, 0, challenge.IncorrectResponse, "OCTET STRING"},
		{"short digest", certificate(t, extensions(pkix.Extension{Id: oidACME, Critical: true, Value: der(t, []byte("short"))})), alpn, 0, challenge.IncorrectResponse, "OCTET STRING"},
		{"more after the digest", certificate(t, extensions(pkix.Extension{Id: oidACME, Critical: true, Value: append(der(t, make([]byte, 32)), 5, 0)})), alpn, 0, challenge.IncorrectResponse, "OCTET STRING"},
		{"signed by another, same name", certificate(t, nil, other), alpn, 0, challenge.IncorrectResponse, "does not verify under its own key"},
		{"signed by another", certificate(t, func(c *x509.Certificate) { c.Issuer.CommonName = secret }, other), alpn, 0, challenge.IncorrectResponse, "not self-signed"},
		{"with a chain", func() tls.Certificate {
			c := certificate(t, nil)
			c.Certificate = append(c.Certificate, certificate(t, nil).Certificate[0])
			return c
		}(), alpn, 0, challenge.IncorrectResponse, "2 certificates"},
	}
	zone := egresstest.NewDNS(t)
	zone.Set(t, "web.example", "A 127.0.0.1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := serve(t, "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{test.cert}, NextProtos: test.alpn, MaxVersion: test.max, MinVersion: tls.VersionTLS10,
				GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					if hello.ServerName != "web.example" || len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != Protocol {
						t.Errorf("asked for %q by %q", hello.ServerName, hello.SupportedProtos)
					}
					return nil, nil
				},
			})
			client, err := egress.New(egress.Config{Resolver: zone.Addr, Ports: []int{port}})
			if err != nil {
				t.Fatal(err)
			}
			evidence, err := New(Config{Egress: client, Port: port}).Validate(t.Context(), target(identity.DNS, "web.example"))
			if len(evidence.Hops) != 1 || evidence.Hops[0].Addresses[0] != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("evidence %+v", evidence)
			}
			check(t, err, test.kind, test.parts, "web.example", "127.0.0.1", strconv.Itoa(port))
		})
	}
}

// TestAddresses proves IP addresses, asked for by their reverse names (RFC 8738 §6).
func TestAddresses(t *testing.T) {
	names := map[string]string{
		"127.0.0.1": "1.0.0.127.in-addr.arpa", "::1": "1." + strings.Repeat("0.", 31) + "ip6.arpa",
	}
	for address, name := range names {
		cert := certificate(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.ParseIP(address)} })
		wrong := certificate(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{127, 0, 0, 9}} })
		named := certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{name} })
		asked := func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName != name {
				t.Errorf("asked for %q, want %q", hello.ServerName, name)
			}
			return nil, nil
		}
		for _, test := range []struct {
			cert tls.Certificate
			kind challenge.ErrorType
			part string
		}{{cert, "", ""}, {wrong, challenge.IncorrectResponse, "not the identifier"}, {named, challenge.IncorrectResponse, "not of type ip"}} {
			port := serve(t, net.JoinHostPort(address, "0"), &tls.Config{
				Certificates: []tls.Certificate{test.cert}, NextProtos: []string{Protocol}, GetConfigForClient: asked,
			})
			client, err := egress.New(egress.Config{Ports: []int{port}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(Config{Egress: client, Port: port}).Validate(t.Context(), target(identity.IP, address))
			check(t, err, test.kind, test.part)
		}
	}
}

func TestUnreachable(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Set(t, "inner.example", "A 127.0.0.2")
	canary := egresstest.Canary(t, "127.0.0.2:0")
	port := int(canary.Port())
	client, err := egress.New(egress.Config{Resolver: zone.Addr, Ports: []int{port}, Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	if err != nil {
		t.Fatal(err)
	}
	v := New(Config{Egress: client, Port: port})
	validate := func(target challenge.Target) error {
		_, err := v.Validate(t.Context(), target)
		return err
	}
	check(t, validate(target(identity.DNS, "inner.example")), challenge.Connection, "denied network")
	check(t, validate(target(identity.IP, "169.254.169.254")), challenge.Connection, "metadata")
	check(t, validate(target(identity.DNS, "gone.example")), challenge.DNS, "NXDOMAIN")
	check(t, validate(target(identity.IP, "127.0.0.3")), challenge.Connection, "connection refused")
	wild := target(identity.DNS, "inner.example")
	wild.Wildcard = true
	check(t, validate(wild), challenge.Malformed, "wildcard")

	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close() // it accepts nothing: the kernel does
	port = open.Addr().(*net.TCPAddr).Port
	client, err = egress.New(egress.Config{Ports: []int{port}, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Config{Egress: client, Port: port}).Validate(t.Context(), target(identity.IP, "127.0.0.1"))
	check(t, err, challenge.Connection, "no answer in time")
}

// FuzzExtensions feeds bytes to what reads the two extensions.
func FuzzExtensions(f *testing.F) {
	digest := sha256.Sum256([]byte(auth))
	f.Add(der(f, digest[:]))
	f.Add(der(f, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("web.example")}, {Class: 2, Tag: 7, Bytes: []byte{127, 0, 0, 1}}}))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if value, what := parseIdentifier(b); what == "" && (len(value) != 32 || len(b) != 34) {
			t.Errorf("%x was read from %x", value, b)
		}
		names, ok := generalNames(b)
		size := 0
		for _, name := range names {
			size += len(name.value)
		}
		if ok && size > len(b) {
			t.Errorf("%d octets were read from %d", size, len(b))
		}
	})
}
