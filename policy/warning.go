package policy

import "fmt"

// warnings are the principals of grants that nobody can be.
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
	if key, _, _ := s.method(); key == "token" {
		return "a join token carries its own grant and takes no other"
	}
	return ""
}
