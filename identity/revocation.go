package identity

import "fmt"

// RevocationReason is a CRLReason (RFC 5280 §5.3.1).
type RevocationReason uint8

// The reasons that can be given here. removeFromCRL, certificateHold and
// aACompromise have no use in this CA.
const (
	Unspecified          RevocationReason = 0
	KeyCompromise        RevocationReason = 1
	AffiliationChanged   RevocationReason = 3
	Superseded           RevocationReason = 4
	CessationOfOperation RevocationReason = 5
	PrivilegeWithdrawn   RevocationReason = 9
)

// String is the RFC's name for the reason.
func (r RevocationReason) String() string {
	switch r {
	case Unspecified:
		return "unspecified"
	case KeyCompromise:
		return "keyCompromise"
	case AffiliationChanged:
		return "affiliationChanged"
	case Superseded:
		return "superseded"
	case CessationOfOperation:
		return "cessationOfOperation"
	case PrivilegeWithdrawn:
		return "privilegeWithdrawn"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// ParseRevocationReason reads the RFC's name.
func ParseRevocationReason(name string) (RevocationReason, error) {
	for _, r := range []RevocationReason{
		Unspecified, KeyCompromise, AffiliationChanged, Superseded, CessationOfOperation, PrivilegeWithdrawn,
	} {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("revocation reason %.32q is not one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn", name)
}
