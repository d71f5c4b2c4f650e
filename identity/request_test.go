package identity

import (
	"crypto/ed25519"
	"testing"
	"time"
)

func request() Request {
	return Request{
		ID: "r1", Kind: X509, Profile: "server", Principal: Principal{Method: Token, ID: "t1"},
		Identifiers: []Identifier{{DNS, "a.x"}}, PublicKey: ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)),
		NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0), Validity: time.Hour, Owner: "o",
		Labels: map[string]string{"k": "v", "l": "w"}, CSRHash: [32]byte{1},
	}
}

func TestDigest(t *testing.T) {
	digest := func(change func(*Request)) [32]byte {
		r := request()
		change(&r)
		d, err := r.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(func(*Request) {})
	same := map[string]func(*Request){
		"nothing":   func(*Request) {},
		"CSR bytes": func(r *Request) { r.CSRHash = [32]byte{2} },
		"ID":        func(r *Request) { r.ID = "r2" },
		"principal": func(r *Request) { r.Principal.ID = "t2" },
	}
	for name, change := range same {
		if digest(change) != first {
			t.Errorf("another %s gives another digest", name)
		}
	}
	other := map[string]func(*Request){
		"kind":       func(r *Request) { r.Kind = "ssh" },
		"profile":    func(r *Request) { r.Profile = "legacy" },
		"names":      func(r *Request) { r.Identifiers = append(r.Identifiers, Identifier{DNS, "b.x"}) },
		"name":       func(r *Request) { r.Identifiers = []Identifier{{DNS, "b.x"}} },
		"type":       func(r *Request) { r.Identifiers = []Identifier{{URI, "a.x"}} },
		"key":        func(r *Request) { r.PublicKey = ed25519.PublicKey(append(make([]byte, 31), 1)) },
		"not before": func(r *Request) { r.NotBefore = time.Unix(1001, 0) },
		"not after":  func(r *Request) { r.NotAfter = time.Time{} },
		"validity":   func(r *Request) { r.Validity = 0 },
		"owner":      func(r *Request) { r.Owner = "p" },
		"label":      func(r *Request) { r.Labels["k"] = "w" },
		"labels":     func(r *Request) { delete(r.Labels, "k") },
		"replaces":   func(r *Request) { r.Replaces = [32]byte{1} },
		"shift":      func(r *Request) { r.Profile, r.Kind = "erver", "x509s" },
	}
	for name, change := range other {
		if digest(change) == first {
			t.Errorf("another %s gives the same digest", name)
		}
	}
	if _, err := (Request{}).Digest(); err == nil {
		t.Error("a request without a key has a digest")
	}
}

func TestKey(t *testing.T) {
	key := func(method Method, principal, id string) [32]byte {
		return Request{ID: id, Principal: Principal{Method: method, ID: principal}}.Key()
	}
	if key(Token, "t", "") != ([32]byte{}) {
		t.Error("a request without an ID has a key")
	}
	if first, again := key(Token, "t", "a"), key(Token, "t", "a"); first != again {
		t.Error("one request has two keys")
	}
	all := map[[32]byte]bool{}
	for _, k := range [][32]byte{
		key(Token, "t", "a"), key(Token, "t", "b"), key(Token, "u", "a"), key(MTLS, "t", "a"), key(Token, "t:a", "b"), key(Token, "t", "a:b"),
	} {
		all[k] = true
	}
	if len(all) != 6 {
		t.Errorf("6 requests have %d keys", len(all))
	}
}

func TestPrincipal(t *testing.T) {
	p := Principal{Method: Token, ID: "t", Roles: []Role{RoleRequester}}
	if p.String() != "token:t" || !p.Has(RoleRequester) || p.Has(RoleAdmin) || p.Has("") {
		t.Errorf("%s with %v", p, p.Roles)
	}
	if !(Names{}).Empty() || (Names{Email: []string{"x"}}).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestRevocationReason(t *testing.T) {
	for reason := range RevocationReason(12) {
		back, err := ParseRevocationReason(reason.String())
		switch reason {
		case 2, 6, 7, 8, 10, 11:
			if err == nil {
				t.Errorf("%s is taken", reason)
			}
		default:
			if err != nil || back != reason {
				t.Errorf("%s comes back as %s (%v)", reason, back, err)
			}
		}
	}
}
