package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/certwright/certwright/identity"
)

// drawName is a DNS name of few labels, so that names and patterns meet often.
func drawName(t *rapid.T, label string) string {
	labels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "x"}), 1, 4).Draw(t, label)
	return strings.Join(labels, ".")
}

func drawPattern(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"", "*.", "."}).Draw(t, label+" sort") + drawName(t, label)
}

func drawPatterns(t *rapid.T, label string, least int) []string {
	n := rapid.IntRange(least, 3).Draw(t, label+" number")
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, drawPattern(t, fmt.Sprint(label, i)))
	}
	return out
}

func drawRequest(t *rapid.T, tb testing.TB) identity.Request {
	req := ask(tb, rapid.SampledFrom([]string{"server", "wild"}).Draw(t, "profile"))
	for i := range rapid.IntRange(1, 3).Draw(t, "names") {
		name := drawName(t, fmt.Sprint("name", i))
		if req.Profile == "wild" && rapid.Bool().Draw(t, "wildcard") {
			name = "*." + name
		}
		req.Identifiers = append(req.Identifiers, identity.Identifier{Type: identity.DNS, Value: name})
	}
	return req
}

// build is an engine with one grant for the admin.
func build(t *rapid.T, allow, deny []string) *Engine {
	list := func(patterns []string) string { return `["` + strings.Join(patterns, `", "`) + `"]` }
	text := base + "grants:\n  - name: g\n    principals: [{local_socket: admin}]\n    profiles: [server, wild]\n    owner: o\n    allow: {dns: " + list(allow) + "}\n"
	if len(deny) > 0 {
		text += "    deny: {dns: " + list(deny) + "}\n"
	}
	e, err := New(Config{File: "p", Data: []byte(text), WithoutIssuers: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// covered says what a pattern means, in other words than the engine's.
func covered(name, pattern string) bool {
	labels, rest := strings.Split(name, "."), strings.Split(strings.TrimPrefix(strings.TrimPrefix(pattern, "*"), "."), ".")
	more := len(labels) - len(rest)
	if more < 0 || !slices.Equal(labels[more:], rest) {
		return false
	}
	switch {
	case strings.HasPrefix(pattern, "*."):
		return more == 1
	case strings.HasPrefix(pattern, "."):
		return more >= 1
	}
	return more == 0
}

func TestAllowedExactlyWhatPatternsSay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		allow := drawPatterns(rt, "allow", 1)
		req := drawRequest(rt, t)
		_, err := build(rt, allow, nil).Decide(req, now)
		want := true
		for _, id := range req.Identifiers {
			want = want && slices.ContainsFunc(allow, func(p string) bool { return covered(id.Value, p) })
		}
		if (err == nil) != want {
			rt.Fatalf("%v under %q: %v, want allowed %t", req.Identifiers, allow, err, want)
		}
	})
}

func TestDenyNeverAllowsMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		allow, deny := drawPatterns(rt, "allow", 1), drawPatterns(rt, "deny", 0)
		req := drawRequest(rt, t)
		_, before := build(rt, allow, deny).Decide(req, now)
		more := drawPattern(rt, "more")
		_, after := build(rt, allow, append(deny, more)).Decide(req, now)
		if before != nil && after == nil {
			rt.Fatalf("%v is allowed by %q only when %q denies too", req.Identifiers, allow, more)
		}
		for _, id := range req.Identifiers {
			if covered(id.Value, more) && after == nil {
				rt.Fatalf("%s is allowed, and denied by %q", id, more)
			}
		}
	})
}

func TestNothingWithoutGrant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		req := drawRequest(rt, t)
		req.Principal = identity.Principal{
			Method: rapid.SampledFrom([]identity.Method{"", "local_socket", "token", "acme", "mtls", "oidc", "system", "new"}).Draw(rt, "method"),
			ID:     rapid.SampledFrom([]string{"", "admin", "any", "server", "*"}).Draw(rt, "id"),
			Roles:  []identity.Role{identity.RoleAdmin},
		}
		granted := req.Principal.Method == identity.LocalSocket && req.Principal.ID == "admin"
		if _, err := build(rt, []string{".a", ".b", ".x", "a", "b", "x"}, nil).Decide(req, now); err == nil && !granted {
			rt.Fatalf("%s is allowed %v", req.Principal, req.Identifiers)
		}
	})
}
