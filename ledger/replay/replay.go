// Package replay judges what a ledger has recorded by the policies that it has
// recorded: each intent by the one in force, conditions included, as the policy engine
// judged the request. What the judgement needs and the ledger no longer tells, such as
// a label that was erased, is told as not checkable.
package replay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/merkle/entry"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/storage"
)

// Source is a ledger's entries and what is erasable.
type Source interface {
	// Entries are at most n raw entries from index start.
	Entries(ctx context.Context, start uint64, n int) ([][]byte, error)
	// Erasable is the value behind a commitment; storage.ErrNotFound once erased, or if
	// this source has no values.
	Erasable(ctx context.Context, commitment [32]byte) (value []byte, salt [32]byte, err error)
}

// Config says what to replay.
type Config struct {
	Source Source
	Size   uint64 // entries
	// Progress is told how many entries are done; nil: nobody.
	Progress func(done, total uint64)
}

// Summary is the result.
type Summary struct {
	Entries  uint64
	Intents  uint64 // that were judged
	Policies uint64
	Findings uint64
	// Unchecked counts, for each rule that could not be judged, the intents.
	Unchecked map[string]uint64
}

// UncheckedRules are its keys, sorted.
func (s Summary) UncheckedRules() []string { return slices.Sorted(maps.Keys(s.Unchecked)) }

// run is one replay.
type run struct {
	Config
	report   func(storage.Finding)
	summary  Summary
	hash     [32]byte
	replayer *policy.Replayer
	tokens   map[string]*identity.Bound // the grants that join tokens carry; nil: not all of it is known
}

const batch = 512

// Run replays a ledger. What does not hold goes to report: kind "policy" for what a
// policy does not allow, "entry" for what cannot be read.
func Run(ctx context.Context, c Config, report func(storage.Finding)) (Summary, error) {
	r := &run{Config: c, report: report, tokens: map[string]*identity.Bound{}}
	r.summary.Unchecked = map[string]uint64{}
	for index := uint64(0); index < c.Size; {
		if err := ctx.Err(); err != nil {
			return r.summary, err
		}
		raws, err := c.Source.Entries(ctx, index, int(min(batch, c.Size-index)))
		if err != nil {
			return r.summary, fmt.Errorf("read entry %d and on: %w", index, err)
		}
		if len(raws) == 0 {
			return r.summary, fmt.Errorf("entry %d is missing: run \"certwright ledger verify\"", index)
		}
		for _, raw := range raws {
			if err := r.entry(ctx, index, raw); err != nil {
				return r.summary, err
			}
			index++
		}
		r.summary.Entries = index
		if c.Progress != nil {
			c.Progress(index, c.Size)
		}
	}
	return r.summary, nil
}

func (r *run) finding(kind string, index uint64, subject, detail string) {
	r.summary.Findings++
	r.report(storage.Finding{Kind: kind, Index: index, Subject: subject, Detail: detail})
}

func (r *run) unchecked(rule string) { r.summary.Unchecked[rule]++ }

// entry takes one entry.
func (r *run) entry(ctx context.Context, index uint64, raw []byte) error {
	e, err := entry.Parse(raw)
	if err != nil {
		r.finding("entry", index, "", err.Error())
		return nil
	}
	switch e.Kind {
	case entry.PolicyChange, entry.AdminAction, entry.IssuanceIntent:
	default:
		return nil
	}
	body, err := entry.ParseBody(e.Draft)
	if err != nil {
		r.finding("entry", index, "", err.Error())
		return nil
	}
	switch b := body.(type) {
	case entry.Policy:
		r.summary.Policies++
		r.hash = b.Hash()
		if r.replayer, err = policy.NewReplayer("policy", b.Document); err != nil {
			r.finding("policy", index, fmt.Sprintf("%x", r.hash[:8]), "the policy cannot be read: "+oneLine(err))
		}
	case entry.Action:
		if b.Action == "token.created" {
			return r.token(ctx, b)
		}
	case entry.Intent:
		return r.intent(ctx, index, e, b)
	}
	return nil
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// token remembers the grant that a token carries: it stands in the entry, addresses
// and mailboxes behind commitments.
func (r *run) token(ctx context.Context, a entry.Action) error {
	bound := &identity.Bound{Name: "token:" + a.Target}
	list := func(text string) []string {
		if text == "" {
			return nil
		}
		return strings.Split(text, ",")
	}
	for _, field := range strings.Fields(a.Detail) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "owner":
			bound.Owner = value
		case "profiles":
			bound.Profiles = list(value)
		case "dns":
			bound.Allow.DNS = list(value)
		case "uri":
			bound.Allow.URI = list(value)
		}
	}
	for _, commitment := range a.Commitments {
		value, known, err := r.erasable(ctx, commitment)
		if err != nil {
			return err
		}
		kind, pattern, _ := strings.Cut(string(value), ":")
		switch {
		case !known:
			r.tokens[bound.Name] = nil
			return nil
		case kind == "ip":
			bound.Allow.IP = append(bound.Allow.IP, pattern)
		case kind == "email":
			bound.Allow.Email = append(bound.Allow.Email, pattern)
		}
	}
	r.tokens[bound.Name] = bound
	return nil
}

// erasable is a value that is still there, and that is the committed one.
func (r *run) erasable(ctx context.Context, commitment [32]byte) (value []byte, known bool, err error) {
	value, salt, err := r.Source.Erasable(ctx, commitment)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil && entry.Commit(salt, value) == commitment, err
}

// intent judges one certificate.
func (r *run) intent(ctx context.Context, index uint64, e entry.Entry, i entry.Intent) error {
	r.summary.Intents++
	cert, err := ledger.CertificateOf(i.TBS)
	if err != nil {
		r.finding("entry", index, "", err.Error())
		return nil
	}
	subject := fmt.Sprintf("%x", cert.SerialNumber)
	if r.hash != i.Policy {
		r.finding("policy", index, subject, fmt.Sprintf("it was allowed under the policy %x, and %x was in force", i.Policy[:8], r.hash[:8]))
	}
	if r.replayer == nil {
		r.unchecked("everything: the policy cannot be read")
		return nil
	}
	method, id, _ := strings.Cut(e.Actor, ":")
	who := identity.Principal{Method: identity.Method(method), ID: id}
	if who.Method == identity.System {
		r.unchecked("the server's own grant")
		return nil
	}
	past := policy.Past{Grant: i.Grant, At: e.Time, Renewal: who.Method == identity.MTLS && i.Replaces != [32]byte{}}
	if past.Request, err = request(cert, i); err != nil {
		r.finding("policy", index, subject, err.Error())
		return nil
	}
	if past.Request.Labels, err = r.labels(ctx, i.Labels); err != nil {
		return err
	}
	past.NoLabels = past.Request.Labels == nil
	r.principal(&past, &who)
	past.Request.Principal = who
	result := r.replayer.Replay(past)
	for _, broken := range result.Broken {
		r.finding("policy", index, subject, broken.String())
	}
	for _, rule := range result.Unchecked {
		r.unchecked(rule)
	}
	return nil
}

// principal says what is known of the caller.
func (r *run) principal(past *policy.Past, who *identity.Principal) {
	switch who.Method {
	case identity.LocalSocket:
		who.Roles = []identity.Role{identity.RoleAdmin}
	case identity.Token:
		who.Roles = []identity.Role{identity.RoleRequester}
	default:
		past.NoClaims, past.NoRoles = true, true
	}
	if strings.Contains(past.Grant, ":") { // a credential's own grant
		who.Bound = r.tokens[past.Grant]
		past.NoGrant = who.Bound == nil
	}
}

// labels are those behind the commitments; nil: not all of them are there any more.
func (r *run) labels(ctx context.Context, commitments [][32]byte) (map[string]string, error) {
	labels := map[string]string{}
	for _, commitment := range commitments {
		value, known, err := r.erasable(ctx, commitment)
		if err != nil || !known {
			return nil, err
		}
		name, text, _ := strings.Cut(string(value), "=")
		labels[name] = text
	}
	return labels, nil
}

// request is what was asked, as far as the certificate says it.
func request(cert *x509.Certificate, i entry.Intent) (identity.Request, error) {
	req := identity.Request{
		Kind: identity.X509, Profile: i.Profile, PublicKey: cert.PublicKey, Owner: i.Owner,
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, CSRHash: i.CSR,
	}
	var names []identity.Identifier
	for _, n := range cert.DNSNames {
		names = append(names, identity.Identifier{Type: identity.DNS, Value: n})
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, identity.Identifier{Type: identity.IP, Value: ip.String()})
	}
	for _, u := range cert.URIs {
		names = append(names, identity.Identifier{Type: identity.URI, Value: u.String()})
	}
	for _, m := range cert.EmailAddresses {
		names = append(names, identity.Identifier{Type: identity.Email, Value: m})
	}
	var err error
	if req.Identifiers, err = identity.CanonicalSet(names); err != nil {
		return req, fmt.Errorf("a name is not canonical: %w", err)
	}
	return req, nil
}
