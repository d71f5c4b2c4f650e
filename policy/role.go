package policy

import (
	"fmt"
	"slices"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy/strict"
)

// roleNames are the roles that a document can give.
func roleNames() []string {
	var names []string
	for _, role := range identity.AdminRoles() {
		names = append(names, string(role))
	}
	return names
}

// roles checks who is given which role. A binding must say which tokens or
// certificates it means: a whole identity provider, or whoever gets a certificate
// with a name, is not an admin.
func (c *compiler) roles() {
	for i, b := range c.doc.Roles {
		path := fmt.Sprintf("roles[%d]", i)
		c.oneOf(path+".role", "role", string(b.Role), roleNames())
		if len(b.Principals) == 0 {
			c.fault(path+".principals", "", "", "it is for nobody")
		}
		for j, p := range b.Principals {
			at := fmt.Sprintf("%s.principals[%d]", path, j)
			c.principal(at, p)
			c.boundToRole(at, p)
		}
		for j, owner := range b.Owners {
			if !ownerForm.MatchString(owner) {
				c.fault(fmt.Sprintf("%s.owners[%d]", path, j), owner, ownerAllowed, ownerFault(owner))
			}
		}
		if b.Role == identity.RoleAdmin && len(b.Owners) > 0 {
			c.fault(path+".owners", "", "the roles viewer, auditor, operator", "a ca-admin has no limit")
		}
	}
}

func (c *compiler) boundToRole(path string, p PrincipalSpec) {
	key, value, n := p.method()
	switch {
	case n != 1: // told already
	case key != "oidc" && key != "mtls" && key != "device":
		c.fault(path, key, "oidc, mtls, device", "a role is not given to callers of this sort")
	case key == "mtls" && p.Claims["grant"] == "":
		c.read.Fault(path+".mtls", strict.Fault{Value: value, Detail: "it does not say by which grant the certificate was issued",
			Help: "add claims: {grant: NAME}: else whoever can have a certificate with this name has the role"})
	case len(p.Claims) == 0:
		c.fault(path+"."+key, value, "claims beside it", "it means everybody who can prove anything this way")
	}
}

// WithRoles is the principal with the roles that the document gives it, and their
// limits. A role that is given without a limit once has none.
func (e *Engine) WithRoles(p identity.Principal) identity.Principal {
	var limits map[identity.Role][]string
	roles := p.Roles
	for _, b := range e.document.Roles {
		if !slices.ContainsFunc(b.Principals, func(s PrincipalSpec) bool { return s.matches(p) }) {
			continue
		}
		held := slices.Contains(roles, b.Role)
		was, limited := limits[b.Role]
		switch {
		case held && !limited: // without a limit already
			continue
		case len(b.Owners) == 0:
			delete(limits, b.Role)
		default:
			if limits == nil {
				limits = map[identity.Role][]string{}
			}
			limits[b.Role] = append(was, b.Owners...)
		}
		if !held {
			roles = append(slices.Clip(roles), b.Role)
		}
	}
	p.Roles, p.Limits = roles, limits
	return p
}

// SameRoles tells whether the other policy gives the same roles to the same
// callers, and certificates that give roles to the same: the grants that roles name
// are the same.
func (e *Engine) SameRoles(other *Engine) bool {
	return e.rolesText() == other.rolesText()
}

// rolesText is all that roles depend on.
func (e *Engine) rolesText() string {
	text := fmt.Sprintf("%+v", e.document.Roles)
	for _, b := range e.document.Roles {
		for _, p := range b.Principals {
			for _, g := range e.document.Grants {
				if g.Name == string(p.Claims["grant"]) {
					text += fmt.Sprintf("\n%+v", g)
				}
			}
		}
	}
	return text
}
