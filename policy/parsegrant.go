package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
)

func (c *compiler) grant(path string, g Grant) {
	names := make([]string, len(c.grants))
	for i, other := range c.grants {
		names[i] = other.name
	}
	c.name(path, g.Name, &names)
	if g.Name == "system" {
		c.fault(path+".name", g.Name, "", `"system" is the built-in grant of the server`)
	}
	if len(g.Principals) == 0 {
		c.fault(path+".principals", "", "", "it is for nobody")
	}
	for i, p := range g.Principals {
		c.principal(fmt.Sprintf("%s.principals[%d]", path, i), p)
	}
	if len(g.Profiles) == 0 {
		c.fault(path+".profiles", "", strings.Join(c.profiles, ", "), "it names no profile")
	}
	c.allOf(path+".profiles", "profile", g.Profiles, c.profiles)
	if g.Allow.Empty() {
		c.fault(path+".allow", "", "", "it allows no name")
	}
	c.owner(path, g)
	c.challenges(path, g)
	c.singleUse(path, g)
	out := &grant{name: g.Name, principals: g.Principals, profiles: g.Profiles, owner: g.Owner, owners: g.Owners,
		trusted: g.Challenges == noChallenges, singleUse: g.SingleUse}
	good := c.patterns(path+".allow", g.Allow) && c.patterns(path+".deny", g.Deny)
	if good {
		var err error
		if out.allow, err = compilePatterns(g.Allow); err != nil {
			c.fault(path+".allow", "", "", err.Error())
		}
		if out.deny, err = compilePatterns(g.Deny); err != nil {
			c.fault(path+".deny", "", "", err.Error())
		}
	}
	c.grants = append(c.grants, out)
}

// denied compiles what nobody gets. Callers have their claims from outside: what
// is denied cannot depend on them.
func (c *compiler) denied() {
	good := c.patterns("deny", c.doc.Deny)
	for _, t := range []identity.IdentifierType{identity.DNS, identity.IP, identity.URI, identity.Email} {
		for i, p := range ofType(c.doc.Deny, t) {
			if isTemplate(p) {
				c.fault(fmt.Sprintf("deny.%s[%d]", t, i), p, "a pattern without claims", "what everybody is denied depends on no caller")
				good = false
			}
		}
	}
	if !good {
		return
	}
	var err error
	if c.deny, err = compilePatterns(c.doc.Deny); err != nil {
		c.fault("deny", "", "", err.Error())
	}
}

// patterns checks each pattern by itself, so that each fault has its line.
func (c *compiler) patterns(path string, names identity.Names) bool {
	good := true
	for _, t := range []identity.IdentifierType{identity.DNS, identity.IP, identity.URI, identity.Email} {
		for i, p := range ofType(names, t) {
			if err := checkPattern(identity.Identifier{Type: t, Value: p}); err != nil {
				c.fault(fmt.Sprintf("%s.%s[%d]", path, t, i), p, "", err.Error())
				good = false
			}
		}
	}
	return good
}

func (c *compiler) principal(path string, p PrincipalSpec) {
	key, value, n := p.method()
	if n == 0 && c.read.Odd(path) {
		return
	}
	if n != 1 {
		c.fault(path, "", "one of local_socket, token, acme, eab, account, mtls, device, oidc, role", "a principal has one key that says how the caller has proven itself")
		return
	}
	switch key {
	case "local_socket":
		c.oneOf(path+".local_socket", "caller on the socket", value, []string{"admin"})
	case "acme":
		c.oneOf(path+".acme", "value for acme", value, []string{anyone})
	case "role":
		c.oneOf(path+".role", "role", value, append(roleNames(), string(identity.RoleRequester)))
	case "oidc":
		if !strings.HasPrefix(value, "https://") {
			c.fault(path+".oidc", value, "https://…", "an identity provider is named by its https URL")
		}
	}
	for name, want := range p.Claims {
		if key != "oidc" && key != "mtls" && key != "device" {
			c.fault(path+".claims", name, "beside oidc, mtls and device", "callers of this sort have no claims")
		}
		if want == "" {
			c.fault(path+".claims."+name, "", "", "a claim must have a value")
		}
	}
}

// owner checks that the grant says on whose behalf.
func (c *compiler) owner(path string, g Grant) {
	if g.Owner != "" && len(g.Owners) > 0 || g.Owner == "" && len(g.Owners) == 0 && !c.read.Odd(path) {
		c.fault(path, "", "owner: NAME or owners: [NAME, …]", "it needs an owner, or a list of owners to choose from")
	}
	check := func(path, owner string) {
		err := checkTemplate(owner)
		filled := template.ReplaceAllString(owner, "x")
		if err == nil && !ownerForm.MatchString(filled) {
			err = errors.New(ownerFault(filled))
		}
		if err != nil {
			c.fault(path, owner, ownerAllowed, err.Error())
		}
	}
	if g.Owner != "" {
		check(path+".owner", g.Owner)
	}
	for i, o := range g.Owners {
		if o != "*" {
			check(fmt.Sprintf("%s.owners[%d]", path, i), o)
		}
	}
}

// noChallenges is the one value of a grant's challenges.
const noChallenges = "none"

// challenges checks that only accounts that somebody has vouched for are trusted
// without a challenge.
func (c *compiler) challenges(path string, g Grant) {
	if g.Challenges == "" {
		return
	}
	c.oneOf(path+".challenges", "value for challenges", g.Challenges, []string{noChallenges})
	for i, p := range g.Principals {
		if key, value, _ := p.method(); key != "eab" && key != "account" {
			c.fault(fmt.Sprintf("%s.principals[%d]", path, i), value, "eab, account",
				"challenges: none is for ACME accounts that are bound or named one by one")
		}
	}
}

// singleUse checks that only identity tokens are to be used once.
func (c *compiler) singleUse(path string, g Grant) {
	if !g.SingleUse {
		return
	}
	for i, p := range g.Principals {
		if key, value, _ := p.method(); key != "oidc" {
			c.fault(fmt.Sprintf("%s.principals[%d]", path, i), value, "oidc", "single_use is for identity tokens")
		}
	}
}

func (c *compiler) compileConditions() {
	if len(c.doc.Conditions) == 0 {
		return
	}
	env, err := newEnv()
	if err != nil {
		c.fault("conditions", "", "", err.Error())
		return
	}
	var names []string
	for i, d := range c.doc.Conditions {
		path := fmt.Sprintf("conditions[%d]", i)
		c.name(path, d.Name, &names)
		c.allOf(path+".profiles", "profile", d.Profiles, c.profiles)
		if d.Message == "" {
			c.fault(path+".message", "", "", "it does not say what to tell the caller")
		}
		if d.Require == "" {
			c.fault(path+".require", "", "a boolean expression", "it requires nothing")
			continue
		}
		compiled := &condition{Condition: d}
		if d.When != "" {
			if compiled.when, err = compileExpression(env, d.When); err != nil {
				c.fault(path+".when", d.When, "a boolean expression in CEL", err.Error())
			}
		}
		if compiled.require, err = compileExpression(env, d.Require); err != nil {
			c.fault(path+".require", d.Require, "a boolean expression in CEL", err.Error())
		}
		c.conditions = append(c.conditions, compiled)
	}
	c.conditions = slices.Clip(c.conditions)
}
