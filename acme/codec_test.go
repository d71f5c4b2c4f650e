package acme

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/storage"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// someOrders and someAuthorizations have every field empty and full.
func someOrders() []*order {
	return []*order{
		{},
		{
			Account: "account", Status: statusPending, Identifiers: []Identifier{{"dns", "a.internal"}}, Authorizations: []string{"authz"},
			Profile: "tls", Created: at(1), Expires: at(2),
		},
		{
			Account: "account", Status: statusInvalid,
			Identifiers: []Identifier{{"dns", "*.a.internal"}, {"ip", "2001:db8::1"}}, Authorizations: []string{"one", "two"},
			NotBefore: at(0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Profile: "tls",
			Replaces: "AAAA.AAAA", Replaced: []byte{1, 2, 3}, Created: at(-5), Expires: at(1e10), Intent: strings.Repeat("0f", 32),
			Error: &Document{Type: "t", Detail: "d", Status: 403, Subproblems: []Document{{Type: "s", Identifier: &Identifier{"dns", "b"}}}},
		},
	}
}

func someAuthorizations() []*authorization {
	return []*authorization{
		{Challenges: []proof{}},
		{
			Account: "account", Identifier: Identifier{"dns", "a.internal"}, Status: statusPending, Expires: at(3), Token: "token",
			Challenges: []proof{{Type: "http-01", Status: statusPending}, {Type: "dns-01", Status: statusProcessing, Attempts: 70}},
		},
		{
			Account: "account", Identifier: Identifier{"dns", "a.internal"}, Wildcard: true, Status: statusInvalid, Expires: at(3), Grant: "grant",
			Challenges: []proof{{
				Type: "http-01", Status: statusInvalid, Validated: at(4), Error: &Document{Type: "t", Detail: "ü"}, Attempts: 3, Record: "_acme",
				Hops: []egress.Hop{
					{Host: "a.internal", Port: 80, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}},
					{Host: "b.internal", Port: 443},
				},
			}},
		},
	}
}

// TestCodec: what is written is what is read, be it in the short form or in the JSON
// of databases that are older than it.
func TestCodec(t *testing.T) {
	for i, o := range someOrders() {
		short, err := o.marshal()
		if err != nil {
			t.Fatal(err)
		}
		for form, body := range map[string][]byte{"short": short, "JSON": mustJSON(o)} {
			got, err := decodeOrder(storage.Record{Body: body})
			if err != nil || !reflect.DeepEqual(got, o) {
				t.Errorf("order %d, %s: %+v (%v), want %+v", i, form, got, err, o)
			}
		}
	}
	for i, z := range someAuthorizations() {
		short, err := z.marshal()
		if err != nil {
			t.Fatal(err)
		}
		for form, body := range map[string][]byte{"short": short, "JSON": mustJSON(z)} {
			got, err := decodeAuthorization(storage.Record{Body: body})
			if err != nil || !reflect.DeepEqual(got, z) {
				t.Errorf("authorization %d, %s: %+v (%v), want %+v", i, form, got, err, z)
			}
		}
	}
}

// TestCodecRefuses: no part of a body is one, nor has one more at its end than
// belongs to it.
func TestCodecRefuses(t *testing.T) {
	o, err := someOrders()[2].marshal()
	if err != nil {
		t.Fatal(err)
	}
	z, err := someAuthorizations()[2].marshal()
	if err != nil {
		t.Fatal(err)
	}
	for cut := range o {
		if err := new(order).unmarshal(o[:cut]); err == nil {
			t.Errorf("the first %d octets of an order are read", cut)
		}
	}
	for cut := range z {
		if err := new(authorization).unmarshal(z[:cut]); err == nil {
			t.Errorf("the first %d octets of an authorization are read", cut)
		}
	}
	for _, body := range [][]byte{append(o, 0), append([]byte{2}, o[1:]...)} {
		if err := new(order).unmarshal(body); err == nil {
			t.Errorf("%x is read as an order", body)
		}
	}
	if err := new(authorization).unmarshal(append(z, 0)); err == nil {
		t.Error("an authorization with one octet more is read")
	}
	for _, bad := range []order{{Intent: "not hexadecimal"}, {Profile: strings.Repeat("x", 1<<16)}} {
		if _, err := bad.marshal(); err == nil {
			t.Errorf("an order with %.20q and %.20q is written", bad.Intent, bad.Profile)
		}
	}
}

// FuzzCodec: whatever stands in the database, reading it ends, and what is read is
// what is written again.
func FuzzCodec(f *testing.F) {
	for _, o := range someOrders() {
		body, _ := o.marshal()
		f.Add(body)
		f.Add(mustJSON(o))
	}
	for _, z := range someAuthorizations() {
		body, _ := z.marshal()
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var o, o2 order
		if o.unmarshal(body) == nil && isShort(body) {
			again, err := o.marshal()
			if err != nil || o2.unmarshal(again) != nil || !sameJSON(o, o2) {
				t.Errorf("order %x: %+v, then %+v (%v)", body, o, o2, err)
			}
		}
		var z, z2 authorization
		if z.unmarshal(body) == nil && isShort(body) {
			again, err := z.marshal()
			if err != nil || z2.unmarshal(again) != nil || !sameJSON(z, z2) {
				t.Errorf("authorization %x: %+v, then %+v (%v)", body, z, z2, err)
			}
		}
	})
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX != nil || errY == nil && string(x) == string(y)
}
