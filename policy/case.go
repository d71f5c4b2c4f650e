package policy

import (
	"time"

	"github.com/certwright/certwright/identity"
)

// Case is a request with the verdict that is expected of a policy.
type Case struct {
	Name      string            `yaml:"name"`
	Principal CasePrincipal     `yaml:"principal"`
	Profile   string            `yaml:"profile"`
	Names     identity.Names    `yaml:"names"`
	Key       string            `yaml:"key"`      // as in profiles; empty: ecdsa-p256
	Validity  Duration          `yaml:"validity"` // zero: the profile decides
	Owner     string            `yaml:"owner"`
	Labels    map[string]string `yaml:"labels"`
	Expect    string            `yaml:"expect"`  // allow or deny
	Reasons   []string          `yaml:"reasons"` // of a denial: these and no others; empty: any
}

// CasePrincipal is the caller of a case: one method with its ID.
type CasePrincipal struct {
	LocalSocket string            `yaml:"local_socket"`
	Token       string            `yaml:"token"`
	EAB         string            `yaml:"eab"`
	Account     string            `yaml:"account"`
	MTLS        string            `yaml:"mtls"`
	OIDC        string            `yaml:"oidc"`
	Claims      map[string]string `yaml:"claims"`
	Roles       []string          `yaml:"roles"`
}

// CaseResult is how a case came out.
type CaseResult struct {
	Case     Case
	Decision Decision // if it was allowed
	Err      error    // if it was denied: the *problem.Problem
	// Differences say, a sentence each, what is not as expected; none: it passed.
	Differences []string
}

// ParseCases reads a list of cases in strict YAML; the error is as Parse's.
func ParseCases(file string, data []byte) ([]Case, error) { return nil, nil }

// Test decides each case at time now.
func (e *Engine) Test(cases []Case, now time.Time) []CaseResult { return nil }
