package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// grant is a compiled Grant.
type grant struct {
	name       string
	principals []PrincipalSpec
	profiles   []string
	allow      *patterns
	deny       *patterns
	owner      string
	owners     []string
	exact      []identity.Identifier // of the system grant: these names and no patterns
	trusted    bool                  // ACME accounts need no challenge
	singleUse  bool                  // an identity token gets one certificate
}

// patterns are the patterns of a grant, compiled as far as they do not depend on
// the caller.
type patterns struct {
	all       identity.Names
	fixed     *nameSet
	templates identity.Names
}

// coverage is what patterns are for one caller.
type coverage struct {
	sets     []*nameSet
	unusable []error // templates that are not usable for this caller
}

func compilePatterns(names identity.Names) (*patterns, error) {
	split := func(all []string) (fixed, templates []string) {
		for _, p := range all {
			if isTemplate(p) {
				templates = append(templates, p)
			} else {
				fixed = append(fixed, p)
			}
		}
		return fixed, templates
	}
	p := &patterns{all: names}
	var fixed identity.Names
	fixed.DNS, p.templates.DNS = split(names.DNS)
	fixed.IP, p.templates.IP = split(names.IP)
	fixed.URI, p.templates.URI = split(names.URI)
	fixed.Email, p.templates.Email = split(names.Email)
	for _, t := range eachPattern(p.templates) {
		if err := checkPattern(t); err != nil {
			return nil, fmt.Errorf("%s pattern %q: %w", t.Type, t.Value, err)
		}
	}
	var err error
	p.fixed, err = compile(fixed)
	return p, err
}

// checkPattern says whether a pattern, with templates or without, can be used.
func checkPattern(p identity.Identifier) error {
	if !isTemplate(p.Value) {
		_, err := compile(listOf(p))
		return err
	}
	if err := checkTemplate(p.Value); err != nil {
		return err
	}
	claims := map[string]any{}
	for _, m := range template.FindAllStringSubmatch(p.Value, -1) {
		claims[m[1]] = "x"
	}
	filled, err := fill(p, claims)
	if err != nil {
		return err
	}
	_, err = compile(listOf(filled))
	return err
}

// fill puts claims into a pattern. What a claim may hold depends on where it
// stands.
func fill(p identity.Identifier, claims map[string]any) (identity.Identifier, error) {
	fixed, open, form := "", p.Value, claimInDNS
	switch p.Type {
	case identity.IP:
		return p, fmt.Errorf("an address takes no claims")
	case identity.URI:
		scheme, rest, _ := strings.Cut(p.Value, "://")
		host, path, _ := strings.Cut(rest, "/")
		if isTemplate(scheme) || isTemplate(host) {
			return p, fmt.Errorf("claims stand in the path of a URI only")
		}
		fixed, open, form = scheme+"://"+host+"/", path, claimInPath
	case identity.Email:
		local, domain, ok := strings.Cut(p.Value, "@")
		if ok && local != "" {
			name, err := expand(local, claims, claimInMailbox)
			if err != nil {
				return p, err
			}
			fixed, open = strings.ToLower(name)+"@", domain
		}
	}
	filled, err := expand(open, claims, form)
	return identity.Identifier{Type: p.Type, Value: fixed + filled}, err
}

// forCaller fills the templates with the caller's claims.
func (p *patterns) forCaller(claims map[string]any) coverage {
	c := coverage{sets: []*nameSet{p.fixed}}
	for _, t := range eachPattern(p.templates) {
		filled, err := fill(t, claims)
		if err != nil {
			c.unusable = append(c.unusable, err)
			continue
		}
		set, err := compile(listOf(filled))
		if err != nil {
			c.unusable = append(c.unusable, fmt.Errorf("the caller's claims in %q make no %s name", t.Value, t.Type))
			continue
		}
		c.sets = append(c.sets, set)
	}
	return c
}

// covers tells whether the name is allowed by these patterns.
func (c coverage) covers(id identity.Identifier) bool {
	for _, set := range c.sets {
		if ok, err := set.covers(id); ok && err == nil {
			return true
		}
	}
	return false
}

// meets tells whether the name is denied by these patterns; one that cannot be
// judged is.
func (c coverage) meets(id identity.Identifier) bool {
	for _, set := range c.sets {
		if ok, err := set.meets(id); ok || err != nil {
			return true
		}
	}
	return false
}

// ofType are the patterns of one type.
func ofType(n identity.Names, t identity.IdentifierType) []string {
	switch t {
	case identity.DNS:
		return n.DNS
	case identity.IP:
		return n.IP
	case identity.URI:
		return n.URI
	case identity.Email:
		return n.Email
	}
	return nil
}

// eachPattern are the patterns of all types.
func eachPattern(n identity.Names) []identity.Identifier {
	var all []identity.Identifier
	for _, t := range []identity.IdentifierType{identity.DNS, identity.IP, identity.URI, identity.Email} {
		for _, p := range ofType(n, t) {
			all = append(all, identity.Identifier{Type: t, Value: p})
		}
	}
	return all
}

func listOf(p identity.Identifier) identity.Names {
	one := []string{p.Value}
	switch p.Type {
	case identity.IP:
		return identity.Names{IP: one}
	case identity.URI:
		return identity.Names{URI: one}
	case identity.Email:
		return identity.Names{Email: one}
	}
	return identity.Names{DNS: one}
}

// ownerForm is what an owner looks like. It stands in the ledger for ever, so it
// cannot be an email address.
var ownerForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]{0,127}$`)

// ownerAllowed is ownerForm in words.
const ownerAllowed = "1 to 128 letters, digits and . _ / + -, a letter or digit first"

// ownerFault is what is wrong with an owner that has not the form of one.
func ownerFault(owner string) string {
	switch {
	case owner == "":
		return "it has no owner"
	case strings.Contains(owner, "@"):
		return "an owner cannot be an email address: it stands in the ledger for ever"
	}
	return "the owner has not the form of an owner"
}

// unassigned is the owner of a grant that stands for nobody: what an ACME account
// is bound to by its EAB key takes its place.
const unassigned = "unassigned"

// vouched tells whether the request is for the owner that its ACME account is bound
// to.
func vouched(req identity.Request) bool {
	return req.Principal.Method == identity.ACME && req.Owner != "" && req.Principal.Claims["owner"] == req.Owner
}

// ownerFailure makes the violation of a rule about owners.
type ownerFailure func(reason, allowed, help, detail string, args ...any) (string, []problem.Violation)

// fixedOwner is the owner of a grant that names one.
func (g *grant) fixedOwner(req identity.Request, fail ownerFailure) (string, []problem.Violation) {
	owner, err := expand(g.owner, req.Principal.Claims, claimInOwner)
	switch {
	case err != nil:
		return fail(ReasonClaim, "", "", "the owner cannot be told: %v", err)
	case !ownerForm.MatchString(owner):
		return fail(ReasonOwnerMalformed, ownerAllowed, "", "the grant gives no usable owner: %s", ownerFault(owner))
	case req.Owner != "" && req.Owner != owner:
		return fail(ReasonOwner, owner, "leave the owner out, or name "+owner, "this is granted to the owner %q only", owner)
	}
	return owner, nil
}

// ownerOf is on whose behalf the request is made under the grant.
func (g *grant) ownerOf(req identity.Request) (string, []problem.Violation) {
	rule := "grant " + g.name + ": owner"
	fail := func(reason, allowed, help, detail string, args ...any) (string, []problem.Violation) {
		return req.Owner, []problem.Violation{{Reason: reason, Rule: rule, Value: req.Owner, Allowed: allowed, Help: help,
			Detail: fmt.Sprintf(detail, args...)}}
	}
	if req.Owner != "" && !ownerForm.MatchString(req.Owner) {
		return fail(ReasonOwnerMalformed, ownerAllowed, "name a team or service", "%s", ownerFault(req.Owner))
	}
	if g.owner == unassigned && vouched(req) {
		return req.Owner, nil
	}
	if g.owner != "" {
		return g.fixedOwner(req, fail)
	}
	allowed := make([]string, 0, len(g.owners))
	for _, o := range g.owners {
		if owner, err := expand(o, req.Principal.Claims, claimInOwner); err == nil && owner != "" {
			allowed = append(allowed, owner)
		}
	}
	list := strings.Join(allowed, ", ")
	switch {
	case req.Owner == "":
		return fail(ReasonOwnerMissing, list, "name an owner", "every certificate has an owner, and none is named")
	case !slices.Contains(allowed, req.Owner) && !slices.Contains(g.owners, "*"):
		return fail(ReasonOwner, list, "name one of: "+list, "%q is not an owner of this grant", req.Owner)
	}
	return req.Owner, nil
}
