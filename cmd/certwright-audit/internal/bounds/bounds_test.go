package bounds

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
)

const sample = `
version: 1
issuers: [{name: issuing, key: "file:k", certificate: c}]
profiles:
  - name: server
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 2d}
    ext_key_usage: [server_auth, client_auth]
    max_names: 3
  - name: wild
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 48h}
    ext_key_usage: [server_auth]
    wildcards: true
deny: {dns: [ca.internal]}
grants:
  - name: ops
    principals: [{local_socket: admin}]
    profiles: [server, wild]
    allow:
      dns: ["*.internal", ".svc.internal", exact.example, "{claims.team}.teams.internal"]
      ip: [10.0.0.0/8, "::1", 192.168.7.7]
      uri: ["spiffe://internal/ns/*/sa/**", "https://*.internal:8443/a", "https://bare.example", "spiffe://internal/{claims.sub}"]
      email: ["ops@x.example", y.example, "@z.example"]
    deny: {dns: [secret.internal, ".deep.svc.internal"]}
    owner: ops
`

// base is a certificate within all bounds.
func base(t *testing.T) book.Issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	return book.Issued{Profile: "server", Grant: "ops", Actor: "local_socket:admin", Time: now, Certificate: &x509.Certificate{
		PublicKey: key.Public(), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(47 * time.Hour), DNSNames: []string{"a.internal"},
		Subject: pkix.Name{CommonName: "a.internal"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}}
}

func TestCheck(t *testing.T) {
	rules, err := Read([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	type issued = book.Issued
	names := func(dns ...string) func(*issued) {
		return func(i *issued) { i.Certificate.DNSNames, i.Certificate.Subject.CommonName = dns, "" }
	}
	responder := func(i *issued) {
		i.Profile, i.Grant, i.Actor = "ocsp-responder:issuing", "system", "system:server"
		i.Certificate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	}
	for name, test := range map[string]struct {
		change func(*issued)
		want   string // in the one sentence; empty: none
	}{
		"within":                  {func(*issued) {}, ""},
		"key":                     {func(i *issued) { i.Certificate.PublicKey = small.Public() }, "a key of rsa-2048"},
		"CA":                      {func(i *issued) { i.Certificate.IsCA = true }, "a CA's certificate"},
		"exactly":                 {func(i *issued) { i.Certificate.NotAfter = i.Certificate.NotBefore.Add(48*time.Hour - time.Second) }, ""},
		"a second longer":         {func(i *issued) { i.Certificate.NotAfter = i.Certificate.NotBefore.Add(48 * time.Hour) }, "valid for 48h0m1s"},
		"backdated":               {func(i *issued) { i.Time = i.Time.Add(time.Hour) }, "before it was recorded"},
		"later":                   {func(i *issued) { i.Time = i.Time.Add(-100 * time.Hour) }, "after it was recorded"},
		"key usage":               {func(i *issued) { i.Certificate.KeyUsage |= x509.KeyUsageCertSign }, "key usages"},
		"purpose":                 {func(i *issued) { i.Certificate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }, "no purpose, or one"},
		"any purpose":             {func(i *issued) { i.Certificate.ExtKeyUsage = nil }, "no purpose, or one"},
		"no name":                 {names(), "0 names"},
		"many names":              {names("a.internal", "b.internal", "c.internal", "d.internal"), "4 names"},
		"wildcard":                {names("*.x.svc.internal"), "wildcard"},
		"common name":             {func(i *issued) { i.Certificate.Subject.CommonName = "x.internal" }, "common name"},
		"denied to all":           {names("ca.internal"), "denied to everybody"},
		"denied":                  {names("secret.internal"), "ops denies"},
		"deep denied":             {names("a.deep.svc.internal"), "ops denies"},
		"not allowed":             {names("a.b.internal"), "ops allows"},
		"other profile":           {func(i *issued) { i.Profile = "none" }, "no profile"},
		"other grant":             {func(i *issued) { i.Grant = "none" }, "no grant"},
		"token":                   {func(i *issued) { i.Grant, i.Actor = "token:12", "token:12"; names("elsewhere.example")(i) }, ""},
		"token, denied":           {func(i *issued) { i.Grant, i.Actor = "token:12", "token:12"; names("ca.internal")(i) }, "denied to everybody"},
		"system":                  {func(i *issued) { i.Grant, i.Actor = "system", "system:server"; names("ca.internal")(i) }, ""},
		"system's grant":          {func(i *issued) { i.Grant = "system" }, "the server's own grant"},
		"responder":               {responder, ""},
		"responder's, by another": {func(i *issued) { responder(i); i.Actor = "token:1" }, "no profile"},
		"responder, too long":     {func(i *issued) { responder(i); i.Certificate.NotAfter = i.Time.Add(30 * 24 * time.Hour) }, "valid for"},
	} {
		i := base(t)
		test.change(&i)
		got := rules.Check(i)
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestLikeTheServer has the auditor and the server's policy judge the same names: what
// the server allows is in bounds, and what it does not is not.
func TestLikeTheServer(t *testing.T) {
	fixed := strings.NewReplacer(`, "{claims.team}.teams.internal"`, "", `, "spiffe://internal/{claims.sub}"`, "").Replace(sample)
	engine, err := policy.New(policy.Config{File: "policy.yaml", Data: []byte(fixed), WithoutIssuers: true})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Read([]byte(fixed))
	if err != nil {
		t.Fatal(err)
	}
	all := map[identity.IdentifierType][]string{
		identity.DNS: {
			"a.internal", "b.a.internal", "internal", "*.internal", "*.a.internal", "svc.internal", "a.svc.internal", "b.a.svc.internal", "*.svc.internal", "*.a.svc.internal",
			"exact.example", "a.exact.example", "xexact.example", "secret.internal", "ca.internal", "deep.svc.internal", "x.deep.svc.internal", "*.deep.svc.internal", "ainternal",
		},
		identity.IP: {"10.1.2.3", "11.1.2.3", "::1", "::2", "192.168.7.7", "192.168.7.8"},
		identity.URI: {
			"spiffe://internal/ns/a/sa/b", "spiffe://internal/ns/a/sa/b/c", "spiffe://internal/ns/a/sa", "spiffe://internal/ns/a/b/sa/c", "spiffe://other/ns/a/sa/b",
			"https://x.internal:8443/a", "https://x.y.internal:8443/a", "https://x.internal/a", "https://x.internal:8443/a/b", "https://x.internal:8443", "https://bare.example", "https://bare.example/", "http://bare.example",
			"https://bare.example?q=1", "spiffe://internal",
		},
		identity.Email: {"ops@x.example", "OPS@x.example", "dev@x.example", "a@y.example", "a@b.y.example", "a@z.example", "a@sub.z.example"},
	}
	for kind, values := range all {
		for _, value := range values {
			for _, profile := range []string{"server", "wild"} {
				id, err := identity.Identifier{Type: kind, Value: value}.Canonical()
				if err != nil {
					t.Fatal(err)
				}
				i := base(t)
				i.Profile = profile
				i.Certificate.DNSNames, i.Certificate.Subject.CommonName = nil, ""
				switch kind {
				case identity.DNS:
					i.Certificate.DNSNames = []string{id.Value}
				case identity.IP:
					i.Certificate.IPAddresses = []net.IP{netip.MustParseAddr(id.Value).AsSlice()}
				case identity.URI:
					u, err := url.Parse(id.Value)
					if err != nil {
						t.Fatal(err)
					}
					i.Certificate.URIs = []*url.URL{u}
				case identity.Email:
					i.Certificate.EmailAddresses = []string{id.Value}
				}
				_, refused := engine.Decide(identity.Request{
					Kind: identity.X509, Profile: profile, Identifiers: []identity.Identifier{id}, PublicKey: i.Certificate.PublicKey, Owner: "ops",
					Principal: identity.Principal{Method: identity.LocalSocket, ID: "admin"},
				}, i.Time)
				if found := rules.Check(i); (refused == nil) != (len(found) == 0) {
					t.Errorf("%s under %s: the server says %v, the auditor %q", id, profile, refused, found)
				}
			}
		}
	}
}

// TestClaims has a claim stand for whatever it can be.
func TestClaims(t *testing.T) {
	p, err := compile(names{DNS: []string{"{claims.team}.teams.internal"}, URI: []string{"spiffe://internal/{claims.sub}"}, Email: []string{"{claims.sub}@x.example"}})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for what, got := range map[string]bool{
		"dns":  p.hasDNS("red.teams.internal") && !p.hasDNS("red.green.teams.internal") && !p.hasDNS("*.teams.internal"),
		"uri":  p.hasURI(parse("spiffe://internal/me")) && !p.hasURI(parse("spiffe://internal/me/too")),
		"mail": p.hasEmail("me@x.example") && !p.hasEmail("me@y.example"),
	} {
		if !got {
			t.Errorf("%s: not as the server has it", what)
		}
	}
}

func TestRead(t *testing.T) {
	if _, err := Read(policy.Default()); err != nil {
		t.Errorf("the shipped policy: %v", err)
	}
	for name, bad := range map[string]string{
		"empty": "", "no profiles": "version: 1", "version": strings.Replace(sample, "version: 1", "version: 2", 1), "no YAML": "{", "a list": "- 1",
		"a duration": strings.Replace(sample, "max: 2d", "max: soon", 1), "no maximum": strings.Replace(sample, ", max: 2d", "", 1),
		"a prefix": strings.Replace(sample, "10.0.0.0/8", "10.0.0.0/80", 1), "a URI": strings.Replace(sample, "https://bare.example", "bare.example", 1),
		"too large": sample + strings.Repeat("#", maxDocument),
	} {
		if _, err := Read([]byte(bad)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, err := Read([]byte(sample + "\nnewer: {key: [1, 2]}\n")); err != nil {
		t.Errorf("a key of a newer language: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sample))
	f.Add(policy.Default())
	f.Add([]byte("version: 1\nprofiles: [{name: a, validity: {max: 1h}}]\ngrants: [{name: b, allow: {dns: ['*.{claims.x}']}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := Read(data)
		if err != nil {
			return
		}
		now := time.Now()
		_ = rules.Check(book.Issued{Profile: "a", Grant: "b", Time: now, Certificate: &x509.Certificate{
			NotBefore: now, NotAfter: now, DNSNames: []string{"*.x.example"}, EmailAddresses: []string{"a@b"}, IPAddresses: []net.IP{{1, 2, 3, 4}},
		}})
	})
}
