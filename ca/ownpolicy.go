package ca

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/ca/x509cert"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
)

// judgeOwn refuses a policy under which the server could not have its own
// certificate: it would end with the one that it has, and with it every door but
// the socket. The request of the server is decided, drafted and linted as Issue
// would. The error is Malformed with a violation for each reason.
func (p *Policies) judgeOwn(engine *policy.Engine) error {
	if p.cfg.System.Profile == "" {
		return nil
	}
	broken, err := p.refusesOwn(engine)
	if err != nil || len(broken) == 0 {
		return err
	}
	for i, v := range broken {
		detail := "the server's own certificate: " + v.Detail
		if !strings.Contains(v.Detail, v.Value) {
			detail += ": " + v.Value
		}
		broken[i].Detail = detail
		broken[i].Help = fmt.Sprintf("let the profile %q be fit for the server itself: see server_names, and its key", p.cfg.System.Profile)
	}
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "SERVER_CERTIFICATE_REFUSED", Violations: broken,
		Detail: "the server could not have its own certificate under this policy",
	}
}

// refusesOwn are the rules of the policy that the server's own request breaks.
func (p *Policies) refusesOwn(engine *policy.Engine) ([]problem.Violation, error) {
	now, public := p.cfg.Now(), p.cfg.ServerKey
	if public == nil {
		var err error
		if public, err = policy.SamplePublicKey("ecdsa-p256"); err != nil {
			return nil, err
		}
	}
	req := identity.Request{
		Kind: identity.X509, Profile: p.cfg.System.Profile, Identifiers: p.cfg.System.Names, PublicKey: public,
		Principal: identity.Principal{Method: identity.System, ID: "server"},
	}
	unfit := p.unfit(engine)
	decision, err := engine.Decide(req, now)
	if err == nil {
		err = p.lintOwn(x509cert.Want{Request: req, Decision: decision, Serial: identity.NewSerial(now)})
	}
	var refusal *problem.Problem
	switch {
	case err == nil:
		return unfit, nil
	case errors.As(err, &refusal) && refusal.Kind == problem.Denied:
		return slices.Concat(refusal.Violations, unfit), nil
	}
	return nil, err
}

// unfit is what the server's profile lacks for a TLS server.
func (p *Policies) unfit(engine *policy.Engine) []problem.Violation {
	profile, _ := engine.Profile(p.cfg.System.Profile)
	var broken []problem.Violation
	lacks := func(key, want string, have []string) {
		if !slices.Contains(have, want) {
			broken = append(broken, problem.Violation{
				Reason: "USAGE_MISSING", Rule: "profile " + profile.Name + ": " + key, Value: strings.Join(have, ", "), Allowed: want,
				Detail: fmt.Sprintf("a TLS server needs %s, and the profile has %s", want, strings.Join(have, ", ")),
			})
		}
	}
	lacks("key_usage", "digital_signature", profile.KeyUsage)
	lacks("ext_key_usage", "server_auth", profile.ExtKeyUsage)
	return broken
}

// lintOwn drafts and checks the certificate; nothing is signed.
func (p *Policies) lintOwn(want x509cert.Want) error {
	i := slices.IndexFunc(p.cfg.Issuers, func(is policy.Issuer) bool { return is.Name == want.Decision.Issuer })
	if i < 0 || p.cfg.Issuers[i].Certificate == nil {
		return nil
	}
	linter, err := p.linter()
	if err != nil {
		return err
	}
	if want.Issuer, err = x509cert.NewIssuer(p.cfg.Issuers[i].Certificate, nil); err != nil {
		return err
	}
	// Where the pointers lead does not matter to lints; that they are there does.
	want.URLs = x509cert.URLs{OCSP: "http://localhost/ocsp", CAIssuers: "http://localhost/ca.crt", CRL: "http://localhost/0.crl"}
	tbs, err := x509cert.Draft(want)
	if err != nil {
		return err
	}
	_, err = linter.Check(tbs, want)
	return err
}
