package policy

import (
	"fmt"

	"github.com/certwright/certwright/identity"
)

// Covering compiles patterns without claims, as grants have them, for whoever must
// tell what they cover.
func Covering(names identity.Names) (func(identity.Identifier) bool, error) {
	for _, p := range eachPattern(names) {
		if isTemplate(p.Value) {
			return nil, fmt.Errorf("%s pattern %q: no claims stand here", p.Type, p.Value)
		}
	}
	set, err := compile(names)
	if err != nil {
		return nil, err
	}
	return coverage{sets: []*nameSet{set}}.covers, nil
}
