package inventory_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

const testPolicy = `version: 1
issuers: [{name: issuing, key: "file:a", certificate: a}]
profiles:
  - name: server
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 720h, max: 8760h, backdate: 0s}
    ext_key_usage: [server_auth]
  - name: client
    kind: x509
    issuer: issuing
    keys: [ecdsa-p256]
    validity: {default: 1h, max: 8760h, backdate: 0s}
    ext_key_usage: [client_auth]
grants:
  - name: all
    principals: [{local_socket: admin}]
    profiles: [server, client]
    allow: {dns: [".internal"], ip: [10.0.0.0/8], uri: ["spiffe://corp.internal/**"]}
    owners: ["*"]
`

// fixture is an inventory over certificates that a real authority has issued.
type fixture struct {
	*inventory.Inventory
	t         testing.TB
	store     *bolt.Store
	authority *ca.Authority
	now       time.Time
	key       crypto.Signer
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return f.now }
	path := filepath.Join(t.TempDir(), "ledger.db")
	f.must(bolt.Create(path))
	var err error
	f.store, err = bolt.Open(t.Context(), bolt.Config{Path: path, Now: clock})
	f.must(err)
	t.Cleanup(func() { f.must(f.store.Close()) })
	f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	root, err := x509cert.Root(x509cert.CAConfig{CommonName: "Root", NotBefore: f.now.AddDate(-1, 0, 0), NotAfter: f.now.AddDate(20, 0, 0)}, f.key)
	f.must(err)
	keyID, err := identity.KeyIDOf(f.key.Public())
	f.must(err)
	engine, err := policy.New(policy.Config{File: "policy", Data: []byte(testPolicy), Issuers: []policy.Issuer{{Name: "issuing", KeyID: keyID, NotAfter: root.NotAfter, Certificate: root}}})
	f.must(err)
	f.authority, err = ca.New(ca.Config{
		Store: f.store, Policy: func() *policy.Engine { return engine }, Now: clock, HTTPBase: "http://localhost:8080",
		Issuers: []ca.IssuerConfig{{Name: "issuing", Certificate: root, Signer: f.key}},
	})
	f.must(err)
	f.Inventory, err = inventory.New(inventory.Config{Store: f.store, Ledger: f.store, Now: clock, Issuers: []inventory.Issuer{{Name: "issuing", KeyID: keyID}}})
	f.must(err)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// issue issues a certificate for names of "type:value", and moves the clock by a
// second.
func (f *fixture) issue(owner string, validity time.Duration, profile string, names ...string) storage.Certificate {
	f.t.Helper()
	var ids []identity.Identifier
	for _, name := range names {
		kind, value, _ := strings.Cut(name, ":")
		ids = append(ids, identity.Identifier{Type: identity.IdentifierType(kind), Value: value})
	}
	ids, err := identity.CanonicalSet(ids)
	f.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	issued, err := f.authority.Issue(f.t.Context(), identity.Request{
		Kind: identity.X509, Profile: profile, Owner: owner, Identifiers: ids, PublicKey: key.Public(), Validity: validity,
		Principal: identity.Principal{Method: identity.LocalSocket, ID: "admin", Roles: []identity.Role{identity.RoleAdmin}},
		Labels:    map[string]string{"owner": owner},
	}, ca.Attach{})
	f.must(err)
	f.now = f.now.Add(time.Second)
	return issued.Certificate
}

func (f *fixture) revoke(c storage.Certificate) {
	f.t.Helper()
	_, err := f.authority.Revoke(f.t.Context(), ca.Revocation{Issuer: c.Issuer, Serial: c.Serial, Actor: "test:x"})
	f.must(err)
}

// search walks all pages and answers the ledger indexes.
func (f *fixture) search(filter, order string, size int) []uint64 {
	f.t.Helper()
	found := []uint64{}
	for q := (inventory.Question{Filter: filter, OrderBy: order, PageSize: size}); ; {
		answer, err := f.Search(f.t.Context(), q)
		f.must(err)
		for _, row := range answer.Rows {
			found = append(found, row.Index)
		}
		if len(answer.Rows) > size {
			f.t.Errorf("%d rows on a page of %d", len(answer.Rows), size)
		}
		if q.PageToken = answer.Next; answer.Next == "" {
			return found
		}
	}
}

func TestSearch(t *testing.T) {
	f := newFixture(t)
	day := 24 * time.Hour
	a := f.issue("team-a", 30*day, "server", "dns:a.internal")
	b := f.issue("team-b", 10*day, "server", "dns:b.internal", "dns:shared.internal")
	a2 := f.issue("team-a", 60*day, "server", "dns:a.internal")
	ip := f.issue("team-a", 20*day, "client", "ip:10.0.0.1", "dns:shared.internal")
	uri := f.issue("team-c", day, "client", "uri:spiffe://corp.internal/c")
	f.revoke(b)
	id := identity.KeyID(a.Fingerprint).String()
	for _, test := range []struct {
		filter, order string
		want          []storage.Certificate
	}{
		{"", "", []storage.Certificate{uri, ip, a2, b, a}},
		{"", "create_time", []storage.Certificate{a, b, a2, ip, uri}},
		{"", "not_after", []storage.Certificate{uri, b, ip, a, a2}},
		{"", "not_after desc", []storage.Certificate{a2, a, ip, b, uri}},
		{`owner = "team-a"`, "", []storage.Certificate{ip, a2, a}},
		{`owner = "team-a"`, "not_after", []storage.Certificate{ip, a, a2}},
		{`owner != "team-a"`, "", []storage.Certificate{uri, b}},
		{`owner:"TEAM-"`, "create_time", []storage.Certificate{a, b, a2, ip, uri}},
		{`dns_names:"a.internal"`, "", []storage.Certificate{a2, a}},
		{`dns_names:"A.INTERNAL"`, "", []storage.Certificate{a2, a}},
		{`dns_names = "shared.internal"`, "", []storage.Certificate{ip, b}},
		{`dns_names:"*.internal" AND profile = client`, "", []storage.Certificate{ip}},
		{`name = "10.0.0.1"`, "", []storage.Certificate{ip}},
		{`name:"spiffe://corp.internal/c"`, "", []storage.Certificate{uri}},
		{`ip_addresses:"10.0.0.1"`, "", []storage.Certificate{ip}},
		{`uris:*`, "", []storage.Certificate{uri}},
		{`state = REVOKED`, "", []storage.Certificate{b}},
		{`state = issued AND NOT superseded`, "", []storage.Certificate{uri, ip, a2}},
		{`superseded = true`, "", []storage.Certificate{a}},
		{`superseded`, "", []storage.Certificate{a}},
		{`state = RESERVED`, "", nil},
		{`issuer = issuing AND grant = all`, "create_time", []storage.Certificate{a, b, a2, ip, uri}},
		{`serial = "` + a.Serial.String() + `"`, "", []storage.Certificate{a}},
		{`id = "` + id + `"`, "", []storage.Certificate{a}},
		{`spki_sha256 = "` + a.SPKI.String() + `"`, "", []storage.Certificate{a}},
		{`requester = "local_socket:admin" AND owner = "team-c"`, "", []storage.Certificate{uri}},
		{`policy_version = "` + identity.KeyID(a.Intent.Policy).String() + `" AND owner = "team-b"`, "", []storage.Certificate{b}},
		{`policy_version = "` + strings.Repeat("0", 64) + `"`, "", nil},
		{`create_time >= "` + a2.Time.Format(time.RFC3339Nano) + `" AND create_time < "` + uri.Time.Format(time.RFC3339Nano) + `"`, "", []storage.Certificate{ip, a2}},
		{`labels.owner = "team-b"`, "", []storage.Certificate{b}},
		{`not_after < "2026-06-15T00:00:00Z"`, "not_after", []storage.Certificate{uri, b}},
		{`not_after >= "2026-06-15" AND not_after <= "2026-07-10"`, "not_after", []storage.Certificate{ip, a}},
		{`owner = "team-b" OR owner = "team-c"`, "", []storage.Certificate{uri, b}},
		{`(owner = "team-a" OR owner = "team-b") AND dns_names:"shared.internal"`, "", []storage.Certificate{ip, b}},
		{`NOT owner = "team-a"`, "", []storage.Certificate{uri, b}},
		{fmt.Sprintf(`ledger_index > %d`, a2.Index), "", []storage.Certificate{uri, ip}},
		{`owner = "nobody"`, "", nil},
	} {
		want := []uint64{}
		for _, c := range test.want {
			want = append(want, c.Index)
		}
		for _, size := range []int{1, 2, 3, 1000} {
			if got := f.search(test.filter, test.order, size); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, order %q, pages of %d: %v, want %v", test.filter, test.order, size, got, want)
			}
		}
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.issue("team-a", time.Hour, "server", "dns:a.internal")
	}
	answer, err := f.Search(t.Context(), inventory.Question{Filter: `owner = "team-a"`, PageSize: 1})
	f.must(err)
	for _, q := range []inventory.Question{
		{Filter: `nothing = 1`}, {Filter: `owner`}, {Filter: `owner = `}, {Filter: `owner < "a"`}, {Filter: `not_after = soon`},
		{Filter: `state = HAPPY`}, {Filter: `owner = "a" profile = "b"`}, {Filter: strings.Repeat("(", 20)}, {Filter: strings.Repeat("x", 3000)},
		{Filter: `superseded = perhaps`}, {Filter: `f(owner)`}, {Filter: `owner = "a`}, {Filter: `serial = "xyz"`}, {Filter: `labels = "x"`},
		{OrderBy: "owner"}, {OrderBy: "not_after, owner"}, {PageToken: "x"}, {PageToken: strings.Repeat("A", 4000)},
		{Filter: `owner = "team-b"`, PageToken: answer.Next},
		{Filter: `owner = "team-a"`, OrderBy: "create_time", PageToken: answer.Next},
	} {
		q.PageSize = 1
		if _, err := f.Search(t.Context(), q); problem.KindOf(err) != problem.Malformed {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestExpiring(t *testing.T) {
	f := newFixture(t)
	day := 24 * time.Hour
	f.issue("team-a", 5*day, "server", "dns:renewed.internal")
	f.issue("team-a", 90*day, "server", "dns:renewed.internal")
	old := f.issue("team-a", 6*day, "server", "dns:old.internal")
	gone := f.issue("team-a", 7*day, "server", "dns:gone.internal")
	other := f.issue("team-b", 8*day, "server", "dns:old.internal") // another owner's is no successor
	later := f.issue("team-b", 40*day, "server", "dns:later.internal")
	f.issue("team-a", 50*day, "client", "dns:old.internal") // nor is that for another purpose
	shortLived := f.issue("team-c", 3*day, "server", "dns:c.internal")
	successor := f.issue("team-c", 20*day, "server", "dns:c.internal")
	f.revoke(gone)
	f.revoke(successor) // a revoked certificate is no successor
	rows, more, err := f.Expiring(t.Context(), 30*day, 10)
	f.must(err)
	var got []uint64
	for _, row := range rows {
		got = append(got, row.Index)
	}
	if want := []uint64{shortLived.Index, old.Index, other.Index}; fmt.Sprint(got) != fmt.Sprint(want) || more {
		t.Errorf("%v, want %v", got, want)
	}
	if rows, more, err := f.Expiring(t.Context(), 30*day, 1); err != nil || len(rows) != 1 || !more {
		t.Errorf("%d rows, more %v, %v", len(rows), more, err)
	}
	expiries := f.Expiries()
	f.must(expiries.Step(t.Context()))
	for owner, want := range map[string]time.Time{"team-a": old.NotAfter, "team-b": other.NotAfter, "team-c": shortLived.NotAfter} {
		if got := expiries.Earliest()[owner]; !got.Equal(want) {
			t.Errorf("%s: %v, want %v", owner, got, want)
		}
	}
	f.now = f.now.Add(35 * day)
	f.must(expiries.Step(t.Context()))
	if got := expiries.Earliest(); !got["team-b"].Equal(later.NotAfter) || !got["team-c"].IsZero() {
		t.Errorf("35 days later: %v", got)
	}
}
