package mtls_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/auth/mtls"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// rows are certificates by fingerprint: the one read that the authenticator has. An
// error answers every read.
type rows struct {
	byFingerprint map[[32]byte]storage.Certificate
	err           error
}

func (r *rows) ByFingerprint(_ context.Context, f [32]byte) (storage.Certificate, error) {
	if r.err != nil {
		return storage.Certificate{}, r.err
	}
	row, ok := r.byFingerprint[f]
	if !ok {
		return row, storage.ErrNotFound
	}
	return row, nil
}

// ca is a CA of the tests' own.
type ca struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newCA(t *testing.T, name string, parent *ca, change func(*x509.Certificate)) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(template)
	}
	c := &ca{t: t, key: key}
	issuer, signer := template, crypto.Signer(key)
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	c.cert = c.make(template, issuer, key.Public(), signer)
	return c
}

func (c *ca) make(template, issuer *x509.Certificate, public any, signer crypto.Signer) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

func (c *ca) leaf(change func(*x509.Certificate), names ...string) *x509.Certificate {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "cn", SerialNumber: "sn-1"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	return c.make(template, c.cert, key.Public(), c.key)
}

func chain(certs ...*x509.Certificate) auth.Credentials {
	return auth.Credentials{TLS: &tls.ConnectionState{PeerCertificates: certs}}
}

func code(err error) string {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.Code()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// issued is the row of a certificate as the store would have it.
func issued(c *x509.Certificate) storage.Certificate {
	return storage.Certificate{
		State: storage.Issued, DER: c.Raw, Fingerprint: sha256.Sum256(c.Raw), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Names:  []identity.Identifier{{Type: identity.DNS, Value: "a.x"}, {Type: identity.URI, Value: "spiffe://x/a"}},
		Intent: entry.Intent{Grant: "g", Profile: "p", Owner: "o"},
	}
}

func TestOwn(t *testing.T) {
	ours := newCA(t, "Issuing", nil, nil)
	leaf := ours.leaf(nil, "a.x")
	store := &rows{byFingerprint: map[[32]byte]storage.Certificate{}}
	now := time.Now()
	a, err := mtls.New(mtls.Config{Store: store, Own: []*x509.Certificate{ours.cert}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	// A certificate that our own key has signed and the ledger does not have proves nobody.
	if _, err := a.Authenticate(t.Context(), chain(leaf, ours.cert)); code(err) != "CERTIFICATE_UNKNOWN" {
		t.Error(err)
	}
	row := issued(leaf)
	store.byFingerprint[row.Fingerprint] = row
	p, err := a.Authenticate(t.Context(), chain(leaf))
	if err != nil || !p.Has(identity.RoleHolder) || !p.Has(identity.RoleRequester) || len(p.ID) != 64 || p.Evidence != row.Fingerprint ||
		p.Claims["grant"] != "g" || p.Claims["owner"] != "o" || p.Claims["profile"] != "p" || p.Claims["name"] != "a.x" {
		t.Errorf("%+v %v", p, err)
	}
	for name, change := range map[string]func(*storage.Certificate){
		"CERTIFICATE_REVOKED":       func(c *storage.Certificate) { c.Revocation = &storage.RevocationFact{At: now} },
		"CERTIFICATE_UNKNOWN":       func(c *storage.Certificate) { c.State = storage.Abandoned },
		"CERTIFICATE_OF_SERVER":     func(c *storage.Certificate) { c.Intent.Grant = "system" },
		"CERTIFICATE_EXPIRED":       func(c *storage.Certificate) { c.NotAfter = now.Add(-time.Second) },
		"CERTIFICATE_NOT_YET_VALID": func(c *storage.Certificate) { c.NotBefore = now.Add(time.Second) },
	} {
		changed := row
		change(&changed)
		store.byFingerprint[row.Fingerprint] = changed
		if _, err := a.Authenticate(t.Context(), chain(leaf)); code(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	changed := row
	changed.DER = append([]byte{}, row.DER...)
	changed.DER[len(changed.DER)-1] ^= 1
	store.byFingerprint[row.Fingerprint] = changed
	if _, err := a.Authenticate(t.Context(), chain(leaf)); code(err) != "CERTIFICATE_UNKNOWN" {
		t.Errorf("other octets: %v", err)
	}
	store.err = errors.New("the disk is gone")
	if _, err := a.Authenticate(t.Context(), chain(leaf)); err == nil || errors.Is(err, auth.ErrNotMine) {
		t.Errorf("a store that fails: %v", err)
	}
}

func TestNotMine(t *testing.T) {
	ours := newCA(t, "Issuing", nil, nil)
	a, err := mtls.New(mtls.Config{Store: &rows{}})
	if err != nil {
		t.Fatal(err)
	}
	with := chain(ours.leaf(nil, "a.x"))
	with.Authorization = "Bearer x"
	for name, c := range map[string]auth.Credentials{"socket": {}, "no certificate": chain(), "a token too": with} {
		if _, err := a.Authenticate(t.Context(), c); !errors.Is(err, auth.ErrNotMine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDevices(t *testing.T) {
	factory := newCA(t, "Factory", nil, nil)
	twin := newCA(t, "Factory", nil, nil) // the same name, another key
	line := newCA(t, "Line 1", factory, nil)
	now := time.Now()
	a, err := mtls.New(mtls.Config{Store: &rows{}, Now: func() time.Time { return now }, Devices: []mtls.DeviceCA{{
		Name: "factory", Roots: []*x509.Certificate{factory.cert}, Names: identity.Names{DNS: []string{"*.devices.x"}, URI: []string{"urn://x/*"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	good := line.leaf(nil, "D1.devices.x")
	// A device that plays CA: its certificate says nothing of that.
	device := newCA(t, "D1", line, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.DNSNames = false, x509.KeyUsageDigitalSignature, []string{"d1.devices.x"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	for range 2 { // verified, then remembered
		p, err := a.Authenticate(t.Context(), chain(good, line.cert))
		if err != nil || p.Method != identity.Device || !strings.HasPrefix(p.ID, "factory/") || p.Claims["ca"] != "factory" || p.Claims["host"] != "d1" ||
			p.Claims["common_name"] != "cn" || p.Claims["serial_number"] != "sn-1" || p.Claims["serial"] == "" || p.Claims["name"] != "d1.devices.x" || p.Has(identity.RoleHolder) {
			t.Errorf("%+v %v", p, err)
		}
	}
	other, err := url.Parse("https://elsewhere.x/")
	if err != nil {
		t.Fatal(err)
	}
	long := []*x509.Certificate{line.leaf(nil, "d2.devices.x"), line.cert, line.cert, line.cert, line.cert, line.cert, line.cert}
	for name, test := range map[string]struct {
		chain  []*x509.Certificate
		reason string
	}{
		"without its intermediate":   {[]*x509.Certificate{line.leaf(nil, "d2.devices.x")}, "CERTIFICATE_UNKNOWN"},
		"of a CA with the same name": {[]*x509.Certificate{twin.leaf(nil, "d2.devices.x"), twin.cert}, "CERTIFICATE_UNKNOWN"},
		"a leaf as CA":               {[]*x509.Certificate{device.leaf(nil, "d2.devices.x"), device.cert, line.cert}, "CERTIFICATE_UNKNOWN"},
		"another name":               {[]*x509.Certificate{line.leaf(nil, "d2.other.x"), line.cert}, "CERTIFICATE_NAMES"},
		"a name too deep":            {[]*x509.Certificate{line.leaf(nil, "a.d2.devices.x"), line.cert}, "CERTIFICATE_NAMES"},
		"one name of another type":   {[]*x509.Certificate{line.leaf(func(c *x509.Certificate) { c.URIs = []*url.URL{other} }, "d2.devices.x"), line.cert}, "CERTIFICATE_NAMES"},
		"no name":                    {[]*x509.Certificate{line.leaf(nil), line.cert}, "CERTIFICATE_NAMES"},
		"a name that is none":        {[]*x509.Certificate{line.leaf(nil, "d 2.devices.x"), line.cert}, "CERTIFICATE_NAMES"},
		"a server":                   {[]*x509.Certificate{line.leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "d2.devices.x"), line.cert}, "CERTIFICATE_UNKNOWN"},
		"expired":                    {[]*x509.Certificate{line.leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "d2.devices.x"), line.cert}, "CERTIFICATE_UNKNOWN"},
		"too many certificates":      {long, "CERTIFICATE_CHAIN"},
	} {
		if _, err := a.Authenticate(t.Context(), chain(test.chain...)); code(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
	}
	// What was remembered ends with the certificate.
	now = now.Add(2 * time.Hour)
	if _, err := a.Authenticate(t.Context(), chain(good, line.cert)); code(err) != "CERTIFICATE_UNKNOWN" {
		t.Errorf("after its end: %v", err)
	}
}

func TestDeviceCAsAreChecked(t *testing.T) {
	ours, factory := newCA(t, "Issuing", nil, nil), newCA(t, "Factory", nil, nil)
	names := identity.Names{DNS: []string{"*.x"}}
	good := mtls.DeviceCA{Name: "factory", Roots: []*x509.Certificate{factory.cert}, Names: names}
	for name, devices := range map[string][]mtls.DeviceCA{
		"no name":   {{Roots: good.Roots, Names: names}},
		"no roots":  {{Name: "a", Names: names}},
		"no names":  {{Name: "a", Roots: good.Roots}},
		"a claim":   {{Name: "a", Roots: good.Roots, Names: identity.Names{DNS: []string{"{claims.a}.x"}}}},
		"a pattern": {{Name: "a", Roots: good.Roots, Names: identity.Names{DNS: []string{"a*.x"}}}},
		"no CA":     {{Name: "a", Roots: []*x509.Certificate{factory.leaf(nil, "a.x")}, Names: names}},
		"ourselves": {{Name: "a", Roots: []*x509.Certificate{ours.cert}, Names: names}},
		"twice":     {good, good},
		"odd name":  {{Name: "A B", Roots: good.Roots, Names: names}},
	} {
		if _, err := mtls.New(mtls.Config{Store: &rows{}, Own: []*x509.Certificate{ours.cert}, Devices: devices}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
