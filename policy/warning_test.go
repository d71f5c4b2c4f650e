package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	if got := engine(t, grants).Warnings(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	e, err := New(Config{File: "default.yaml", Data: Default(), WithoutIssuers: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Warnings(); len(got) != 0 {
		t.Errorf("the shipped policy: %q", got)
	}
	e = engine(t, `grants:
  - name: all
    principals:
      - {local_socket: admin}
      - {role: ca-admin}
      - {role: requester}
      - {token: abc}
      - {acme: any}
      - {eab: a}
      - {account: a}
      - {mtls: any}
      - {device: factory}
      - {oidc: "https://a.x", claims: {a: b}}
    profiles: [server]
    allow: {dns: [a.x]}
    owner: o
`)
	var got []string
	for _, w := range e.Warnings() {
		_, rest, _ := strings.Cut(w, "principals[")
		index, _, _ := strings.Cut(rest, "]")
		got = append(got, index)
	}
	if !slices.Equal(got, []string{"3"}) {
		t.Errorf("%q", e.Warnings())
	}
}

// TestKeyUsageOfKey: a certificate has the usages that its key can have, and a
// profile leaves no key without one.
func TestKeyUsageOfKey(t *testing.T) {
	text := base + `  - name: old
    issuer: issuing
    keys: [ecdsa-p256, ed25519, rsa-2048]
    validity: {default: 1h, max: 1h}
    key_usage: [digital_signature, key_encipherment, data_encipherment, key_agreement]
    ext_key_usage: [server_auth]
grants:
  - {name: g, principals: [{local_socket: admin}], profiles: [old], allow: {dns: [a.x]}, owner: o}
`
	e, err := New(Config{File: "p.yaml", Data: []byte(text), WithoutIssuers: true})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][]string{
		"ecdsa-p256": {"digital_signature", "key_agreement"},
		"ed25519":    {"digital_signature"},
		"rsa-2048":   {"digital_signature", "key_encipherment", "data_encipherment"},
	} {
		req := ask(t, "old", "dns:a.x")
		if req.PublicKey, err = SamplePublicKey(key); err != nil {
			t.Fatal(err)
		}
		if d := expect(t, e, req); !slices.Equal(d.Profile.KeyUsage, want) {
			t.Errorf("%s: %q, want %q", key, d.Profile.KeyUsage, want)
		}
	}
	if p, _ := e.Profile("old"); len(p.KeyUsage) != 4 {
		t.Errorf("a decision changed the profile: %q", p.KeyUsage)
	}
	_, err = Parse("p.yaml", []byte(strings.Replace(text, "key_usage: [digital_signature, key_encipherment, data_encipherment, key_agreement]", "key_usage: [key_encipherment]", 1)))
	if got := faults(t, err); len(got) != 2 || !strings.Contains(got[0], "profiles[3].keys[0]") || !strings.Contains(got[1], "profiles[3].keys[1]") {
		t.Errorf("%q", got)
	}
}
