package token

import (
	"crypto/sha256"
	"encoding/json"
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

	maxOwner    = 128
	maxProfiles = 32
	maxPatterns = 100
	maxPattern  = 512
)

// Spec says what a token shall allow.
type Spec struct {
	Owner    string   // of the certificates, 1 to 128 printable ASCII characters
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
			Reason: "TOKEN_SPEC_INVALID", Rule: rule, Value: limit(value), Detail: detail, Allowed: allowed,
		})
	}
	if s.Uses == 0 {
		s.Uses = 1
	}
	if !Printable(s.Owner, maxOwner) {
		add("owner", s.Owner, "the owner is missing or has characters that it must not have", "1 to 128 printable ASCII characters")
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
	} else {
		for _, name := range s.Profiles {
			if !c.Profile(name) {
				add("profiles", name, "the active policy has no such profile", "")
			}
		}
	}
	s.Names = identity.Names{
		DNS: set(s.Names.DNS), IP: set(s.Names.IP), URI: set(s.Names.URI), Email: set(s.Names.Email),
	}
	s.checkNames(c, add)
	if len(broken) > 0 {
		return s, &problem.Problem{
			Kind: problem.Malformed, Reason: "TOKEN_SPEC_INVALID",
			Detail: "the token cannot be made", Violations: broken,
		}
	}
	return s, nil
}

func (s Spec) checkNames(c Config, add func(rule, value, detail, allowed string)) {
	if s.Names.Empty() {
		add("patterns", "", "there is no pattern of names", "at least one DNS, IP, URI or email pattern")
		return
	}
	all := slices.Concat(s.Names.DNS, s.Names.IP, s.Names.URI, s.Names.Email)
	if len(all) > maxPatterns {
		add("patterns", fmt.Sprint(len(all)), "there are too many patterns", "at most 100")
		return
	}
	before := len(all)
	for _, pattern := range all {
		// A template could take its value from what the caller claims; a token has no claims.
		if !Printable(pattern, maxPattern) || strings.ContainsAny(pattern, "{}") {
			add("patterns", pattern, "the pattern is empty, too long or has characters that it must not have", "1 to 512 printable ASCII characters without braces")
			before--
		}
	}
	if before < len(all) || c.CheckNames == nil {
		return
	}
	if err := c.CheckNames(s.Names); err != nil {
		add("patterns", "", err.Error(), "")
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
