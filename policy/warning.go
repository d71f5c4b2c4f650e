package policy

import "fmt"

// warnings are the principals of grants that nobody can be in this version. The
// language has them, so that a document need not change when they come.
func (c *compiler) warnings() []string {
	var all []string
	for i, g := range c.doc.Grants {
		for j, p := range g.Principals {
			if without := p.without(); without != "" {
				path := fmt.Sprintf("grants[%d].principals[%d]", i, j)
				all = append(all, fmt.Sprintf("%s: %s, so the grant %q is not for such a caller", c.read.Place(path), without, g.Name))
			}
		}
	}
	return all
}

// without is why nobody can match the principal; "" if somebody can.
func (s PrincipalSpec) without() string {
	key, value, _ := s.method()
	switch {
	case key == "token":
		return "a join token carries its own grant and takes no other"
	case key == "role" && value != "admin":
		return "only join tokens have the role " + value + " in this version, and a join token carries its own grant"
	case key == "local_socket" || key == "role" || key == "acme" || key == "eab" || key == "account":
		return ""
	}
	return "there is no authenticator for " + key + " in this version"
}
