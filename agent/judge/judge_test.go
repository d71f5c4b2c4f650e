package judge_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/agent/agenttest"
	"github.com/certwright/certwright/agent/judge"
	"github.com/certwright/certwright/identity"
)

var web = []identity.Identifier{{Type: identity.DNS, Value: "web.internal"}, {Type: identity.DNS, Value: "www.internal"}}

// TestHostile: whatever a server answers that is not what was asked for is refused,
// and the refusal says why.
func TestHostile(t *testing.T) {
	ca, other := agenttest.New(t), agenttest.New(t)
	key := agenttest.Key(t)
	names := []string{"www.internal", "web.internal"}
	now := time.Now().Truncate(time.Second) // as certificates have it
	sign := func(change func(*x509.Certificate)) []byte {
		return agenttest.PEM(ca.Sign(key.Public(), change, names...))
	}
	chain := agenttest.PEM(ca.Issuer)
	san, err := asn1.Marshal([]asn1.RawValue{
		{Class: 2, Tag: 2, Bytes: []byte("web.internal")}, {Class: 2, Tag: 2, Bytes: []byte("www.internal")}, {Class: 2, Tag: 8, Bytes: []byte{0x2a, 3, 4}},
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := url.Parse("spiffe://internal/admin")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		certificate, chain []byte
		want               string // "": it is taken
	}{
		"good":                  {sign(nil), chain, ""},
		"good, with its root":   {sign(nil), agenttest.PEM(ca.Issuer, ca.Root), ""},
		"good, with another CA": {sign(nil), agenttest.PEM(ca.Issuer, other.Issuer, other.Root), ""},
		"good, as a bundle":     {append(sign(nil), chain...), nil, ""},
		"common name":           {sign(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "WEB.internal"} }), chain, ""},
		"another's key":         {agenttest.PEM(ca.Sign(agenttest.Key(t).Public(), nil, names...)), chain, "for another key"},
		"fewer names":           {agenttest.PEM(ca.Sign(key.Public(), nil, names[0])), chain, `for "www.internal"; asked for was`},
		"more names":            {agenttest.PEM(ca.Sign(key.Public(), nil, append(names, "x.internal")...)), chain, "asked for was"},
		"a wildcard":            {agenttest.PEM(ca.Sign(key.Public(), nil, "*.internal")), chain, "asked for was"},
		"no names":              {agenttest.PEM(ca.Sign(key.Public(), nil)), chain, "for no names"},
		"an address more":       {sign(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }), chain, "asked for was"},
		"a URI more":            {sign(func(c *x509.Certificate) { c.URIs = []*url.URL{foreign} }), chain, "asked for was"},
		"a mailbox more":        {sign(func(c *x509.Certificate) { c.EmailAddresses = []string{"a@internal"} }), chain, "asked for was"},
		"a name that is none":   {agenttest.PEM(ca.Sign(key.Public(), nil, "web..internal")), chain, "odd names"},
		"another common name":   {sign(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "admin"} }), chain, "the common name \"admin\""},
		"a name of a type more": {sign(func(c *x509.Certificate) {
			c.DNSNames, c.ExtraExtensions = nil, []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}
		}), chain, "of a type that was not asked for"},
		"a CA":                 {sign(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), chain, "a certificate of a CA"},
		"expired":              {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(-time.Minute) }), chain, "it ended 60 s ago"},
		"old":                  {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(time.Hour) }), chain, "that is old already"},
		"not yet":              {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) }), chain, "compare the clocks"},
		"a clock ahead":        {sign(func(c *x509.Certificate) { c.NotBefore = now.Add(2 * time.Minute) }), chain, ""},
		"turned round":         {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(-time.Hour) }), chain, "ends before it begins"},
		"over on arrival":      {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Second), now.Add(-2*time.Second) }), chain, "it ended 2 s ago"},
		"one second":           {sign(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Minute), now.Add(time.Minute) }), chain, "for one second only"},
		"another CA":           {agenttest.PEM(other.Sign(key.Public(), nil, names...)), agenttest.PEM(other.Issuer, other.Root), "does not lead to a trusted root"},
		"another CA's chain":   {sign(nil), agenttest.PEM(other.Issuer), "does not lead to a trusted root"},
		"no chain":             {sign(nil), nil, "does not lead to a trusted root"},
		"nothing":              {nil, nil, "holds no certificate"},
		"no PEM":               {[]byte("hello"), nil, "holds no certificate"},
		"a private key":        {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), nil, `holds a "PRIVATE KEY"`},
		"rubbish in PEM":       {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), nil, "the server's answer: "},
		"rubbish in the chain": {sign(nil), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "the server's answer: "},
		"a long chain":         {sign(nil), bytes.Repeat(chain, 20), "more than 10 certificates"},
		"a huge answer":        {sign(nil), bytes.Repeat([]byte("x"), 1<<20), "at most"},
		"a critical extension": {sign(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), chain, "does not lead to a trusted root"},
	} {
		got, err := judge.Chain(test.certificate, test.chain, judge.Want{Public: key.Public(), Names: web, Roots: ca.Pool(), Now: now})
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		case test.want == "" && (len(got) != 2 || !got[1].Equal(ca.Issuer)):
			t.Errorf("%s: a chain of %d", name, len(got))
		}
	}
}

// FuzzChain gives the judge certificates that are nearly good: what it takes is the one
// that the CA has signed.
func FuzzChain(f *testing.F) {
	ca := agenttest.New(f)
	key := agenttest.Key(f)
	good := ca.Sign(key.Public(), nil, "web.internal", "www.internal")
	f.Add(uint16(0), byte(0), []byte{})
	f.Add(uint16(200), byte(1), []byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, more []byte) {
		der := bytes.Clone(good.Raw)
		der[int(at)%len(der)] ^= flip
		text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), more...)
		got, err := judge.Chain(text, agenttest.PEM(ca.Issuer), judge.Want{Public: key.Public(), Names: web, Roots: ca.Pool(), Now: time.Now()})
		if err == nil && !got[0].Equal(good) {
			t.Errorf("another certificate was taken: octet %d changed by %#x", at, flip)
		}
	})
}
