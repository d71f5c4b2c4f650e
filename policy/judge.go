package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// verdict is what the grants say: if nothing is broken, which one covers the
// request, and for whom.
type verdict struct {
	grant, owner string
	trusted      bool // the grant asks ACME accounts for no challenge
	singleUse    bool // the grant takes an identity token once
	broken       []problem.Violation
}

// grantsOf are the grants that are for the caller; none is a violation.
func (e *Engine) grantsOf(req identity.Request) ([]*grant, []problem.Violation) {
	p := req.Principal
	none := problem.Violation{Reason: ReasonNoGrant, Rule: "grants", Value: p.String(),
		Help: "ask the administrator for a grant", Detail: fmt.Sprintf("no grant is for %q", p)}
	switch {
	case p.Method == identity.System:
		if e.system == nil || p.ID != systemID || p.Bound != nil {
			return nil, []problem.Violation{none}
		}
		return []*grant{e.system}, nil
	case p.Bound != nil && p.Bound.Renews != nil:
		g, broken := e.renewed(*p.Bound)
		if g == nil {
			return nil, broken
		}
		return []*grant{g}, nil
	case p.Bound != nil:
		g, err := boundGrant(*p.Bound)
		if err != nil {
			none.Rule, none.Detail = "grant "+p.Bound.Name, fmt.Sprintf("the grant that the credential carries cannot be used: %v", err)
			return nil, []problem.Violation{none}
		}
		return []*grant{g}, nil
	}
	var all []*grant
	for _, g := range e.grants {
		if slices.ContainsFunc(g.principals, func(s PrincipalSpec) bool { return s.meant(p) }) {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return nil, []problem.Violation{none}
	}
	return all, nil
}

// boundGrant compiles the grant that a credential carries.
func boundGrant(b identity.Bound) (*grant, error) {
	g := &grant{name: b.Name, profiles: b.Profiles, owner: b.Owner, trusted: b.NoChallenges}
	if g.name == "" {
		g.name = "bound"
	}
	var err error
	if g.allow, err = compilePatterns(b.Allow); err != nil {
		return nil, err
	}
	g.deny, err = compilePatterns(b.Deny)
	return g, err
}

// judge finds the first grant that covers the request as a whole, else tells of
// the grant that comes nearest. What any of the caller's grants for the profile
// denies is denied. offered are the profiles that the caller can name.
func judge(granted []*grant, offered []string, req identity.Request) verdict {
	var best *verdict
	var denials []problem.Violation
	for _, g := range granted {
		if !slices.Contains(g.profiles, req.Profile) {
			continue
		}
		denials = append(denials, g.denials(req)...)
		v := g.judge(req)
		if best == nil || len(v.broken) < len(best.broken) {
			best = &v
		}
	}
	if best == nil {
		return verdict{owner: req.Owner, broken: []problem.Violation{{
			Reason: ReasonProfile, Rule: "grants", Value: req.Profile, Allowed: strings.Join(offered, ", "),
			Help: "take an allowed profile, or ask the administrator for a grant", Detail: "no grant of the caller has this profile",
		}}}
	}
	best.broken = append(denials, best.broken...)
	return *best
}

// judge is what this grant alone has against names and owner.
func (g *grant) judge(req identity.Request) verdict {
	v := verdict{grant: g.name, trusted: g.trusted, singleUse: g.singleUse}
	v.owner, v.broken = g.ownerOf(req)
	covers, shown := func(id identity.Identifier) bool { return slices.Contains(g.exact, id) }, g.exact
	var unusable []error
	if g.exact == nil {
		c := g.allow.forCaller(req.Principal.Claims)
		covers, shown, unusable = c.covers, eachPattern(g.allow.all), c.unusable
	}
	missed := false
	for _, id := range req.Identifiers {
		if covers(id) {
			continue
		}
		missed = true
		allowed := listed(shown, id.Type)
		help := "ask for an allowed name, or the administrator for a grant of this one"
		if allowed == "" {
			allowed, help = "no name of type "+string(id.Type), "ask the administrator for a grant"
		}
		v.broken = append(v.broken, problem.Violation{Reason: ReasonNameNotAllowed, Rule: fmt.Sprintf("grant %s: allow.%s", g.name, id.Type),
			Value: id.String(), Allowed: allowed, Help: help, Detail: fmt.Sprintf("the name %q is not allowed", id.Value)})
	}
	if missed {
		v.broken = append(v.broken, claimViolations("grant "+g.name+": allow", unusable)...)
	}
	return v
}

// offered are the profiles of the document that the grants have, sorted.
func (e *Engine) offered(granted []*grant) []string {
	var names []string
	for _, g := range granted {
		for _, name := range g.profiles {
			if _, ok := e.profiles[name]; ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// denials are the names that the document denies to everybody. The patterns are
// not told: they are nobody's grant.
func (e *Engine) denials(req identity.Request) []problem.Violation {
	var broken []problem.Violation
	denied := e.deny.forCaller(nil)
	for _, id := range req.Identifiers {
		if denied.meets(id) {
			broken = append(broken, problem.Violation{Reason: ReasonNameDenied, Rule: "deny." + string(id.Type), Value: id.String(),
				Help: "ask for another name", Detail: fmt.Sprintf("the name %q is denied to everybody", id.Value)})
		}
	}
	return broken
}

// denials are the names that this grant denies.
func (g *grant) denials(req identity.Request) []problem.Violation {
	if g.exact != nil {
		return nil
	}
	c := g.deny.forCaller(req.Principal.Claims)
	broken := claimViolations("grant "+g.name+": deny", c.unusable)
	for _, id := range req.Identifiers {
		if c.meets(id) {
			broken = append(broken, problem.Violation{Reason: ReasonNameDenied, Rule: fmt.Sprintf("grant %s: deny.%s", g.name, id.Type),
				Value: id.String(), Allowed: "none of: " + listed(eachPattern(g.deny.all), id.Type), Help: "ask for another name",
				Detail: fmt.Sprintf("the name %q is denied", id.Value)})
		}
	}
	return broken
}

func claimViolations(rule string, unusable []error) []problem.Violation {
	var broken []problem.Violation
	for _, err := range unusable {
		broken = append(broken, problem.Violation{Reason: ReasonClaim, Rule: rule, Detail: err.Error(),
			Help: "have the identity provider send a claim that can stand in a name"})
	}
	return broken
}

// listed are the patterns of a type, the first ten.
func listed(patterns []identity.Identifier, t identity.IdentifierType) string {
	var all []string
	for _, p := range patterns {
		if p.Type == t {
			all = append(all, p.Value)
		}
	}
	if len(all) > 10 {
		all = append(all[:10], fmt.Sprintf("and %d more", len(all)-10))
	}
	return strings.Join(all, ", ")
}
