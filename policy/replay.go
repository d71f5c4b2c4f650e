package policy

import (
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// Past is a request of the past, as far as it is known: what a ledger's entry says
// of it, and what is kept beside the ledger.
type Past struct {
	Request identity.Request // NotBefore and NotAfter are those of the certificate
	Grant   string           // that allowed it
	At      time.Time        // when it was recorded: a little after it was decided
	// What is not known of the request, though it may have been there.
	NoLabels, NoClaims, NoRoles bool
	// NoGrant: the credential carried a grant of its own, which is not known.
	NoGrant bool
	// Renewal: the caller renewed a certificate, under the grant of the first.
	Renewal bool
}

// Replayed is what a policy says of a request of the past.
type Replayed struct {
	Broken    []problem.Violation
	Unchecked []string // rules that cannot be judged by what is known
}

// replaySlack is for how long a request may have waited between its decision and its
// record.
const replaySlack = 10 * time.Minute

// Replayer judges requests of the past by one policy, as Decide judged them; the rules
// of the issuer, and what only the server's own grant decides, are left out.
type Replayer struct {
	engine     *Engine
	conditions []*condition
}

// NewReplayer compiles a document for requests of the past. The error is as New's.
func NewReplayer(file string, data []byte) (*Replayer, error) {
	e, err := New(Config{File: file, Data: data, WithoutIssuers: true})
	if err != nil {
		return nil, err
	}
	r := &Replayer{engine: e}
	env, err := newEnv()
	if err != nil {
		return nil, err
	}
	for _, c := range e.conditions {
		compiled := &condition{Condition: c.Condition}
		if c.When != "" {
			if compiled.when, err = compileExpression(env, c.When, cel.OptPartialEval); err != nil {
				return nil, err
			}
		}
		if compiled.require, err = compileExpression(env, c.Require, cel.OptPartialEval); err != nil {
			return nil, err
		}
		r.conditions = append(r.conditions, compiled)
	}
	return r, nil
}

// Replay judges one request of the past.
func (r *Replayer) Replay(p Past) Replayed {
	var out Replayed
	req := p.Request
	profile, ok := r.engine.Profile(req.Profile)
	if !ok {
		out.Broken = append(out.Broken, problem.Violation{Reason: ReasonProfileUnknown, Rule: "profiles", Value: req.Profile, Detail: fmt.Sprintf("there is no profile %.64q", req.Profile)})
		return out
	}
	out.Broken = append(out.Broken, checkForm(profile, req)...)
	var broken []problem.Violation
	profile.KeyUsage, broken = checkKey(profile, req)
	out.Broken = append(out.Broken, broken...)
	switch {
	case !p.NoLabels:
		out.Broken = append(out.Broken, checkLabels(profile, req.Labels)...)
	case len(profile.RequireLabels) > 0:
		out.unchecked("profile %s: require_labels", profile.Name)
	}
	when := decidePeriod(profile, nil, req, p.decided(profile))
	out.Broken = append(out.Broken, when.broken...)
	out.Broken = append(out.Broken, r.engine.denials(req)...)
	out.grant(r.engine, p)
	r.judge(&out, p, celVars(req, profile, req.Owner, when.seconds()), profile.Name)
	return out
}

func (o *Replayed) unchecked(format string, args ...any) {
	o.Unchecked = append(o.Unchecked, fmt.Sprintf(format, args...))
}

// decided is when the request was probably decided: its beginning tells, if that is
// not too long before it was recorded.
func (p Past) decided(profile Profile) time.Time {
	by := p.Request.NotBefore.Add(time.Duration(profile.Validity.Backdate))
	if by.Before(p.At) && p.At.Sub(by) <= replaySlack {
		return by
	}
	return p.At
}

// grant judges the request by the grant that allowed it.
func (o *Replayed) grant(e *Engine, p Past) {
	req := p.Request
	if p.NoGrant {
		o.unchecked("grant %s: the credential's own", p.Grant)
		return
	}
	g, err := e.grantNamed(p)
	if err != nil {
		o.Broken = append(o.Broken, problem.Violation{Reason: ReasonNoGrant, Rule: "grants", Value: p.Grant, Detail: err.Error()})
		return
	}
	if !slices.Contains(g.profiles, req.Profile) {
		o.Broken = append(o.Broken, problem.Violation{Reason: ReasonProfile, Rule: "grant " + g.name + ": profiles", Value: req.Profile, Detail: "the grant has not this profile"})
	}
	if p.Renewal && req.Principal.Bound == nil {
		o.renewal(g, req)
		return
	}
	o.principal(g, p)
	if p.NoClaims && g.usesClaims() {
		o.unchecked("grant %s: claims", g.name)
		return
	}
	v := g.judge(req)
	if p.NoClaims && g.owner == unassigned && req.Owner != unassigned { // an account's own owner takes its place
		v.broken = slices.DeleteFunc(v.broken, func(b problem.Violation) bool { return b.Reason == ReasonOwner })
		o.unchecked("grant %s: owner", g.name)
	}
	o.Broken = append(append(o.Broken, v.broken...), g.denials(req)...)
}

// renewal judges the request by what the grant gives to some caller, as it was
// judged; who had the first certificate of the line is not known here.
func (o *Replayed) renewal(g *grant, req identity.Request) {
	o.unchecked("grant %s: who had the first certificate", g.name)
	gone := func(value, detail string) {
		o.Broken = append(o.Broken, problem.Violation{Reason: ReasonGrantGone, Rule: "grant " + g.name, Value: value, Detail: detail})
	}
	if !g.mayOwn(req.Owner) {
		gone(req.Owner, "the grant is not for this owner")
	}
	for _, id := range req.Identifiers {
		switch {
		case g.deny.mayDeny(id):
			gone(id.String(), "the grant denies the name")
		case !g.allow.mayCover(id):
			gone(id.String(), "the grant does not allow the name")
		}
	}
}

// grantNamed is the grant by which the request was allowed.
func (e *Engine) grantNamed(p Past) (*grant, error) {
	if b := p.Request.Principal.Bound; b != nil {
		return boundGrant(*b)
	}
	for _, g := range e.grants {
		if g.name == p.Grant {
			return g, nil
		}
	}
	return nil, fmt.Errorf("the policy has no grant %.64q", p.Grant)
}

// usesClaims tells whether what the grant allows depends on the caller's claims.
func (g *grant) usesClaims() bool {
	return len(eachPattern(g.allow.templates))+len(eachPattern(g.deny.templates)) > 0 || isTemplate(g.owner) || slices.ContainsFunc(g.owners, isTemplate)
}

// principal judges whether the grant was for the caller.
func (o *Replayed) principal(g *grant, p Past) {
	who := p.Request.Principal
	if who.Bound != nil || slices.ContainsFunc(g.principals, func(s PrincipalSpec) bool { return s.matches(who) }) {
		return
	}
	open := func(s PrincipalSpec) bool {
		key, _, n := s.method()
		return n == 1 && usesMethod(key, who.Method) && (p.NoClaims && (key == "eab" || key == "oidc" || key == "mtls" || key == "device" || len(s.Claims) > 0) || p.NoRoles && key == "role")
	}
	if slices.ContainsFunc(g.principals, open) {
		o.unchecked("grant %s: principals", g.name)
		return
	}
	o.Broken = append(o.Broken, problem.Violation{Reason: ReasonNoGrant, Rule: "grant " + g.name + ": principals", Value: who.String(), Detail: fmt.Sprintf("the grant is not for %q", who)})
}

// judge evaluates the conditions of the profile.
func (r *Replayer) judge(o *Replayed, p Past, vars map[string]any, profile string) {
	var unknown []*cel.AttributePatternType
	for _, each := range []struct {
		not              bool
		variable, member string
	}{{p.NoLabels, "request", "labels"}, {p.NoClaims, "principal", "claims"}, {p.NoRoles, "principal", "roles"}} {
		if each.not {
			unknown = append(unknown, cel.AttributePattern(each.variable).QualString(each.member))
		}
	}
	known, err := cel.PartialVars(vars, unknown...)
	for _, c := range r.conditions {
		if len(c.Profiles) > 0 && !slices.Contains(c.Profiles, profile) {
			continue
		}
		if err != nil {
			o.unchecked("condition %s", c.Name)
			continue
		}
		o.condition(c, known)
	}
}

// condition evaluates one of them. What cannot be evaluated denies, as it did; what
// depends on what is not known is not checked.
func (o *Replayed) condition(c *condition, known any) {
	applies, met, failed := yes, perhaps, error(nil)
	if c.when != nil {
		applies, failed = tell(c.when, known)
	}
	if failed == nil && applies == no {
		return
	}
	certain := failed != nil || applies == yes
	if failed == nil {
		met, failed = tell(c.require, known)
	}
	v := problem.Violation{Reason: ReasonCondition, Rule: "condition " + c.Name, Allowed: c.Require, Detail: c.Message}
	switch {
	case failed != nil && certain:
		v.Reason, v.Detail = ReasonConditionError, fmt.Sprintf("%s (the condition cannot be judged: %v)", c.Message, failed)
		o.Broken = append(o.Broken, v)
	case failed == nil && met == yes:
	case certain && met == no:
		o.Broken = append(o.Broken, v)
	default:
		o.unchecked("condition %s", c.Name)
	}
}

// answer3 is what an expression says: it may not be known.
type answer3 int

const (
	perhaps answer3 = iota
	yes
	no
)

// tell evaluates an expression over what is known.
func tell(program cel.Program, known any) (answer3, error) {
	out, _, err := program.Eval(known)
	if out != nil && types.IsUnknown(out) {
		return perhaps, nil
	}
	if err != nil {
		return perhaps, err
	}
	switch out.Value() {
	case true:
		return yes, nil
	case false:
		return no, nil
	}
	return perhaps, nil
}
