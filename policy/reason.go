package policy

// The reasons of a refusal, one for each rule that a request can break. A
// client may rely on them.
const (
	ReasonKind            = "KIND_NOT_ALLOWED"       // not the kind of certificate of the profile
	ReasonProfileUnknown  = "PROFILE_UNKNOWN"        // no such profile
	ReasonProfileMissing  = "PROFILE_MISSING"        // the request names no profile
	ReasonNoGrant         = "NO_GRANT"               // no grant is for this caller
	ReasonGrantGone       = "GRANT_GONE"             // the grant of a certificate no longer gives it: no renewal
	ReasonProfile         = "PROFILE_NOT_GRANTED"    // no grant of the caller has the profile
	ReasonNamesMissing    = "NAMES_MISSING"          // not one name
	ReasonTooManyNames    = "TOO_MANY_NAMES"         // more than max_names
	ReasonNameMalformed   = "NAME_MALFORMED"         // not in canonical form
	ReasonNameNotAllowed  = "NAME_NOT_ALLOWED"       // no pattern of the grant covers the name
	ReasonNameDenied      = "NAME_DENIED"            // a grant denies the name
	ReasonWildcard        = "WILDCARD_NOT_ALLOWED"   // the profile has no wildcards
	ReasonClaim           = "CLAIM_UNUSABLE"         // a claim that a pattern or owner needs is missing or unsafe
	ReasonOwnerMissing    = "OWNER_MISSING"          // nobody owns it
	ReasonOwner           = "OWNER_NOT_ALLOWED"      // the grant is for another owner
	ReasonOwnerMalformed  = "OWNER_MALFORMED"        // not the form of an owner
	ReasonKey             = "KEY_NOT_ALLOWED"        // not among the profile's keys
	ReasonValidity        = "VALIDITY_TOO_LONG"      // longer than validity.max
	ReasonValidityInvalid = "VALIDITY_INVALID"       // ends before it begins, or wishes that contradict
	ReasonNotBefore       = "NOT_BEFORE_TOO_EARLY"   // begins before now by more than validity.backdate
	ReasonIssuerEnds      = "ISSUER_EXPIRES_FIRST"   // would outlive its issuer
	ReasonIssuerExpired   = "ISSUER_EXPIRED"         // the issuer's certificate has ended
	ReasonConstraint      = "ISSUER_NAME_CONSTRAINT" // outside the issuer's name constraints
	ReasonLabelMissing    = "LABEL_MISSING"          // a required label is not there
	ReasonLabelMalformed  = "LABEL_MALFORMED"        // not the form of a label
	ReasonCondition       = "CONDITION_FAILED"       // a condition is not met
	ReasonConditionError  = "CONDITION_ERROR"        // a condition cannot be judged, which denies
)
