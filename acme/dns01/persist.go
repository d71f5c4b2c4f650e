package dns01

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/acme/challenge"
	"github.com/certwright/certwright/egress"
	"github.com/certwright/certwright/identity"
)

// maxIssuerDomains is how many names of the CA a challenge may list (§3.1).
const maxIssuerDomains = 10

// PersistConfig configures dns-persist-01.
type PersistConfig struct {
	Egress *egress.Client
	// IssuerDomains are the names of this CA, as the challenge object lists them
	// (issuer-domain-names); at least one, of which the first 10 count.
	IssuerDomains []string
	// Now is the clock that persistUntil is held against; nil: time.Now.
	Now func() time.Time
}

// Persist is the Validator of dns-persist-01 (draft-ietf-acme-dns-persist-01): a
// lasting TXT record under _validation-persist that names this CA and the account.
type Persist struct {
	egress  *egress.Client
	domains []string
	now     func() time.Time
}

// NewPersist is the Validator of dns-persist-01.
func NewPersist(cfg PersistConfig) *Persist {
	p := &Persist{egress: cfg.Egress, now: cfg.Now}
	for _, domain := range cfg.IssuerDomains[:min(len(cfg.IssuerDomains), maxIssuerDomains)] {
		p.domains = append(p.domains, issuerDomain(domain))
	}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

// IssuerDomains are the names for the challenge object's issuer-domain-names.
func (p *Persist) IssuerDomains() []string { return append([]string(nil), p.domains...) }

// Type is "dns-persist-01".
func (*Persist) Type() string { return challenge.DNSPersist01 }

// Offers tells that DNS names can be proven, wildcards too (by policy=wildcard).
func (p *Persist) Offers(id identity.Identifier, _ bool) bool {
	return id.Type == identity.DNS && len(p.domains) > 0
}

// Validate looks for a record of this CA and the account, once.
func (p *Persist) Validate(ctx context.Context, target challenge.Target) (challenge.Evidence, error) {
	if err := challenge.Refuse(p, target); err != nil {
		return challenge.Evidence{}, err
	}
	name := "_validation-persist." + target.Identifier.Value
	values, at, err := p.egress.LookupTXT(ctx, name)
	evidence := challenge.Evidence{Record: at}
	if err != nil {
		return evidence, challenge.FromEgress(challenge.DNSPersist01, err)
	}
	best := verdict{challenge.Unauthorized, 0, fmt.Sprintf("none of %d TXT records names this CA (%s)", len(values), strings.Join(p.domains, ", "))}
	for _, value := range values {
		v := p.judge(value, target)
		if v.what == "" {
			return evidence, nil
		}
		if v.rank > best.rank {
			best = v
		}
	}
	hint := fmt.Sprintf("set a TXT record %q", p.domains[0]+"; accounturi="+target.AccountURL)
	if target.Wildcard {
		hint = fmt.Sprintf("set a TXT record %q", p.domains[0]+"; accounturi="+target.AccountURL+"; policy=wildcard")
	}
	return evidence, &challenge.Error{
		Type: best.kind, Host: name, Temporary: true, Hint: hint,
		Detail: challenge.DNSPersist01 + ": " + described(name, at) + ": " + best.what,
	}
}

// verdict is what is wrong with one record; the one of the highest rank came
// nearest and is told.
type verdict struct {
	kind challenge.ErrorType
	rank int
	what string
}

// judge holds one record against the target; what is empty if it proves it.
func (p *Persist) judge(value string, target challenge.Target) verdict {
	domain, rest, _ := strings.Cut(value, ";")
	domain = issuerDomain(domain)
	ours := false
	for _, d := range p.domains {
		ours = ours || d == domain
	}
	if !ours {
		return verdict{challenge.Unauthorized, 0, "a record names another CA"}
	}
	rec, err := parsePersist(rest)
	switch {
	case err != nil:
		return verdict{challenge.Malformed, 1, "the record of this CA is malformed: " + err.Error()}
	case rec.accountURI != target.AccountURL:
		return verdict{challenge.Unauthorized, 2, "the record of this CA names another account"}
	case rec.expires && p.now().Unix() > rec.until:
		return verdict{challenge.Unauthorized, 3, "the record's persistUntil has passed"}
	case target.Wildcard && !rec.wildcard:
		return verdict{challenge.Unauthorized, 4, "the record does not say policy=wildcard"}
	}
	return verdict{}
}

// persistRecord is what a record says after its issuer domain.
type persistRecord struct {
	accountURI string
	wildcard   bool
	expires    bool
	until      int64 // seconds since 1970, if expires
}

// parsePersist reads the parameters of an issue-value (RFC 8659 §4.2). Unknown ones
// are ignored; a known one may stand once. Its errors quote nothing.
func parsePersist(parameters string) (persistRecord, error) {
	var rec persistRecord
	params, err := challenge.ParseParameters(parameters)
	if err != nil {
		return rec, err
	}
	seen := map[string]bool{}
	for _, param := range params {
		key := strings.ToLower(param.Tag)
		switch key {
		case "accounturi", "policy", "persistuntil":
			if seen[key] {
				return rec, fmt.Errorf("%s stands more than once", key)
			}
			seen[key] = true
		}
		switch key {
		case "accounturi":
			rec.accountURI = param.Value
		case "policy":
			rec.wildcard = strings.EqualFold(param.Value, "wildcard")
		case "persistuntil":
			until, err := strconv.ParseUint(param.Value, 10, 63)
			if err != nil {
				return rec, fmt.Errorf("persistUntil is not a number of seconds since 1970")
			}
			rec.expires, rec.until = true, int64(until)
		}
	}
	if rec.accountURI == "" {
		return rec, fmt.Errorf("it has no accounturi")
	}
	return rec, nil
}

// issuerDomain is the name in the form in which it is compared.
func issuerDomain(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, " \t"), "."))
}
