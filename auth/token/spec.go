package token

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// The bounds of a Spec.
const (
	MinTTL  = time.Minute
	MaxTTL  = 30 * 24 * time.Hour
	MaxUses = 10000

	reasonSpec = "TOKEN_SPEC_INVALID"

	maxOwner    = 128
	maxProfiles = 32
	maxPatterns = 100
	maxPattern  = 512
)

// Spec says what a token shall allow.
type Spec struct {
	Owner    string   // of the certificates, in the form that the policy has for owners
	Profiles []string // of the active policy, at least one
	Names    identity.Names
	TTL      time.Duration // MinTTL to MaxTTL
	Uses     uint32        // 1 to MaxUses; 0: 1
	Creator  string        // the principal that asks
	// RequestID makes Create idempotent within the creator; empty: each call
	// makes a token.
	RequestID string
}

// canonical is the spec with sorted lists and defaults filled in, or Malformed
// with everything that is wrong with it.
func (s Spec) canonical(c Config) (Spec, error) {
	var broken []problem.Violation
	add := func(rule, value, detail, allowed string) {
		broken = append(broken, problem.Violation{
			Reason: reasonSpec, Rule: rule, Value: limit(value), Detail: detail, Allowed: allowed,
		})
	}
	if s.Uses == 0 {
		s.Uses = 1
	}
	if !Printable(s.Owner, maxOwner) {
		add("owner", s.Owner, "the owner is missing or has characters that it must not have", "1 to 128 letters, digits and . _ / + -, a letter or digit first")
	}
	if s.TTL < MinTTL || s.TTL > MaxTTL {
		add("ttl", s.TTL.String(), "the lifetime is out of bounds", "1m to 720h")
	}
	if s.Uses > MaxUses {
		add("uses", fmt.Sprint(s.Uses), "the number of uses is out of bounds", "1 to 10000")
	}
	s.Profiles = set(s.Profiles)
	if len(s.Profiles) == 0 || len(s.Profiles) > maxProfiles {
		add("profiles", fmt.Sprint(len(s.Profiles)), "the number of profiles is out of bounds", "1 to 32")
	}
	s.Names = identity.Names{
		DNS: set(s.Names.DNS), IP: set(s.Names.IP), URI: set(s.Names.URI), Email: set(s.Names.Email),
	}
	s.checkNames(add)
	if len(broken) == 0 {
		bound := identity.Bound{Name: "token", Profiles: s.Profiles, Owner: s.Owner, Allow: s.Names}
		if err := c.Check(bound); err != nil {
			return s, unusable(err)
		}
		return s, nil
	}
	return s, &problem.Problem{
		Kind: problem.Malformed, Reason: reasonSpec, Detail: "the token cannot be made", Violations: broken,
	}
}

// unusable is the policy's refusal of a token's grant.
func unusable(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("token: %w", err)
	}
	refusal := *p
	refusal.Kind, refusal.Reason = problem.Malformed, reasonSpec
	return &refusal
}

func (s Spec) checkNames(add func(rule, value, detail, allowed string)) {
	if s.Names.Empty() {
		add("patterns", "", "there is no pattern of names", "at least one DNS, IP, URI or email pattern")
		return
	}
	all := slices.Concat(s.Names.DNS, s.Names.IP, s.Names.URI, s.Names.Email)
	if len(all) > maxPatterns {
		add("patterns", fmt.Sprint(len(all)), "there are too many patterns", "at most 100")
		return
	}
	for _, pattern := range all {
		// A template would take its value from the caller's claims; a token's holder has none.
		if !Printable(pattern, maxPattern) || strings.ContainsAny(pattern, "{}") {
			add("patterns", pattern, "the pattern is empty, too long or has characters that it must not have", "1 to 512 printable ASCII characters without braces")
		}
	}
}

// digest is what a repetition under the same request ID must have in common.
func (s Spec) digest() ([]byte, error) {
	s.RequestID, s.Creator = "", ""
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	sum := sha256.Sum256(body)
	return sum[:], nil
}

// Printable tells whether text is 1 to limit characters of printable ASCII.
func Printable(text string, limit int) bool {
	if text == "" || len(text) > limit {
		return false
	}
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func set(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

func limit(text string) string {
	if len(text) > 128 {
		text = text[:128] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
