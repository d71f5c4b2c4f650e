package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy/strict"
	"github.com/certwright/certwright/problem"
)

// Decide says whether the request is allowed at time now, and within which
// bounds. The request's identifiers must be canonical. The error is a
// *problem.Problem of kind Denied that lists every broken rule; it tells the
// caller of no grants but the caller's own.
func (e *Engine) Decide(req identity.Request, now time.Time) (Decision, error) {
	return e.decide(req, now, true)
}

// DecideNames is Decide for a request whose key is not known yet, as an ACME order
// before it is finalized: the rules about keys, and the conditions, which may
// speak of the key, are left out. It is never a permission to issue.
func (e *Engine) DecideNames(req identity.Request, now time.Time) (Decision, error) {
	return e.decide(req, now, false)
}

func (e *Engine) decide(req identity.Request, now time.Time, complete bool) (Decision, error) {
	granted, broken := e.grantsOf(req)
	system := req.Principal.Method == identity.System
	offered := e.offered(granted)
	profile, ok := e.Profile(req.Profile)
	if !ok && system {
		profile, ok = e.builtIn[req.Profile]
	}
	if !ok {
		return Decision{}, denied(append(broken, unknownProfile(req.Profile, granted, offered)))
	}
	var issuer *issuer
	if !e.detached {
		issuer = e.issuers[profile.Issuer]
	}

	// 1. The profile: kind, key, names as such, labels, time.
	broken = append(broken, checkForm(profile, req)...)
	if complete {
		var keyBroken []problem.Violation
		profile.KeyUsage, keyBroken = checkKey(profile, req)
		broken = append(broken, keyBroken...)
	}
	if !system {
		broken = append(broken, checkLabels(profile, req.Labels)...)
	}
	when := decidePeriod(profile, issuer, req, now)
	broken = append(broken, when.broken...)

	// 2. The grants: one must cover profile, names and owner; no name is denied.
	if !system {
		broken = append(broken, e.denials(req)...)
	}
	verdict := judge(granted, offered, req)
	if len(granted) > 0 {
		broken = append(broken, verdict.broken...)
	}

	// 3. The issuer's name constraints.
	if issuer != nil {
		broken = append(broken, issuer.constraints(req.Identifiers)...)
	}

	// 4. The conditions.
	if !system && complete {
		broken = append(broken, e.checkConditions(celVars(req, profile, verdict.owner, when.seconds()), profile.Name)...)
	}
	if len(broken) > 0 {
		return Decision{}, denied(broken)
	}
	return Decision{
		Profile: profile, Issuer: profile.Issuer, Grant: verdict.grant, Owner: verdict.owner,
		NotBefore: when.notBefore, NotAfter: when.notAfter, Policy: e.hash,
		NoChallenges: verdict.trusted, SingleUse: verdict.singleUse,
	}, nil
}

// OnlyProfile is the profile that the grants of a caller name, if it is a single one;
// else "".
func (e *Engine) OnlyProfile(p identity.Principal) string {
	granted, _ := e.grantsOf(identity.Request{Principal: p})
	if offered := e.offered(granted); len(offered) == 1 {
		return offered[0]
	}
	return ""
}

func denied(broken []problem.Violation) error {
	return &problem.Problem{Kind: problem.Denied, Detail: "the policy does not allow this certificate", Violations: broken}
}

// unknownProfile is a request for no profile, or for one that there is not (any
// more). It offers the profiles that the caller can name, and no others.
func unknownProfile(name string, granted []*grant, offered []string) problem.Violation {
	v := problem.Violation{Reason: ReasonProfileUnknown, Rule: "profiles", Value: name, Allowed: strings.Join(offered, ", "),
		Help: "name one of the allowed profiles", Detail: fmt.Sprintf("there is no profile %.64q", name)}
	near := strict.Nearest(name, offered)
	switch {
	case name == "":
		v.Reason, v.Detail = ReasonProfileMissing, "the request names no profile"
		v.Help = fmt.Sprintf("name one of %s: --profile %s, in the agent's file profile: %[2]s", v.Allowed, strings.Join(offered[:min(1, len(offered))], ""))
	case slices.ContainsFunc(granted, func(g *grant) bool { return slices.Contains(g.profiles, name) }):
		v.Detail = fmt.Sprintf("the policy in force no longer has the profile %.64q, which the grant names", name)
	case near != "":
		v.Help = fmt.Sprintf("did you mean %q?", near)
	}
	if len(offered) == 0 {
		v.Help = "ask the administrator for a grant"
		if v.Allowed = "no profile"; name != "" && len(granted) > 0 {
			v.Help = "ask the administrator for a new grant or token: of the profiles of this one there is none any more"
		}
	}
	return v
}

// checkForm judges kind and number of names, and each name's form.
func checkForm(profile Profile, req identity.Request) []problem.Violation {
	var broken []problem.Violation
	rule := "profile " + profile.Name
	if req.Kind != profile.Kind {
		broken = append(broken, problem.Violation{Reason: ReasonKind, Rule: rule + ": kind", Value: string(req.Kind),
			Allowed: string(profile.Kind), Detail: fmt.Sprintf("the profile is for certificates of kind %s", profile.Kind)})
	}
	switch n := len(req.Identifiers); {
	case n == 0:
		broken = append(broken, problem.Violation{Reason: ReasonNamesMissing, Rule: rule, Value: "0", Allowed: "at least one name",
			Help: "ask for a DNS name, an IP address, a URI or an email address", Detail: "the request names nothing"})
	case n > profile.MaxNames:
		broken = append(broken, problem.Violation{Reason: ReasonTooManyNames, Rule: rule + ": max_names", Value: fmt.Sprint(n),
			Allowed: fmt.Sprint(profile.MaxNames), Help: "ask for several certificates", Detail: "the request has too many names"})
	}
	for _, id := range req.Identifiers {
		if c, err := id.Canonical(); err != nil || c != id {
			detail := fmt.Sprintf("it is written %q", c.Value)
			if err != nil {
				detail = err.Error()
			}
			broken = append(broken, problem.Violation{Reason: ReasonNameMalformed, Rule: "canonical names", Value: id.String(), Detail: detail})
		}
		if id.Wildcard() && !profile.Wildcards {
			broken = append(broken, problem.Violation{Reason: ReasonWildcard, Rule: rule + ": wildcards", Value: id.String(),
				Allowed: "names without a wildcard", Help: "name each host, or take a profile with wildcards",
				Detail: "the profile has no wildcard names"})
		}
	}
	return broken
}

// checkKey judges the key's algorithm, and gives those of the profile's key usages
// that it can be used for.
func checkKey(profile Profile, req identity.Request) ([]string, []problem.Violation) {
	name, key := describeKey(req.PublicKey)
	if !slices.Contains(profile.Keys, name) {
		return nil, []problem.Violation{{Reason: ReasonKey, Rule: "profile " + profile.Name + ": keys", Value: name,
			Allowed: strings.Join(profile.Keys, ", "), Help: "make a key of an allowed algorithm",
			Detail: fmt.Sprintf("the profile does not allow a key of %s", name)}}
	}
	return usable(profile.KeyUsage, key.Algorithm), nil
}

// labelForm is what the name of a label looks like.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// Bounds of labels: how many, and the octets of a value.
const (
	maxLabels     = 32
	maxLabelValue = 256
)

func checkLabels(profile Profile, labels map[string]string) []problem.Violation {
	var broken []problem.Violation
	for _, name := range profile.RequireLabels {
		if strings.TrimSpace(labels[name]) == "" {
			broken = append(broken, problem.Violation{Reason: ReasonLabelMissing, Rule: "profile " + profile.Name + ": require_labels",
				Value: name, Allowed: "labels " + strings.Join(profile.RequireLabels, ", "), Help: "give the label " + name + " a value",
				Detail: fmt.Sprintf("the label %q is not there", name)})
		}
	}
	malformed := len(labels) > maxLabels
	for name, value := range labels {
		malformed = malformed || !labelForm.MatchString(name) || len(value) > maxLabelValue ||
			!utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	if malformed {
		broken = append(broken, problem.Violation{Reason: ReasonLabelMalformed, Rule: "labels",
			Allowed: fmt.Sprintf("%d labels, names %s, printable values of %d octets", maxLabels, labelForm, maxLabelValue),
			Detail:  "a label has not the form of a label"})
	}
	return broken
}
