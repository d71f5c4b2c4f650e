package mtls_test

import (
	"crypto/x509"
	"errors"
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
	// A device has no row: its CA must still be believed.
	for ca, want := range map[string]string{"factory": "", "phones": "CERTIFICATE_UNKNOWN"} {
		device := identity.Principal{Method: identity.Device, ID: ca + "/f", Claims: map[string]any{"ca": ca}}
		if _, err := a.Still(t.Context(), device); code(err) != want {
			t.Errorf("%s: %v", ca, err)
		}
	}
}
