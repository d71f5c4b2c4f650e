package policy

import (
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// Refuses are the violations of the name constraints of the issuer's certificate
// (RFC 5280 §4.2.1.10), one for each canonical name that it may not sign. The
// error says that the constraints themselves cannot be read.
func (in Issuer) Refuses(names []identity.Identifier) ([]problem.Violation, error) {
	i, err := newIssuer(in)
	if err != nil {
		return nil, err
	}
	return i.constraints(names), nil
}
