package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// tokenGrant begins the name of the grant that a join token carries.
const tokenGrant = string(identity.Token) + ":"

// renewed is the grant of a renewal: the names and the owner of the certificate,
// and nothing else, if the grant that gave them gives them still. What claims once
// stood for in its patterns is not at hand any more: the certificate has it.
func (e *Engine) renewed(b identity.Bound) (*grant, []problem.Violation) {
	gone := func(detail string, args ...any) (*grant, []problem.Violation) {
		return nil, []problem.Violation{{Reason: ReasonGrantGone, Rule: "grant " + b.Name, Value: b.Name,
			Help: "have a new certificate issued by who may have it today", Detail: fmt.Sprintf(detail, args...)}}
	}
	out := &grant{name: b.Name, profiles: b.Profiles, owner: b.Owner, exact: eachPattern(b.Allow)}
	if strings.HasPrefix(b.Name, tokenGrant) && b.Renews.Method == identity.Token {
		return out, nil
	}
	i := slices.IndexFunc(e.grants, func(g *grant) bool { return g.name == b.Name })
	if i < 0 {
		return gone("the policy has no grant %.64q any more", b.Name)
	}
	g := e.grants[i]
	for _, profile := range b.Profiles {
		if !slices.Contains(g.profiles, profile) {
			return gone("the grant no longer has the profile %.64q", profile)
		}
	}
	if !slices.ContainsFunc(g.principals, func(s PrincipalSpec) bool { return s.mayMean(*b.Renews) }) {
		return gone("the grant is no longer for who had the certificate first")
	}
	if !g.mayOwn(b.Owner) {
		return gone("the grant is no longer for the owner %.64q", b.Owner)
	}
	for _, id := range out.exact {
		if g.deny.mayDeny(id) {
			return gone("the grant denies the name %.128q", id.Value)
		}
		if !g.allow.mayCover(id) {
			return gone("the grant no longer allows the name %.128q", id.Value)
		}
	}
	return out, nil
}

// mayMean tells whether the caller of old can have been meant, by what is known of
// it: method and ID.
func (s PrincipalSpec) mayMean(o identity.Origin) bool {
	key, value, n := s.method()
	if n != 1 || !usesMethod(key, o.Method) {
		return false
	}
	switch key {
	case "local_socket", "token", "account":
		return o.ID == value
	case "oidc":
		return strings.HasPrefix(o.ID, value+"#")
	}
	return true
}

// mayOwn tells whether the grant can give this owner, to some caller.
func (g *grant) mayOwn(owner string) bool {
	for _, o := range append(slices.Clone(g.owners), g.owner) {
		if o == "*" || o != "" && openOwner(o).MatchString(owner) {
			return true
		}
	}
	return false
}

// openOwner is an owner with claims left open.
func openOwner(owner string) *regexp.Regexp {
	return open(owner, strings.Trim(claimInOwner.String(), "^$"))
}

// open is a pattern in which each claim stands for whatever a claim may be there.
func open(text, form string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	at := 0
	for _, m := range template.FindAllStringIndex(text, -1) {
		b.WriteString(regexp.QuoteMeta(text[at:m[0]]) + "(" + form + ")")
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(text[at:]) + "$")
	return regexp.MustCompile(b.String())
}

// mayCover tells whether the patterns cover the name, for some caller.
func (p *patterns) mayCover(id identity.Identifier) bool { return p.filledFor(id).covers(id) }

// mayDeny tells whether the patterns deny the name, for some caller.
func (p *patterns) mayDeny(id identity.Identifier) bool { return p.filledFor(id).meets(id) }

// filledFor are the patterns with the claims that would make this name of them.
func (p *patterns) filledFor(id identity.Identifier) coverage {
	c := coverage{sets: []*nameSet{p.fixed}}
	for _, t := range eachPattern(p.templates) {
		if t.Type != id.Type {
			continue
		}
		filled, err := fill(t, claimsIn(t, id))
		if err != nil {
			continue
		}
		if set, err := compile(listOf(filled)); err == nil {
			c.sets = append(c.sets, set)
		}
	}
	return c
}

// claimsIn are the claims that make the name out of the pattern, as far as they
// can be told: part by part, those of DNS names from the right.
func claimsIn(pattern, id identity.Identifier) map[string]any {
	claims := map[string]any{}
	take := func(parts, values []string, form string) {
		for i, part := range parts {
			if i >= len(values) || !isTemplate(part) {
				continue
			}
			found := open(part, form).FindStringSubmatch(values[i])
			for j, name := range template.FindAllStringSubmatch(part, -1) {
				if found != nil {
					claims[name[1]] = found[j+1]
				}
			}
		}
	}
	labels := func(pattern, name string) {
		p, n := split(pattern, '.'), strings.Split(name, ".")
		slices.Reverse(p)
		slices.Reverse(n)
		take(p, n, "[a-z0-9-]+")
	}
	switch id.Type {
	case identity.URI:
		_, pattern, _ := strings.Cut(pattern.Value, "://")
		_, name, _ := strings.Cut(id.Value, "://")
		take(split(pattern, '/'), strings.Split(name, "/"), "[A-Za-z0-9._~-]+")
	case identity.Email:
		local, domain, _ := strings.Cut(pattern.Value, "@")
		mailbox, host, _ := strings.Cut(id.Value, "@")
		take([]string{local}, []string{mailbox}, "[A-Za-z0-9._+-]+")
		labels(domain, host)
	default:
		labels(pattern.Value, id.Value)
	}
	return claims
}

// split splits a pattern at a separator, but not inside of a template: the name of
// a claim may have it too.
func split(pattern string, separator rune) []string {
	inside := false
	var parts []string
	from := 0
	for i, c := range pattern {
		switch {
		case c == '{' || c == '}':
			inside = c == '{'
		case c == separator && !inside:
			parts = append(parts, pattern[from:i])
			from = i + 1
		}
	}
	return append(parts, pattern[from:])
}
