package replay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"maps"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/ledger/replay"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/storage"
)

const document = `
version: 1
issuers: [{name: issuing, key: "file:k", certificate: c}]
profiles:
  - {name: server, issuer: issuing, keys: [ecdsa-p256], validity: {default: 1h, max: 48h}, ext_key_usage: [server_auth]}
  - {name: labelled, issuer: issuing, keys: [ecdsa-p256], validity: {default: 1h, max: 48h}, ext_key_usage: [server_auth], require_labels: [purpose]}
deny: {dns: [ca.internal]}
grants:
  - {name: ops, principals: [{local_socket: admin}], profiles: [server, labelled], allow: {dns: ["*.internal"], ip: [10.0.0.0/8]}, deny: {dns: [secret.internal]}, owner: ops}
  - {name: acme, principals: [{acme: any}], profiles: [server], allow: {dns: ["*.acme.internal"]}, owner: unassigned}
  - {name: bound, principals: [{eab: boxes}], profiles: [server], allow: {dns: ["*.acme.internal"]}, owner: boxes}
  - {name: claimed, principals: [{acme: any}], profiles: [server], allow: {dns: ["{claims.team}.internal"]}, owner: "{claims.team}"}
conditions:
  - {name: purpose, profiles: [server], when: "'purpose' in request.labels", require: "request.labels['purpose'] != 'toy'", message: no toys}
  - {name: no-friday, profiles: [server], require: "!request.dns.exists(n, n.startsWith('friday'))", message: not on Fridays}
  - {name: trusted, profiles: [server], when: "principal.method == 'acme' && size(request.dns) > 1", require: "has(principal.claims.trusted)", message: trust}
`

// book is entries, and what is erasable beside them.
type book struct {
	*testing.T
	raws   [][]byte
	values map[[32]byte][]byte
	broken error
}

func (b *book) Entries(_ context.Context, start uint64, n int) ([][]byte, error) {
	return b.raws[start:min(len(b.raws), int(start)+n)], b.broken
}

func (b *book) Erasable(_ context.Context, commitment [32]byte) (value []byte, salt [32]byte, err error) {
	if value, ok := b.values[commitment]; ok {
		return value, salt, nil
	}
	return nil, salt, storage.ErrNotFound
}

func (b *book) commit(value string) [32]byte {
	c := entry.Commit([32]byte{}, []byte(value))
	b.values[c] = []byte(value)
	return c
}

func (b *book) add(body entry.Body, actor string) {
	b.Helper()
	d, err := body.Draft(actor)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := d.Marshal(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	b.raws = append(b.raws, raw)
}

func newBook(t *testing.T) *book {
	b := &book{T: t, values: map[[32]byte][]byte{}}
	b.add(entry.Origin{Origin: "ca.example"}, "system:server")
	b.add(entry.Policy{Document: []byte(document)}, "local_socket:admin")
	return b
}

// asked is a recorded request.
type asked struct {
	actor, profile, grant, owner string
	dns                          []string
	ip                           net.IP
	uri                          string
	length                       time.Duration
	labels                       []string
	erased                       bool
	policy, replaces             [32]byte
}

func (b *book) intent(a asked) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	c := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(a.length - time.Minute - time.Second), DNSNames: a.dns}
	if a.ip != nil {
		c.IPAddresses = []net.IP{a.ip}
	}
	if a.uri != "" {
		u, err := url.Parse(a.uri)
		if err != nil {
			b.Fatal(err)
		}
		c.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	i := entry.Intent{Profile: a.profile, Grant: a.grant, Owner: a.owner, Policy: a.policy, Replaces: a.replaces, TBS: cert.RawTBSCertificate}
	for _, label := range a.labels {
		commitment := b.commit(label)
		i.Labels = append(i.Labels, commitment)
		if a.erased {
			delete(b.values, commitment)
		}
	}
	b.add(i, a.actor)
}

func (b *book) run() (replay.Summary, []string) {
	b.Helper()
	var found []string
	summary, err := replay.Run(b.Context(), replay.Config{Source: b, Size: uint64(len(b.raws))}, func(f storage.Finding) {
		found = append(found, f.Kind+" "+f.Detail)
	})
	if err != nil {
		b.Fatal(err)
	}
	return summary, found
}

// TestReplay judges requests that the policy allows, and such that it does not.
func TestReplay(t *testing.T) {
	admin := func(change func(*asked)) asked {
		a := asked{actor: "local_socket:admin", profile: "server", grant: "ops", owner: "ops", dns: []string{"a.internal"}, length: time.Hour, policy: sha256.Sum256([]byte(document))}
		change(&a)
		return a
	}
	acme := func(change func(*asked)) asked {
		return admin(func(a *asked) {
			a.actor, a.grant, a.owner, a.dns = "acme:1", "acme", "unassigned", []string{"a.acme.internal"}
			change(a)
		})
	}
	token := func(change func(*asked)) asked {
		return admin(func(a *asked) {
			a.actor, a.grant, a.owner, a.dns = "token:t1", "token:t1", "team", []string{"t.example"}
			change(a)
		})
	}
	renewed := func(change func(*asked)) asked {
		return admin(func(a *asked) {
			a.actor, a.replaces = "mtls:aa", [32]byte{1}
			change(a)
		})
	}
	const first = "grant ops: who had the first certificate"
	for name, test := range map[string]struct {
		asked     asked
		broken    string // in the finding; empty: none
		unchecked string // the rules, sorted, joined by "; "
	}{
		"renewed":              {renewed(func(*asked) {}), "", first},
		"renewed, a name":      {renewed(func(a *asked) { a.dns = []string{"a.example"} }), "GRANT_GONE", first},
		"renewed, denied":      {renewed(func(a *asked) { a.dns = []string{"secret.internal"} }), "GRANT_GONE", first},
		"renewed, an owner":    {renewed(func(a *asked) { a.owner = "dev" }), "GRANT_GONE", first},
		"renewed, no grant":    {renewed(func(a *asked) { a.grant = "none" }), "NO_GRANT", ""},
		"renewed, too long":    {renewed(func(a *asked) { a.length = 49 * time.Hour }), "VALIDITY_TOO_LONG", first},
		"renewed, with claims": {renewed(func(a *asked) { a.grant, a.owner, a.dns = "claimed", "red", []string{"red.internal"} }), "", "grant claimed: who had the first certificate"},
		"renewed, by a token":  {renewed(func(a *asked) { a.grant, a.owner, a.dns = "token:t1", "team", []string{"t.example"} }), "", ""},
		"mTLS, no renewal":     {admin(func(a *asked) { a.actor = "mtls:aa" }), "NO_GRANT", ""},
		"allowed":              {admin(func(*asked) {}), "", ""},
		"another policy":       {admin(func(a *asked) { a.policy[0] ^= 1 }), "was in force", ""},
		"profile":              {admin(func(a *asked) { a.profile = "none" }), "PROFILE_UNKNOWN", ""},
		"name":                 {admin(func(a *asked) { a.dns = []string{"a.example"} }), "NAME_NOT_ALLOWED", ""},
		"denied":               {admin(func(a *asked) { a.dns = []string{"secret.internal"} }), "NAME_DENIED", ""},
		"denied to all":        {admin(func(a *asked) { a.dns = []string{"ca.internal"} }), "NAME_DENIED", ""},
		"too long":             {admin(func(a *asked) { a.length = 49 * time.Hour }), "VALIDITY_TOO_LONG", ""},
		"owner":                {admin(func(a *asked) { a.owner = "dev" }), "OWNER_NOT_ALLOWED", ""},
		"grant":                {admin(func(a *asked) { a.grant = "none" }), "NO_GRANT", ""},
		"another's grant":      {admin(func(a *asked) { a.actor = "token:t9" }), "NO_GRANT", ""},
		"condition":            {admin(func(a *asked) { a.dns = []string{"friday.internal"} }), "CONDITION_FAILED", ""},
		"labels, kept":         {admin(func(a *asked) { a.labels = []string{"purpose=work"} }), "", ""},
		"labels, broken":       {admin(func(a *asked) { a.labels = []string{"purpose=toy"} }), "CONDITION_FAILED", ""},
		"labels, erased":       {admin(func(a *asked) { a.labels, a.erased = []string{"purpose=toy"}, true }), "", "condition purpose"},
		"label missing":        {admin(func(a *asked) { a.profile = "labelled" }), "LABEL_MISSING", ""},
		"label erased":         {admin(func(a *asked) { a.profile, a.labels, a.erased = "labelled", []string{"purpose=x"}, true }), "", "profile labelled: require_labels"},
		"acme":                 {acme(func(*asked) {}), "", ""},
		"acme, owner":          {acme(func(a *asked) { a.owner = "team" }), "", "grant acme: owner"},
		"acme, name":           {acme(func(a *asked) { a.dns = []string{"a.internal"} }), "NAME_NOT_ALLOWED", ""},
		"acme, bound":          {acme(func(a *asked) { a.grant, a.owner = "bound", "boxes" }), "", "grant bound: principals"},
		"acme, claims":         {acme(func(a *asked) { a.grant = "claimed" }), "", "grant claimed: claims"},
		"acme, condition":      {acme(func(a *asked) { a.dns = []string{"a.acme.internal", "b.acme.internal"} }), "", "condition trusted"},
		"acme, EAB's own":      {acme(func(a *asked) { a.grant = "eab:1" }), "", "grant eab:1: the credential's own"},
		"token":                {token(func(*asked) {}), "", ""},
		"token, address":       {token(func(a *asked) { a.ip = net.IPv4(192, 0, 2, 1) }), "", ""},
		"token, URI":           {token(func(a *asked) { a.uri = "spiffe://x/y" }), "", ""},
		"token, name":          {token(func(a *asked) { a.dns = []string{"other.example"} }), "NAME_NOT_ALLOWED", ""},
		"token, profile":       {token(func(a *asked) { a.profile, a.labels = "labelled", []string{"purpose=x"} }), "PROFILE_NOT_GRANTED", ""},
		"token, another":       {token(func(a *asked) { a.grant, a.actor = "token:t2", "token:t2" }), "", "grant token:t2: the credential's own"},
		"token, none":          {token(func(a *asked) { a.grant, a.actor = "token:t3", "token:t3" }), "", "grant token:t3: the credential's own"},
		"system":               {admin(func(a *asked) { a.actor, a.grant, a.dns = "system:server", "system", []string{"ca.internal"} }), "", "the server's own grant"},
		"beginning long past":  {admin(func(a *asked) { a.length = time.Hour }), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			detail := "owner=team profiles=server uses=1 expires=2030-01-01T00:00:00Z dns=t.example uri=spiffe://x/* sha256=00"
			b.add(entry.Action{Action: "token.created", Target: "t1", Detail: detail, Commitments: [][32]byte{b.commit("ip:192.0.2.0/24")}}, "local_socket:admin")
			erased := b.commit("email:x.example")
			b.add(entry.Action{Action: "token.created", Target: "t2", Detail: detail, Commitments: [][32]byte{erased}}, "local_socket:admin")
			delete(b.values, erased)
			b.intent(test.asked)
			summary, found := b.run()
			if test.broken == "" && len(found) > 0 || test.broken != "" && (len(found) != 1 || !strings.Contains(found[0], test.broken)) {
				t.Errorf("found %q, want %q", found, test.broken)
			}
			rules := slices.Sorted(maps.Keys(summary.Unchecked))
			if test.broken == "" && strings.Join(rules, "; ") != test.unchecked {
				t.Errorf("not checkable: %q, want %q", rules, test.unchecked)
			}
			if summary.Intents != 1 || summary.Policies != 1 || summary.Entries != 5 {
				t.Errorf("%+v", summary)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	b := newBook(t)
	b.raws = append(b.raws, []byte("rubbish"))
	b.add(entry.Policy{Document: []byte("version: 3")}, "local_socket:admin")
	b.intent(asked{actor: "local_socket:admin", profile: "server", policy: sha256.Sum256([]byte("version: 3"))})
	summary, found := b.run()
	if len(found) != 2 || !strings.HasPrefix(found[0], "entry ") || !strings.HasPrefix(found[1], "policy the policy cannot be read") || len(summary.Unchecked) != 1 {
		t.Errorf("%q %+v", found, summary)
	}
	b.broken = errors.New("the disk is gone")
	if _, err := replay.Run(t.Context(), replay.Config{Source: b, Size: 3}, nil); !errors.Is(err, b.broken) {
		t.Errorf("a disk that is gone: %v", err)
	}
	b.broken = nil
	if _, err := replay.Run(t.Context(), replay.Config{Source: b, Size: 3 + uint64(len(b.raws))}, func(storage.Finding) {}); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("entries are missing: %v", err)
	}
}
