package policy

import (
	"slices"

	"github.com/certwright/certwright/identity"
)

// anyone is the value that matches every ID of a method.
const anyone = "any"

// method is the one method key of the spec, with its value, and how many there
// are.
func (s PrincipalSpec) method() (key, value string, n int) {
	for _, m := range []struct{ key, value string }{
		{"local_socket", s.LocalSocket}, {"token", s.Token}, {"acme", s.ACME}, {"eab", s.EAB},
		{"account", s.Account}, {"mtls", s.MTLS}, {"device", s.Device}, {"oidc", s.OIDC}, {"role", s.Role},
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
	ok := usesMethod(key, p.Method) && hasValue(key, value, p)
	for name, want := range s.Claims {
		ok = ok && hasClaim(p.Claims[name], string(want))
	}
	return ok && p.ID != ""
}

// meant tells whether a grant for the spec is for the caller: in a session by a
// role that an admin gave it, and by nothing else.
func (s PrincipalSpec) meant(p identity.Principal) bool {
	if p.Session != "" && !slices.Contains(identity.AdminRoles(), identity.Role(s.Role)) {
		return false
	}
	return s.matches(p)
}

// usesMethod tells whether a method key means callers who proved themselves by
// this method.
func usesMethod(key string, m identity.Method) bool {
	switch key {
	case "local_socket":
		return m == identity.LocalSocket
	case "token":
		return m == identity.Token
	case "acme", "eab", "account":
		return m == identity.ACME
	case "mtls":
		return m == identity.MTLS
	case "device":
		return m == identity.Device
	case "oidc":
		return m == identity.OIDC
	case "role":
		return known(m)
	}
	return false
}

// hasValue tells whether the caller, who uses the key's method, has its value.
func hasValue(key, value string, p identity.Principal) bool {
	switch key {
	case "local_socket", "token", "account":
		return p.ID == value
	case "acme":
		return value == anyone
	case "eab":
		return hasClaim(p.Claims["eab"], value)
	case "mtls":
		return value == anyone || p.ID == value || hasClaim(p.Claims["names"], value)
	case "device":
		return p.Claims["ca"] == value
	case "oidc":
		return p.Claims["iss"] == value
	case "role":
		return p.Has(identity.Role(value))
	}
	return false
}

// known tells whether the method is one that grants can speak of.
func known(m identity.Method) bool {
	switch m {
	case identity.LocalSocket, identity.Token, identity.ACME, identity.MTLS, identity.OIDC, identity.Device:
		return true
	}
	return false
}
