package challenge

import (
	"errors"
	"strings"
	"testing"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/egress/egresstest"
)

func TestCheckCAA(t *testing.T) {
	zone := egresstest.NewDNS(t)
	sets := map[string][]string{
		"none.example":     {},
		"ours.example":     {`CAA 0 issue "CA.internal."`},
		"second.example":   {`CAA 0 issue "other.example"`, `CAA 0 issue " ca.internal ; "`},
		"other.example":    {`CAA 0 issue "other.example"`},
		"nobody.example":   {`CAA 0 issue ";"`},
		"empty.example":    {`CAA 0 issue ""`},
		"iodef.example":    {`CAA 0 iodef "mailto:a@b.example"`},
		"unknown.example":  {`CAA 0 issue "ca.internal"`, `CAA 0 future "x"`},
		"critical.example": {`CAA 0 issue "ca.internal"`, `CAA 128 future "x"`},
		"wildno.example":   {`CAA 0 issue "ca.internal"`, `CAA 0 issuewild ";"`},
		"wildonly.example": {`CAA 0 issuewild "ca.internal"`},
		"account.example":  {`CAA 0 issue "ca.internal; accounturi=https://ca.internal/acct/1"`},
		"stranger.example": {`CAA 0 issue "ca.internal; accounturi=https://ca.internal/acct/2"`},
		"twice.example":    {`CAA 0 issue "ca.internal; accounturi=https://ca.internal/acct/1; accounturi=https://ca.internal/acct/1"`},
		"method.example":   {`CAA 0 issue "ca.internal; validationmethods=dns-01,http-01"`},
		"methods.example":  {`CAA 0 issue "ca.internal; validationmethods=dns-01"`},
		"bad.example":      {`CAA 0 issue "ca.internal; accounturi"`},
		"badval.example":   {`CAA 0 issue "ca.internal; x=a b"`},
		"rescued.example":  {`CAA 0 issue "ca.internal; accounturi"`, `CAA 0 issue "ca.internal; validationmethods=http-01"`},
	}
	for name, records := range sets {
		zone.Set(t, name, records...)
	}
	client, err := egress.New(egress.Config{Resolver: zone.Addr})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		wildcard bool
		forbids  string // part of the detail; "" allows
	}{
		{"none.example", false, ""},
		{"none.example", true, ""},
		{"ours.example", false, ""},
		{"deep.below.ours.example", false, ""},
		{"ours.example", true, ""},
		{"second.example", false, ""},
		{"other.example", false, "none names this CA"},
		{"deep.below.other.example", false, "CAA records at other.example"},
		{"nobody.example", false, "none names this CA"},
		{"empty.example", false, "none names this CA"},
		{"iodef.example", false, ""},
		{"unknown.example", false, ""},
		{"critical.example", false, "critical"},
		{"wildno.example", false, ""},
		{"wildno.example", true, "none names this CA"},
		{"wildonly.example", false, ""},
		{"wildonly.example", true, ""},
		{"account.example", false, ""},
		{"stranger.example", false, "another account"},
		{"twice.example", false, "more than once"},
		{"method.example", false, ""},
		{"methods.example", false, "does not list the method http-01"},
		{"bad.example", false, "malformed"},
		{"badval.example", false, "malformed"},
		{"rescued.example", false, ""},
	}
	for _, test := range tests {
		err := CheckCAA(t.Context(), client, CAAQuery{
			Name: test.name, Wildcard: test.wildcard, IssuerDomains: []string{"ca.internal"},
			AccountURL: "https://ca.internal/acct/1", Method: HTTP01,
		})
		var e *Error
		switch {
		case test.forbids == "" && err == nil:
		case test.forbids == "" || !errors.As(err, &e):
			t.Errorf("%s, wildcard %t: %v", test.name, test.wildcard, err)
		case e.Type != CAA || !strings.Contains(e.Detail, test.forbids) || e.Hint == "":
			t.Errorf("%s, wildcard %t: %s %v, want %q", test.name, test.wildcard, e.Type, e, test.forbids)
		}
	}
}

// TestCAAWithoutMethod has a name that no challenge has proven: no list of methods
// has it, not even an empty one.
func TestCAAWithoutMethod(t *testing.T) {
	for value, want := range map[string]bool{
		"ca.internal": true, "ca.internal; validationmethods=": false, "ca.internal; validationmethods=,": false, "ca.internal; validationmethods=dns-01": false,
	} {
		query := CAAQuery{Name: "a.example", IssuerDomains: []string{"ca.internal"}}
		if why := judgeCAA([]egress.CAA{{Tag: "issue", Value: value}}, query); (why == "") != want {
			t.Errorf("%s: %q", value, why)
		}
	}
}

func TestCheckCAAFailsClosed(t *testing.T) {
	zone := egresstest.NewDNS(t)
	zone.Respond("x.example", servfail)
	client, err := egress.New(egress.Config{Resolver: zone.Addr})
	if err != nil {
		t.Fatal(err)
	}
	err = CheckCAA(t.Context(), client, CAAQuery{Name: "x.example", IssuerDomains: []string{"ca.internal"}})
	var e *Error
	if !errors.As(err, &e) || e.Type != DNS || !e.Temporary {
		t.Errorf("%v", err)
	}
}

func FuzzParameters(f *testing.F) {
	for _, text := range []string{"", " ", "a=b", "a=b;", "a=b; c = d ;e=", "accounturi=https://x/1", "=x", "a", "a=b c", "-a=b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		params, err := ParseParameters(text)
		if err != nil {
			return
		}
		for _, p := range params {
			if !isTag(p.Tag) || strings.ContainsAny(p.Value, "; \t\r\n") {
				t.Errorf("%q: %q", text, p)
			}
		}
		var texts []string
		for _, p := range params {
			texts = append(texts, p.Tag+"="+p.Value)
		}
		again, err := ParseParameters(strings.Join(texts, ";"))
		if err != nil || len(again) != len(params) {
			t.Errorf("%q: %q, then %q, %v", text, params, again, err)
		}
	})
}
