package acme

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/storage"
)

// orderPayload is the payload of newOrder (RFC 8555 §7.4, RFC 9773 §5,
// draft-ietf-acme-profiles §4).
type orderPayload struct {
	Identifiers []Identifier `json:"identifiers"`
	NotBefore   *time.Time   `json:"notBefore"`
	NotAfter    *time.Time   `json:"notAfter"`
	Profile     string       `json:"profile"`
	Replaces    string       `json:"replaces"`
}

// newOrder makes an order (RFC 8555 §7.4). What the policy would refuse at the end
// it refuses here.
func (s *Server) newOrder(ctx context.Context, q *request) error {
	var p orderPayload
	if err := q.decode(&p); err != nil {
		return err
	}
	names, err := s.readIdentifiers(p.Identifiers)
	if err != nil {
		return err
	}
	if err := s.limitOrders(q.account.ID, names); err != nil {
		return err
	}
	now := s.now().UTC().Truncate(time.Second)
	o := &order{
		ID: newID(now), Account: q.account.ID, Status: statusPending, Identifiers: names, Replaces: p.Replaces,
		Created: now, Expires: now.Add(s.config.OrderLifetime),
	}
	if p.NotBefore != nil {
		o.NotBefore = p.NotBefore.UTC().Truncate(time.Second)
	}
	if p.NotAfter != nil {
		o.NotAfter = p.NotAfter.UTC().Truncate(time.Second)
	}
	decision, err := s.decideOrder(q.account, o, p.Profile)
	if err != nil {
		return err
	}
	if o.Replaces != "" {
		if err := s.checkReplaces(ctx, q.account, o); err != nil {
			return err
		}
	}
	authz, unit, err := s.authorize(ctx, q.account, o, decision)
	if err != nil {
		return err
	}
	put, err := o.put(now)
	if err != nil {
		return err
	}
	if err := s.commitFor(ctx, q.account, append(unit, put)); err != nil {
		return storeFault(err)
	}
	q.location(s.orderURL(o.ID))
	return q.json(http.StatusCreated, s.orderObject(o, authz))
}

// readIdentifiers brings identifiers into canonical form, sorted and each once, or
// tells of each that cannot be ordered.
func (s *Server) readIdentifiers(wanted []Identifier) ([]Identifier, error) {
	if len(wanted) == 0 {
		return nil, refuse(Malformed, "the order has no identifiers")
	}
	var subs []Document
	var names []identity.Identifier
	for _, id := range wanted[:min(len(wanted), 2*s.config.MaxNames)] {
		name, sub := s.readIdentifier(id)
		if sub != nil {
			subs = append(subs, *sub)
			continue
		}
		names = append(names, name)
	}
	if len(subs) > 0 {
		return nil, join("some identifiers cannot be ordered", subs)
	}
	set, err := identity.CanonicalSet(names)
	if err != nil {
		return nil, refuse(RejectedIdentifier, "%s", err)
	}
	if len(set) > s.config.MaxNames || len(wanted) > 2*s.config.MaxNames {
		return nil, refuse(Malformed, "the order has %d identifiers: %d are allowed", len(wanted), s.config.MaxNames)
	}
	out := make([]Identifier, len(set))
	for i, id := range set {
		out[i] = wire(id)
	}
	return out, nil
}

// readIdentifier is an identifier in canonical form, or why it cannot be ordered.
func (s *Server) readIdentifier(id Identifier) (identity.Identifier, *Document) {
	id = Identifier{shorten(id.Type, 32), shorten(id.Value, 300)}
	if id.Type != string(identity.DNS) && id.Type != string(identity.IP) {
		sub := subproblem(UnsupportedIdentifier, id, "identifiers of type %q are not supported, only dns and ip", id.Type)
		return identity.Identifier{}, &sub
	}
	name, err := id.identity().Canonical()
	if err != nil {
		sub := subproblem(RejectedIdentifier, id, "%s", err)
		return identity.Identifier{}, &sub
	}
	base, wildcard := baseOf(name)
	if len(s.offered(base, wildcard)) == 0 && len(s.validators) > 0 {
		sub := subproblem(RejectedIdentifier, id, "no challenge that this server offers can prove it")
		return identity.Identifier{}, &sub
	}
	return name, nil
}

func shorten(text string, most int) string { return text[:min(len(text), most)] }

// baseOf is the identifier of the authorization for a name.
func baseOf(name identity.Identifier) (base identity.Identifier, wildcard bool) {
	if value, ok := strings.CutPrefix(name.Value, "*."); ok && name.Type == identity.DNS {
		return identity.Identifier{Type: identity.DNS, Value: value}, true
	}
	return name, false
}

// offered are the challenge types for an identifier, in the configured order.
func (s *Server) offered(base identity.Identifier, wildcard bool) []string {
	var types []string
	for _, v := range s.config.Validators {
		if v.Offers(base, wildcard) {
			types = append(types, v.Type())
		}
	}
	return types
}

// limitOrders counts an order against the account's limits.
func (s *Server) limitOrders(account string, names []Identifier) error {
	if wait := s.limits.orders.take(account); wait > 0 {
		return limited(wait, "orders of this account")
	}
	for _, id := range names {
		key := account + " " + id.Type + ":" + id.Value
		if wait := s.limits.names.take(key); wait > 0 {
			return limited(wait, "orders of this account for "+id.Value)
		}
		if wait := s.limits.failures.wait(failureKey(account, id.identity())); wait > 0 {
			return limited(wait, "failed validations of this account for "+id.Value)
		}
	}
	return nil
}

func failureKey(account string, name identity.Identifier) string {
	base, _ := baseOf(name)
	return account + " " + base.String()
}

// decideOrder asks the policy about the order without its key and sets the order's
// profile: the one that is asked for, else the first granted one that allows it.
func (s *Server) decideOrder(a *account, o *order, profile string) (policy.Decision, error) {
	engine := s.policy()
	req := identity.Request{
		Kind: identity.X509, Profile: profile, Principal: a.principal(), Identifiers: o.names(),
		NotBefore: o.NotBefore, NotAfter: o.NotAfter, Owner: a.Owner,
	}
	candidates := engine.GrantedProfiles(req.Principal)
	switch {
	case profile != "" && !slices.ContainsFunc(engine.ACMEProfiles(), func(p policy.Profile) bool { return p.Name == profile }) &&
		!slices.Contains(candidates, profile):
		return policy.Decision{}, refuse(InvalidProfile, "there is no profile %.64q: the directory's meta lists those that there are", profile)
	case profile != "":
		candidates = []string{profile}
	case len(candidates) == 0:
		return policy.Decision{}, refuse(Unauthorized, "no grant of the policy is for this account: ask the administrator for one")
	}
	var first error
	for _, name := range candidates {
		req.Profile = name
		decision, err := engine.DecideNames(req, s.now())
		if err == nil {
			o.Profile = name
			return decision, nil
		}
		if first == nil {
			first = err
		}
	}
	if s.config.Refusals != nil {
		req.Profile = candidates[0]
		s.config.Refusals.Note(ca.NewRefusal(req, first, s.now()))
	}
	return policy.Decision{}, asOrderFault(first)
}

// asOrderFault is a refusal at newOrder.
func asOrderFault(err error) error {
	if problem.KindOf(err) == problem.Internal {
		return err
	}
	return asFault(err)
}

// reuseMargin is how long an authorization must still be good for to be reused.
const reuseMargin = 10 * time.Minute

// authorize finds or makes the authorization of each identifier. The unit makes
// the new ones.
func (s *Server) authorize(ctx context.Context, a *account, o *order, decision policy.Decision) ([]*authorization, storage.Unit, error) {
	var all []*authorization
	var unit storage.Unit
	for _, name := range o.names() {
		base, wildcard := baseOf(name)
		z, err := s.reusable(ctx, a.ID, wire(base), wildcard)
		if err != nil {
			return nil, nil, storeFault(err)
		}
		if z == nil {
			if z, err = s.draftAuthorization(a, base, wildcard, o.Expires, decision); err != nil {
				return nil, nil, err
			}
			put, err := z.put(s.now())
			if err != nil {
				return nil, nil, err
			}
			unit = append(unit, put)
		}
		if z.Expires.Before(o.Expires) {
			o.Expires = z.Expires
		}
		all = append(all, z)
		o.Authorizations = append(o.Authorizations, z.ID)
	}
	return all, unit, nil
}

// reusable finds a valid authorization of the account for the same identifier and
// wildcardness; nil if there is none.
func (s *Server) reusable(ctx context.Context, account string, base Identifier, wildcard bool) (*authorization, error) {
	var after []byte
	for {
		page, err := s.store.Records(ctx, authzCollection, indexValid, reuseKey(account, base, wildcard), after, 16)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			z, err := decodeAuthorization(r)
			if err != nil {
				return nil, err
			}
			if z.status(s.now().Add(reuseMargin)) == statusValid && z.Account == account && z.Identifier == base && z.Wildcard == wildcard {
				return z, nil
			}
		}
		if after = page.Next; after == nil {
			return nil, nil //nolint:nilnil // none is no error
		}
	}
}

// draftAuthorization is a new authorization: pending with the challenges that can
// prove it, or valid if the account's grant asks for none.
func (s *Server) draftAuthorization(
	a *account, base identity.Identifier, wildcard bool, expires time.Time, decision policy.Decision,
) (*authorization, error) {
	z := &authorization{
		ID: newID(s.now()), Account: a.ID, Identifier: wire(base), Wildcard: wildcard, Status: statusPending, Expires: expires,
		Challenges: []proof{},
	}
	if decision.NoChallenges {
		z.Status, z.Grant = statusValid, decision.Grant
		return z, nil
	}
	types := s.offered(base, wildcard)
	if len(types) == 0 {
		return nil, join("some identifiers cannot be ordered", []Document{
			subproblem(RejectedIdentifier, z.Identifier, "no challenge that this server offers can prove it"),
		})
	}
	z.Token = newToken()
	for _, kind := range types {
		z.Challenges = append(z.Challenges, proof{Type: kind, Status: statusPending})
	}
	return z, nil
}

// newAuthorization authorizes an identifier before it is ordered (RFC 8555 §7.4.1).
func (s *Server) newAuthorization(ctx context.Context, q *request) error {
	var p struct {
		Identifier Identifier `json:"identifier"`
	}
	if err := q.decode(&p); err != nil {
		return err
	}
	if strings.HasPrefix(p.Identifier.Value, "*") {
		return refuse(Malformed, "a wildcard cannot be authorized before it is ordered")
	}
	names, err := s.readIdentifiers([]Identifier{p.Identifier})
	if err != nil {
		return err
	}
	if err := s.limitOrders(q.account.ID, names); err != nil {
		return err
	}
	now := s.now().UTC().Truncate(time.Second)
	o := &order{Identifiers: names, Expires: now.Add(s.config.OrderLifetime)}
	decision, err := s.decideOrder(q.account, o, "")
	if err != nil {
		return err
	}
	all, unit, err := s.authorize(ctx, q.account, o, decision)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if len(unit) > 0 {
		status = http.StatusCreated
		if err := s.commitFor(ctx, q.account, unit); err != nil {
			return storeFault(err)
		}
	}
	q.location(s.authzURL(all[0].ID))
	return q.json(status, s.authzObject(all[0]))
}
