package policy

import (
	"slices"

	"github.com/certwright/certwright/identity"
)

// GrantedProfiles are the names of the profiles that the principal's grants name,
// in the order of the grants.
func (e *Engine) GrantedProfiles(p identity.Principal) []string {
	granted, _ := e.grantsOf(identity.Request{Principal: p})
	var names []string
	for _, g := range granted {
		names = appendNew(names, g.profiles)
	}
	return names
}

// ACMEProfiles are the profiles that some grant for ACME accounts names, in the
// document's order: what a directory offers (draft-ietf-acme-profiles §3).
func (e *Engine) ACMEProfiles() []Profile {
	var names []string
	for _, g := range e.grants {
		if slices.ContainsFunc(g.principals, PrincipalSpec.acme) {
			names = appendNew(names, g.profiles)
		}
	}
	var out []Profile
	for _, p := range e.document.Profiles {
		if slices.Contains(names, p.Name) {
			out = append(out, p)
		}
	}
	return out
}

// acme tells whether the spec is for ACME accounts.
func (s PrincipalSpec) acme() bool {
	switch key, _, _ := s.method(); key {
	case "acme", "eab", "account":
		return true
	}
	return false
}

func appendNew(names, more []string) []string {
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
