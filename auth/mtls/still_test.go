package mtls_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/auth/mtls"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/storage"
)

// TestStill: what a session was opened with is proven again as it stands now.
func TestStill(t *testing.T) {
	ours, factory := newCA(t, "Issuing", nil, nil), newCA(t, "Factory", nil, nil)
	store := &rows{byFingerprint: map[[32]byte]storage.Certificate{}}
	a, err := mtls.New(mtls.Config{Store: store, Own: []*x509.Certificate{ours.cert}, Devices: []mtls.DeviceCA{{
		Name: "factory", Roots: []*x509.Certificate{factory.cert}, Names: identity.Names{DNS: []string{"*.devices.x"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	row := issued(ours.leaf(nil, "a.x"))
	kept := identity.Principal{Method: identity.MTLS, ID: "f", Evidence: row.Fingerprint}
	if _, err := a.Still(t.Context(), kept); code(err) != "CERTIFICATE_UNKNOWN" {
		t.Error(err)
	}
	store.byFingerprint[row.Fingerprint] = row
	if p, err := a.Still(t.Context(), kept); err != nil || p.Claims["grant"] != "g" {
		t.Errorf("%+v %v", p, err)
	}
	for want, change := range map[string]func(*storage.Certificate){
		"CERTIFICATE_REVOKED": func(c *storage.Certificate) { c.Revocation = &storage.RevocationFact{At: time.Now()} },
		"CERTIFICATE_EXPIRED": func(c *storage.Certificate) { c.NotAfter = time.Now().Add(-time.Second) },
		"CERTIFICATE_UNKNOWN": func(c *storage.Certificate) { c.DER = nil },
	} {
		changed := row
		change(&changed)
		store.byFingerprint[row.Fingerprint] = changed
		if _, err := a.Still(t.Context(), kept); code(err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	store.err = errors.New("the disk is gone")
	if _, err := a.Still(t.Context(), kept); !errors.Is(err, store.err) {
		t.Error(err)
	}
}

// TestStillTheSameCA: a device has no row. Its session is over once its CA is
// configured otherwise.
func TestStillTheSameCA(t *testing.T) {
	factory, newer := newCA(t, "Factory", nil, nil), newCA(t, "Factory", nil, nil)
	between := newCA(t, "Line 1", factory, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10 * time.Minute) })
	good := mtls.DeviceCA{Name: "factory", Roots: []*x509.Certificate{factory.cert}, Names: identity.Names{DNS: []string{"*.devices.x", "*.d.x"}}}
	with := func(d mtls.DeviceCA) *mtls.Authenticator {
		a, err := mtls.New(mtls.Config{Store: &rows{}, Devices: []mtls.DeviceCA{d}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := with(good)
	for range 2 { // verified, and kept
		p, err := a.Authenticate(t.Context(), chain(between.leaf(nil, "a.devices.x"), between.cert))
		if err != nil || !p.Until.Equal(between.cert.NotAfter) {
			t.Fatalf("%+v %v: a session would outlive the chain", p, err)
		}
	}
	p, err := a.Authenticate(t.Context(), chain(factory.leaf(nil, "a.devices.x")))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*mtls.DeviceCA)
		says   string // empty: the session goes on
	}{
		{"nothing", func(*mtls.DeviceCA) {}, ""},
		{"another order", func(d *mtls.DeviceCA) { d.Names.DNS = []string{"*.d.x", "*.devices.x"} }, ""},
		{"another root", func(d *mtls.DeviceCA) { d.Roots = []*x509.Certificate{newer.cert} }, "have changed"},
		{"one more root", func(d *mtls.DeviceCA) { d.Roots = append(slices.Clip(d.Roots), newer.cert) }, "have changed"},
		{"fewer names", func(d *mtls.DeviceCA) { d.Names.DNS = []string{"*.d.x"} }, "have changed"},
		{"names of another sort", func(d *mtls.DeviceCA) { d.Names = identity.Names{URI: []string{"spiffe://x/*"}} }, "have changed"},
		{"another name", func(d *mtls.DeviceCA) { d.Name = "phones" }, "no longer"},
	} {
		changed := good
		test.change(&changed)
		_, err := with(changed).Still(t.Context(), p)
		if test.says == "" && err != nil || test.says != "" && (code(err) != "SESSION_DEVICE_CA" || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
	p.Basis = [32]byte{}
	if _, err := a.Still(t.Context(), p); code(err) != "SESSION_DEVICE_CA" {
		t.Error("a session that does not know by what it was opened goes on")
	}
}
