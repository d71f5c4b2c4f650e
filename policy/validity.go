package policy

import (
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// period is the time of a certificate, both ends inclusive and whole seconds.
type period struct {
	notBefore, notAfter time.Time
	asked               bool // the request says when it ends
	broken              []problem.Violation
}

func (p *period) fail(reason, rule, value, allowed, help, detail string) {
	p.broken = append(p.broken, problem.Violation{
		Reason: reason, Rule: rule, Value: value, Allowed: allowed, Help: help, Detail: detail,
	})
}

// seconds is the length as it is bounded: the last second counts.
func (p *period) seconds() int64 {
	return p.notAfter.Unix() - p.notBefore.Unix() + 1
}

// length is the length as it is shown.
func (p *period) length() string {
	const century = 100 * 365 * 24 * 3600
	if p.seconds() > century {
		return "more than 100 years"
	}
	return Duration(time.Duration(p.seconds()) * time.Second).String()
}

// decidePeriod is when the certificate begins and ends: what the request
// wishes, within the bounds of the profile and of the issuer.
func decidePeriod(profile Profile, issuer *issuer, req identity.Request, now time.Time) period {
	now = now.UTC().Truncate(time.Second)
	p := period{asked: req.Validity != 0 || !req.NotAfter.IsZero()}
	rule := "profile " + profile.Name + ": validity"
	if req.Validity != 0 && !req.NotAfter.IsZero() || req.Validity < 0 || req.Validity > 0 && req.Validity < time.Second {
		p.fail(ReasonValidityInvalid, rule, Duration(req.Validity).String(), "one of validity and notAfter, of at least a second", "give a validity, or an end, or neither",
			"the wished validity cannot be read")
		req.Validity, req.NotAfter = 0, time.Time{}
	}
	p.begin(profile, issuer, req, now)
	p.end(profile, req, now)
	maximum := time.Duration(profile.Validity.Max)
	switch {
	case p.notAfter.Before(p.notBefore) || p.notAfter.Before(now):
		p.fail(ReasonValidityInvalid, rule, p.notAfter.Format(time.RFC3339), "an end after the beginning, and after now", "",
			"the certificate would end before it begins, or has ended already")
	case p.notAfter.Sub(p.notBefore) > maximum-time.Second:
		p.fail(ReasonValidity, rule+".max", p.length(), profile.Validity.Max.String(),
			"ask for at most "+profile.Validity.Max.String(), "the certificate would be valid for too long: "+p.length())
	case p.notAfter.Sub(now) > maximum-time.Second:
		p.fail(ReasonValidity, rule+".max", p.notAfter.Format(time.RFC3339), now.Add(maximum-time.Second).Format(time.RFC3339),
			"ask for it when it is needed", "the certificate would end more than "+profile.Validity.Max.String()+" from now")
	}
	p.withinIssuer(issuer, now)
	return p
}

// begin sets the beginning: the wish, or a little before now for clocks that
// are behind; at most a tenth of a wished validity before.
func (p *period) begin(profile Profile, issuer *issuer, req identity.Request, now time.Time) {
	backdate := time.Duration(profile.Validity.Backdate)
	earliest := now.Add(-backdate)
	if !req.NotBefore.IsZero() {
		p.notBefore = req.NotBefore.UTC().Truncate(time.Second)
		if p.notBefore.Before(earliest) {
			p.fail(ReasonNotBefore, "profile "+profile.Name+": validity.backdate", p.notBefore.Format(time.RFC3339),
				earliest.Format(time.RFC3339)+" or later", "leave notBefore out", "the certificate would begin too long before now")
		}
		return
	}
	p.notBefore = earliest
	if req.Validity > 0 {
		p.notBefore = now.Add(-min(backdate, req.Validity/10).Truncate(time.Second))
	}
	if issuer != nil && issuer.notBefore.After(p.notBefore) && !issuer.notBefore.After(now) {
		p.notBefore = issuer.notBefore
	}
}

// end sets the end. A wished end moves the beginning towards now if that brings
// the whole within the bounds.
func (p *period) end(profile Profile, req identity.Request, now time.Time) {
	maximum := time.Duration(profile.Validity.Max)
	switch {
	case !req.NotAfter.IsZero():
		p.notAfter = req.NotAfter.UTC().Truncate(time.Second)
		if fitting := p.notAfter.Add(time.Second - maximum); req.NotBefore.IsZero() && fitting.After(p.notBefore) && !fitting.After(now) {
			p.notBefore = fitting
		}
	case req.Validity > 0:
		p.notAfter = p.notBefore.Add(req.Validity.Truncate(time.Second) - time.Second)
	default:
		p.notAfter = p.notBefore.Add(time.Duration(profile.Validity.Default) - time.Second)
		if latest := now.Add(maximum - time.Second); p.notAfter.After(latest) {
			p.notAfter = latest
		}
	}
}

// withinIssuer keeps a leaf from outliving its issuer: an end that nobody asked
// for is moved.
func (p *period) withinIssuer(issuer *issuer, now time.Time) {
	if issuer == nil {
		return
	}
	rule, end := "issuer "+issuer.name+": notAfter", issuer.notAfter.Format(time.RFC3339)
	switch {
	case issuer.notAfter.Before(now):
		p.fail(ReasonIssuerExpired, rule, now.Format(time.RFC3339), end, "the administrator must set up a new issuer",
			"the issuer's certificate has ended")
	case !p.notAfter.After(issuer.notAfter):
	case p.asked:
		p.fail(ReasonIssuerEnds, rule, p.notAfter.Format(time.RFC3339), end, "ask for an end not after "+end,
			"the certificate would outlive its issuer")
	case issuer.notAfter.Before(p.notBefore):
		p.fail(ReasonIssuerEnds, rule, p.notBefore.Format(time.RFC3339), end, "ask for an earlier beginning",
			"the certificate would begin after its issuer has ended")
	default:
		p.notAfter = issuer.notAfter
	}
}
