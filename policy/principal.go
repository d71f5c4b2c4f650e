package policy

import "github.com/certwright/certwright/identity"

// anyone is the value that matches every ID of a method.
const anyone = "any"

// method is the one method key of the spec, with its value, and how many there
// are.
func (s PrincipalSpec) method() (key, value string, n int) {
	for _, m := range []struct{ key, value string }{
		{"local_socket", s.LocalSocket}, {"token", s.Token}, {"acme", s.ACME}, {"eab", s.EAB},
		{"account", s.Account}, {"mtls", s.MTLS}, {"oidc", s.OIDC}, {"role", s.Role},
	} {
		if m.value != "" {
			key, value, n = m.key, m.value, n+1
		}
	}
	return key, value, n
}

// matches tells whether the caller is one of those meant. What is not known
// matches nobody.
func (s PrincipalSpec) matches(p identity.Principal) bool {
	key, value, n := s.method()
	if n != 1 || p.Method == identity.System || p.Bound != nil {
		return false
	}
	var ok bool
	switch key {
	case "local_socket":
		ok = p.Method == identity.LocalSocket && p.ID == value
	case "token":
		ok = p.Method == identity.Token && p.ID == value
	case "acme":
		ok = p.Method == identity.ACME && value == anyone
	case "eab":
		ok = p.Method == identity.ACME && hasClaim(p.Claims["eab"], value)
	case "account":
		ok = p.Method == identity.ACME && p.ID == value
	case "mtls":
		ok = p.Method == identity.MTLS && (p.ID == value || value == anyone)
	case "oidc":
		ok = p.Method == identity.OIDC && p.Claims["iss"] == value
	case "role":
		ok = known(p.Method) && p.Has(identity.Role(value))
	}
	for name, want := range s.Claims {
		ok = ok && hasClaim(p.Claims[name], string(want))
	}
	return ok && p.ID != ""
}

// known tells whether the method is one that grants can speak of.
func known(m identity.Method) bool {
	switch m {
	case identity.LocalSocket, identity.Token, identity.ACME, identity.MTLS, identity.OIDC:
		return true
	}
	return false
}
