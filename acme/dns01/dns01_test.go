package dns01

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
	"github.com/certwright/certwright/identity"
)

const (
	token   = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	auth    = token + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	account = "https://ca.internal/acme/account/1"
	secret  = "TOP-SECRET-RECORD"
)

func target(name string, wildcard bool) challenge.Target {
	return challenge.Target{
		Identifier: identity.Identifier{Type: identity.DNS, Value: name}, Wildcard: wildcard,
		Token: token, KeyAuthorization: auth, AccountURL: account,
	}
}

func newClient(t *testing.T, zone *egresstest.DNS) *egress.Client {
	t.Helper()
	client, err := egress.New(egress.Config{Resolver: zone.Addr})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// check wants an error of a type whose text has part, and nothing of what was
// fetched.
func check(t *testing.T, err error, kind challenge.ErrorType, part string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *challenge.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want one of type %s", err, kind)
	}
	if e.Type != kind || e.Hint == "" || !strings.Contains(e.Text(), part) {
		t.Errorf("%s: %s; want %s: %q", e.Type, e, kind, part)
	}
	if strings.Contains(fmt.Sprint(e, e.Err), secret) {
		t.Errorf("the record is shown: %s, %v", e, e.Err)
	}
}

// TestAccountLabel holds the label against the draft's own example.
func TestAccountLabel(t *testing.T) {
	if got := AccountLabel("https://example.com/acme/acct/ExampleAccount"); got != "_ujmmovf2vn55tgye" {
		t.Error(got)
	}
}

func TestValidate(t *testing.T) {
	good := target("", false)
	digest := good.DNSDigest()
	label := AccountLabel(account)
	zone := egresstest.NewDNS(t)
	txt := func(values ...string) []string {
		var records []string
		for _, value := range values {
			records = append(records, fmt.Sprintf("TXT %q", value))
		}
		return records
	}
	zone.Set(t, "_acme-challenge.one.example", txt(digest)...)
	zone.Set(t, "_acme-challenge.several.example", txt("v=spf1 -all", secret, digest)...)
	zone.Set(t, "_acme-challenge.split.example", fmt.Sprintf("TXT %q %q", digest[:20], digest[20:]))
	zone.Set(t, "_acme-challenge.alias.example", "CNAME deep.elsewhere.example.")
	zone.Set(t, "deep.elsewhere.example", "CNAME _acme-challenge.one.example.")
	zone.Set(t, "_acme-challenge.wrong.example", txt(secret, strings.ToUpper(digest), digest+"=", " "+digest, digest[:42], auth)...)
	zone.Set(t, "_acme-challenge.wrongalias.example", "CNAME _acme-challenge.wrong.example.")
	zone.Set(t, "_acme-challenge.empty.example")
	zone.Set(t, "sub.one.example", txt(digest)...)
	zone.Set(t, "one.example", txt(digest)...)
	zone.Set(t, label+"._acme-challenge.account.example", txt(digest)...)
	zone.Set(t, "_acme-challenge.account.example", txt("x")...)
	zone.Set(t, AccountLabel(account+"2")+"._acme-challenge.stranger.example", txt(digest)...)
	zone.Respond("_acme-challenge.broken.example", func(q *dns.Msg, _ string) *dns.Msg {
		return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	})
	client := newClient(t, zone)
	tests := []struct {
		v        *Validator
		name     string
		wildcard bool
		kind     challenge.ErrorType
		part     string
	}{
		{New(client), "one.example", false, "", ""},
		{New(client), "one.example", true, "", ""},
		{New(client), "several.example", false, "", ""},
		{New(client), "split.example", false, "", ""},
		{New(client), "alias.example", false, "", ""},
		{New(client), "wrong.example", false, challenge.Unauthorized, "none of 6 TXT records"},
		{New(client), "wrongalias.example", false, challenge.Unauthorized, "CNAME to _acme-challenge.wrong.example"},
		{New(client), "empty.example", false, challenge.DNS, "_acme-challenge.empty.example: the name has no TXT records"},
		{New(client), "sub.one.example", false, challenge.DNS, "NXDOMAIN"},
		{New(client), "broken.example", false, challenge.DNS, "SERVFAIL"},
		{New(client), "account.example", false, challenge.Unauthorized, "none of 1"},
		{NewAccount(client), "account.example", false, "", ""},
		{NewAccount(client), "account.example", true, "", ""},
		{NewAccount(client), "stranger.example", false, challenge.DNS, label},
		{NewAccount(client), "one.example", false, challenge.DNS, label},
	}
	for _, test := range tests {
		evidence, err := test.v.Validate(t.Context(), target(test.name, test.wildcard))
		check(t, err, test.kind, test.part)
		if test.kind == "" && evidence.Record == "" {
			t.Errorf("%s: no record in the evidence", test.name)
		}
	}
	address := target("10.0.0.1", false)
	address.Identifier.Type = identity.IP
	for _, v := range []challenge.Validator{New(client), NewAccount(client), NewPersist(PersistConfig{Egress: client, IssuerDomains: []string{"x"}})} {
		_, err := v.Validate(t.Context(), address)
		check(t, err, challenge.Malformed, "type ip cannot be proven by "+v.Type())
	}
}

func TestPersist(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	records := map[string][]string{
		"plain":     {"ca.internal; accounturi=" + account},
		"compact":   {"CA.Internal.;accounturi=" + account},
		"second":    {"old.internal;accounturi=" + account},
		"several":   {"letsencrypt.org;accounturi=https://x/1", "v=spf1 -all", "ca.internal;accounturi=" + account},
		"wild":      {"ca.internal; AccountURI=" + account + "; POLICY=WildCard"},
		"policy":    {"ca.internal; accounturi=" + account + "; policy=subdomain"},
		"later":     {"ca.internal; accounturi=" + account + "; persistUntil=1800000000"},
		"expired":   {"ca.internal; accounturi=" + account + "; persistUntil=1799999999"},
		"never":     {"ca.internal; accounturi=" + account + "; persistUntil=tomorrow"},
		"negative":  {"ca.internal; accounturi=" + account + "; persistUntil=-1"},
		"huge":      {"ca.internal; accounturi=" + account + "; persistUntil=99999999999999999999"},
		"unknown":   {"ca.internal; x=y; accounturi=" + account + "; x=z"},
		"foreign":   {"letsencrypt.org; accounturi=" + account, secret},
		"stranger":  {"ca.internal; accounturi=" + account + "2" + secret},
		"case":      {"ca.internal; accounturi=" + strings.ToUpper(account)},
		"missing":   {"ca.internal", "letsencrypt.org"},
		"empty":     {"ca.internal; accounturi="},
		"twice":     {"ca.internal; accounturi=" + account + "; accounturi=" + account},
		"malformed": {"ca.internal; " + secret},
		"nearest":   {"ca.internal; accounturi=" + account + "x", "ca.internal; " + secret, "ca.internal; accounturi=" + account + "; persistUntil=1"},
		"rescued":   {"ca.internal; " + secret, "ca.internal; accounturi=" + account},
		"digest":    {target("", false).DNSDigest()},
	}
	zone := egresstest.NewDNS(t)
	for name, values := range records {
		var set []string
		for _, value := range values {
			set = append(set, fmt.Sprintf("TXT %q", value))
		}
		zone.Set(t, "_validation-persist."+name+".example", set...)
	}
	zone.Set(t, "_validation-persist.alias.example", "CNAME _validation-persist.plain.example.")
	v := NewPersist(PersistConfig{
		Egress: newClient(t, zone), IssuerDomains: []string{"ca.internal.", "old.internal"}, Now: func() time.Time { return now },
	})
	tests := []struct {
		name     string
		wildcard bool
		kind     challenge.ErrorType
		part     string
	}{
		{"plain", false, "", ""}, {"compact", false, "", ""}, {"second", false, "", ""}, {"several", false, "", ""},
		{"wild", false, "", ""}, {"wild", true, "", ""}, {"policy", false, "", ""}, {"later", false, "", ""},
		{"unknown", false, "", ""}, {"rescued", false, "", ""}, {"alias", false, "", ""},
		{"plain", true, challenge.Unauthorized, "policy=wildcard"},
		{"policy", true, challenge.Unauthorized, "policy=wildcard"},
		{"expired", false, challenge.Unauthorized, "persistUntil has passed"},
		{"never", false, challenge.Malformed, "not a number"},
		{"negative", false, challenge.Malformed, "not a number"},
		{"huge", false, challenge.Malformed, "not a number"},
		{"foreign", false, challenge.Unauthorized, "none of 2 TXT records names this CA (ca.internal, old.internal)"},
		{"stranger", false, challenge.Unauthorized, "another account"},
		{"case", false, challenge.Unauthorized, "another account"},
		{"missing", false, challenge.Malformed, "no accounturi"},
		{"empty", false, challenge.Malformed, "no accounturi"},
		{"twice", false, challenge.Malformed, "more than once"},
		{"malformed", false, challenge.Malformed, "not tag=value"},
		{"nearest", false, challenge.Unauthorized, "persistUntil has passed"},
		{"digest", false, challenge.Unauthorized, "none of 1"},
		{"gone", false, challenge.DNS, "NXDOMAIN"},
	}
	for _, test := range tests {
		persistent := target(test.name+".example", test.wildcard)
		persistent.Token, persistent.KeyAuthorization = "", ""
		_, err := v.Validate(t.Context(), persistent)
		check(t, err, test.kind, test.part)
	}
	if got := v.IssuerDomains(); len(got) != 2 || got[0] != "ca.internal" {
		t.Error(got)
	}
	if got := NewPersist(PersistConfig{IssuerDomains: make([]string, 12)}).IssuerDomains(); len(got) != 10 {
		t.Errorf("%d issuer domains are listed", len(got))
	}
	if NewPersist(PersistConfig{}).Offers(target("a.example", false).Identifier, false) {
		t.Error("offered without an issuer domain")
	}
}

func FuzzPersist(f *testing.F) {
	for _, text := range []string{"", "accounturi=" + account, " accounturi=x; policy=wildcard ;persistUntil=1", "persistUntil=-1;accounturi=x", "accounturi=x;;"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rec, err := parsePersist(text)
		if err != nil {
			return
		}
		if rec.accountURI == "" || strings.ContainsAny(rec.accountURI, "; \t") || rec.until < 0 {
			t.Errorf("%q: %+v", text, rec)
		}
	})
}
