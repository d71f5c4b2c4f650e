package challenge

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

func servfail(q *dns.Msg, _ string) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) }

// picky proves DNS names only, and wildcards if told so.
type picky struct {
	kind      string
	wildcards bool
}

func (p picky) Type() string { return p.kind }
func (p picky) Offers(id identity.Identifier, wildcard bool) bool {
	return id.Type == identity.DNS && (p.wildcards || !wildcard)
}
func (picky) Validate(context.Context, Target) (Evidence, error) { return Evidence{}, nil }

func TestRefuse(t *testing.T) {
	good := Target{Identifier: identity.Identifier{Type: identity.DNS, Value: "a.example"}, Token: "tok", KeyAuthorization: "tok.thumb"}
	with := func(change func(*Target)) Target {
		target := good
		change(&target)
		return target
	}
	tests := []struct {
		name   string
		v      picky
		target Target
		part   string
	}{
		{"good", picky{HTTP01, false}, good, ""},
		{"wildcard", picky{HTTP01, false}, with(func(t *Target) { t.Wildcard = true }), "a wildcard cannot"},
		{"wildcard by DNS", picky{DNS01, true}, with(func(t *Target) { t.Wildcard = true }), ""},
		{"address", picky{DNS01, true}, with(func(t *Target) { t.Identifier = identity.Identifier{Type: identity.IP, Value: "10.0.0.1"} }), "type ip cannot"},
		{"URI", picky{DNS01, true}, with(func(t *Target) { t.Identifier = identity.Identifier{Type: identity.URI, Value: "spiffe://a.example/x"} }), "type uri cannot"},
		{"upper case", picky{HTTP01, false}, with(func(t *Target) { t.Identifier.Value = "A.example" }), "canonical"},
		{"star", picky{DNS01, true}, with(func(t *Target) { t.Identifier.Value = "*.a.example" }), "canonical"},
		{"no name", picky{HTTP01, false}, with(func(t *Target) { t.Identifier.Value = "" }), "canonical"},
		{"no token", picky{HTTP01, false}, with(func(t *Target) { t.Token = "" }), "token"},
		{"another token", picky{HTTP01, false}, with(func(t *Target) { t.Token = "to" }), "token"},
		{"no token needed", picky{DNSPersist01, true}, with(func(t *Target) { t.Token, t.KeyAuthorization = "", "" }), ""},
	}
	for _, test := range tests {
		err := Refuse(test.v, test.target)
		var e *Error
		switch {
		case test.part == "" && err == nil:
		case test.part == "" || !errors.As(err, &e) || e.Type != Malformed || !strings.Contains(e.Detail, test.part):
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestFromEgress(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	for stage, want := range map[egress.Stage]ErrorType{
		egress.StageURL: Connection, egress.StageDNS: DNS, egress.StageRefused: Connection, egress.StageConnect: Connection,
		egress.StageTLS: TLS, egress.StageHTTP: Connection,
	} {
		cause := &egress.Error{Stage: stage, Host: "a.example", Port: 80, Addresses: []netip.Addr{addr}, What: "what", Hint: "hint", Temporary: true}
		e := FromEgress(HTTP01, cause)
		if e.Type != want || e.Text() != "http-01: a.example port 80 (10.0.0.1): what; hint" || !e.Temporary || !errors.Is(e, error(cause)) {
			t.Errorf("%s: %s %s", stage, e.Type, e)
		}
	}
	if e := FromEgress(HTTP01, io.EOF); e.Type != Connection || strings.Contains(e.Text(), "EOF") {
		t.Errorf("%s", e)
	}
	if got := Unauthorized.URN(); got != "urn:ietf:params:acme:error:unauthorized" {
		t.Error(got)
	}
	refused := &egress.Error{Stage: egress.StageRefused, Host: "b.example", Hops: []egress.Hop{{Host: "a.example"}}}
	failed := &egress.Error{Stage: egress.StageConnect, Host: "b.example", Hops: []egress.Hop{{Host: "a.example"}}}
	if len(EvidenceOf(refused).Hops) != 1 || len(EvidenceOf(failed).Hops) != 2 || len(EvidenceOf(io.EOF).Hops) != 0 {
		t.Error("evidence is what was contacted, and not what was refused")
	}
}
