package policy

import (
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
)

const oneName = `grants:
  - {name: g, principals: [{local_socket: admin}], profiles: [server, wild], allow: {dns: [a.x]}, owner: o}
`

func TestValidity(t *testing.T) {
	e := engine(t, oneName) // server: default 720h, max 2160h, backdate 1m
	second := now.Truncate(time.Second)
	at := func(d time.Duration) time.Time { return second.Add(d) }
	tests := []struct {
		name                string
		from, to            time.Time // wishes
		validity            time.Duration
		notBefore, notAfter time.Time
		want                string
	}{
		{name: "default", notBefore: at(-time.Minute), notAfter: at(720*time.Hour - time.Minute - time.Second)},
		{name: "longest", validity: 2160 * time.Hour, notBefore: at(-time.Minute), notAfter: at(2160*time.Hour - time.Minute - time.Second)},
		{name: "a second more", validity: 2160*time.Hour + time.Second, want: ReasonValidity},
		{name: "short", validity: 5 * time.Minute, notBefore: at(-30 * time.Second), notAfter: at(5*time.Minute - 31*time.Second)},
		{name: "a second", validity: time.Second, notBefore: at(0), notAfter: at(0)},
		{name: "less", validity: time.Millisecond, want: ReasonValidityInvalid},
		{name: "negative", validity: -time.Hour, want: ReasonValidityInvalid},
		{name: "overflow", validity: 1<<63 - 1, want: ReasonValidity},
		{name: "end", to: at(time.Hour), notBefore: at(-time.Minute), notAfter: at(time.Hour)},
		{name: "end with a fraction", to: at(time.Hour + 900*time.Millisecond), notBefore: at(-time.Minute), notAfter: at(time.Hour)},
		{name: "end elsewhere", to: at(time.Hour).In(time.FixedZone("x", 3600)), notBefore: at(-time.Minute), notAfter: at(time.Hour)},
		{name: "latest end", to: at(2160*time.Hour - time.Second), notBefore: at(0), notAfter: at(2160*time.Hour - time.Second)},
		{name: "too late end", to: at(2160 * time.Hour), want: ReasonValidity},
		{name: "far end", to: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), want: ReasonValidity},
		{name: "past end", to: at(-time.Second), want: ReasonValidityInvalid},
		{name: "both", to: at(time.Hour), validity: time.Hour, want: ReasonValidityInvalid},
		{name: "begin", from: at(-30 * time.Second), notBefore: at(-30 * time.Second), notAfter: at(720*time.Hour - 31*time.Second)},
		{name: "earliest begin", from: at(-time.Minute), notBefore: at(-time.Minute), notAfter: at(720*time.Hour - 61*time.Second)},
		{name: "too early", from: at(-61 * time.Second), want: ReasonNotBefore},
		{name: "later", from: at(24 * time.Hour), notBefore: at(24 * time.Hour), notAfter: at(744*time.Hour - time.Second)},
		{name: "far later", from: at(2150 * time.Hour), notBefore: at(2150 * time.Hour), notAfter: at(2160*time.Hour - time.Second)},
		{name: "too far later", from: at(2161 * time.Hour), want: ReasonValidityInvalid},
		{name: "later and longest", from: at(24 * time.Hour), validity: 2160 * time.Hour, want: ReasonValidity},
		{name: "backwards", from: at(2 * time.Hour), to: at(time.Hour), want: ReasonValidityInvalid},
	}
	for _, test := range tests {
		req := ask(t, "server", "dns:a.x")
		req.NotBefore, req.NotAfter, req.Validity = test.from, test.to, test.validity
		if test.want != "" {
			expect(t, e, req, test.want)
			continue
		}
		d := expect(t, e, req)
		if d.NotBefore != test.notBefore || d.NotAfter != test.notAfter {
			t.Errorf("%s: %s to %s, want %s to %s", test.name, d.NotBefore, d.NotAfter, test.notBefore, test.notAfter)
		}
	}
}

func TestIssuerEnds(t *testing.T) {
	with := func(end time.Time) *Engine {
		e, err := New(Config{File: "p", Data: []byte(base + oneName), Issuers: []Issuer{{Name: "issuing", NotAfter: end}}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	end := now.Add(10 * time.Hour).Truncate(time.Second)
	req := ask(t, "server", "dns:a.x")
	if d := expect(t, with(end), req); d.NotAfter != end {
		t.Errorf("it ends %s, its issuer %s", d.NotAfter, end)
	}
	req.Validity = 9 * time.Hour
	expect(t, with(end), req)
	req.Validity = 11 * time.Hour
	expect(t, with(end), req, ReasonIssuerEnds)
	req.Validity, req.NotAfter = 0, end
	expect(t, with(end), req)
	req.NotAfter = end.Add(time.Second)
	expect(t, with(end), req, ReasonIssuerEnds)
	req.NotAfter, req.NotBefore = time.Time{}, end.Add(time.Hour)
	expect(t, with(end), req, ReasonIssuerEnds)
	expect(t, with(now.Add(-time.Hour)), ask(t, "server", "dns:a.x"), ReasonIssuerExpired)
}

func TestIssuersMustBeKnown(t *testing.T) {
	for name, issuers := range map[string][]Issuer{"none": nil, "another": {{Name: "other", NotAfter: now}}, "no end": {{Name: "issuing"}}} {
		if _, err := New(Config{File: "p", Data: []byte(base), Issuers: issuers}); err == nil {
			t.Errorf("%s: an engine without its issuer", name)
		}
	}
	e, err := New(Config{File: "p", Data: []byte(base + oneName), WithoutIssuers: true})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, e, ask(t, "server", "dns:a.x"))
}

func TestKeys(t *testing.T) {
	e := engine(t, oneName)
	for _, name := range keyNames {
		req := ask(t, "server", "dns:a.x")
		var err error
		if req.PublicKey, err = SamplePublicKey(name); err != nil {
			t.Fatal(err)
		}
		if name == "ecdsa-p256" || name == "rsa-2048" {
			expect(t, e, req)
		} else {
			expect(t, e, req, ReasonKey)
		}
	}
	for _, key := range []any{nil, "key", 7} {
		req := ask(t, "server", "dns:a.x")
		req.PublicKey = key
		expect(t, e, req, ReasonKey)
	}
	for _, name := range []string{"", "rsa-1024", "rsa-", "dsa"} {
		if _, err := SamplePublicKey(name); err == nil {
			t.Errorf("there is a key of %q", name)
		}
	}
	var none identity.Request
	expect(t, e, none, ReasonNoGrant, ReasonProfileMissing)
}
