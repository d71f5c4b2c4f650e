package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy/strict"
	"github.com/certwright/certwright/problem"
)

// maxCases is the greatest size of a file of cases in octets.
const maxCases = 1 << 20

// Case is a request with the verdict that is expected of a policy.
type Case struct {
	// Name says what the case shows.
	Name string `json:"name"`
	// Principal asks.
	Principal CasePrincipal `json:"principal"`
	// Profile that is asked for.
	Profile string `json:"profile"`
	// Names that are asked for, by type: dns, ip, uri, email.
	Names identity.Names `json:"names"`
	// Key is an algorithm as in profiles: ecdsa-p256 if it is not given.
	Key string `json:"key"`
	// Validity that is wished; without it the profile decides.
	Validity Duration `json:"validity"`
	// Owner that the request names.
	Owner string `json:"owner"`
	// Labels of the request.
	Labels map[string]string `json:"labels"`
	// Expect is the verdict: allow or deny.
	Expect string `json:"expect"`
	// Reasons of a denial: these codes and no others. Without them any will do.
	Reasons []string `json:"reasons"`
}

// CasePrincipal is the caller of a case: one method with the caller's ID.
type CasePrincipal struct {
	// LocalSocket is a caller on the admin socket: admin.
	LocalSocket string `json:"local_socket"`
	// Token is a token's ID.
	Token string `json:"token"`
	// Account is the ID of an ACME account, with the claim eab if it was bound.
	Account string `json:"account"`
	// MTLS is a name in a client certificate of this CA.
	MTLS string `json:"mtls"`
	// Device is the name of another CA of the server's configuration.
	Device string `json:"device"`
	// OIDC is the URL of an identity provider; the claim sub tells who.
	OIDC string `json:"oidc"`
	// Claims of the caller.
	Claims map[string]any `json:"claims"`
	// Roles of the caller: requester, viewer, auditor, operator, policy-admin, ca-admin.
	Roles []string `json:"roles"`
}

// CaseResult is how a case came out.
type CaseResult struct {
	Case     Case
	Decision Decision // if it was allowed
	Err      error    // if it was denied: a *problem.Problem
	// Differences say, a sentence each, what is not as expected; none: it passed.
	Differences []string
}

// principal is the caller, and how many methods the case names.
func (p CasePrincipal) principal() (identity.Principal, int) {
	out := identity.Principal{Claims: p.Claims}
	n := 0
	for _, m := range []struct {
		method identity.Method
		id     string
	}{{identity.LocalSocket, p.LocalSocket}, {identity.Token, p.Token}, {identity.ACME, p.Account}, {identity.MTLS, p.MTLS}, {identity.Device, p.Device}, {identity.OIDC, p.OIDC}} {
		if m.id != "" {
			out.Method, out.ID, n = m.method, m.id, n+1
		}
	}
	for name, value := range map[string]string{"iss": p.OIDC, "ca": p.Device, "names": p.MTLS} {
		if value == "" {
			continue
		}
		if out.Claims = maps.Clone(out.Claims); out.Claims == nil {
			out.Claims = map[string]any{}
		}
		out.Claims[name] = value
	}
	for _, role := range p.Roles {
		out.Roles = append(out.Roles, identity.Role(role))
	}
	return out, n
}

// request is what the case asks for.
func (c Case) request() (identity.Request, error) {
	req := identity.Request{Kind: identity.X509, Profile: c.Profile, Validity: time.Duration(c.Validity), Owner: c.Owner, Labels: c.Labels}
	req.Principal, _ = c.Principal.principal()
	key := c.Key
	if key == "" {
		key = "ecdsa-p256"
	}
	var err error
	if req.PublicKey, err = SamplePublicKey(key); err != nil {
		return req, err
	}
	req.Identifiers, err = identity.CanonicalSet(eachPattern(c.Names))
	return req, err
}

// ParseCases reads a list of cases in strict YAML; the error is as Parse's.
func ParseCases(file string, data []byte) ([]Case, error) {
	var cases []Case
	r := strict.Read(file, data, maxCases, &cases)
	fault := func(path, value, allowed, detail string) {
		r.Fault(path, strict.Fault{Value: value, Allowed: allowed, Detail: detail})
	}
	for i, c := range cases {
		path := fmt.Sprintf("[%d]", i)
		if c.Name == "" {
			fault(path+".name", "", "", "the case has no name")
		}
		if c.Expect != "allow" && c.Expect != "deny" {
			fault(path+".expect", c.Expect, "allow, deny", "the case does not say what is expected")
		}
		if c.Expect == "allow" && len(c.Reasons) > 0 {
			fault(path+".reasons", "", "", "only a denial has reasons")
		}
		if _, n := c.Principal.principal(); n != 1 {
			fault(path+".principal", "", "one of local_socket, token, account, mtls, device, oidc", "a caller has one method")
		}
		if _, err := c.request(); err != nil && c.Expect == "allow" {
			fault(path, "", "", err.Error())
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return cases, nil
}

// Test decides each case at time now.
func (e *Engine) Test(cases []Case, now time.Time) []CaseResult {
	results := make([]CaseResult, 0, len(cases))
	for _, c := range cases {
		r := CaseResult{Case: c}
		req, err := c.request()
		if err != nil {
			r.Err = denied([]problem.Violation{{Reason: ReasonNameMalformed, Detail: err.Error()}})
		} else {
			r.Decision, r.Err = e.Decide(req, now)
		}
		r.Differences = c.differences(r.Err)
		results = append(results, r)
	}
	return results
}

// differences hold the verdict against what is expected.
func (c Case) differences(err error) []string {
	var p *problem.Problem
	switch errors.As(err, &p); {
	case p == nil && c.Expect == "deny":
		return []string{"it is allowed, and expected to be denied"}
	case p == nil:
		return nil
	}
	var have []string
	for _, v := range p.Violations {
		if !slices.Contains(have, v.Reason) {
			have = append(have, v.Reason)
		}
	}
	if c.Expect == "allow" {
		return []string{fmt.Sprintf("it is denied (%s), and expected to be allowed", strings.Join(have, ", "))}
	}
	if len(c.Reasons) == 0 {
		return nil
	}
	var out []string
	for _, want := range c.Reasons {
		if !slices.Contains(have, want) {
			out = append(out, "it is not denied for "+want)
		}
	}
	for _, reason := range have {
		if !slices.Contains(c.Reasons, reason) {
			out = append(out, "it is also denied for "+reason)
		}
	}
	return out
}
