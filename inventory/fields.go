package inventory

import (
	"context"
	"net/netip"
	"strings"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/storage"
)

// fields are what a filter over certificates may name. Their names are those of
// the API's Certificate.
func fields() []filter.Field {
	names := func(name string, kind identity.IdentifierType) filter.Field {
		return filter.Field{Name: name, Type: filter.Texts, Canonical: canonical(kind)}
	}
	return []filter.Field{
		{Name: "id", Type: filter.Text, Canonical: lower},
		{Name: "serial", Type: filter.Text, Canonical: canonicalSerial},
		{Name: "issuer", Type: filter.Text},
		{Name: "profile", Type: filter.Text},
		{Name: "owner", Type: filter.Text},
		{Name: "grant", Type: filter.Text},
		{Name: "requester", Type: filter.Text},
		{Name: "policy_version", Type: filter.Text, Canonical: lower},
		{Name: "spki_sha256", Type: filter.Text, Canonical: lower},
		{Name: "state", Type: filter.Text, Values: []string{
			StateReserved, StateIssued, StateAbandoned, StateRevoked, StateExpired}},
		{Name: "name", Type: filter.Texts, Canonical: anyName},
		names("dns_names", identity.DNS),
		names("ip_addresses", identity.IP),
		names("uris", identity.URI),
		names("emails", identity.Email),
		{Name: "not_before", Type: filter.Time},
		{Name: "not_after", Type: filter.Time},
		{Name: "create_time", Type: filter.Time},
		{Name: "superseded", Type: filter.Bool},
		{Name: "ledger_index", Type: filter.Number},
		{Name: "crl_shard", Type: filter.Number},
		{Name: "labels", Type: filter.Map},
	}
}

// Changing are those of the fields a filter names whose value for the same
// certificate may be another one later: what the filter selects may then change
// without a new certificate: an intent gets its ID when it is signed. The error is
// Search's for a filter.
func Changing(text string) ([]string, error) {
	f, err := filter.Compile(text, fields())
	if err != nil {
		return nil, err
	}
	var changing []string
	for _, name := range f.Fields() {
		if name == "id" || name == "state" || name == "superseded" || strings.HasPrefix(name, "labels.") {
			changing = append(changing, name)
		}
	}
	return changing, nil
}

func lower(text string) (string, error) { return strings.ToLower(text), nil }

func canonicalSerial(text string) (string, error) {
	serial, err := identity.ParseSerial(text)
	if err != nil {
		return "", err
	}
	return serial.String(), nil
}

func canonical(kind identity.IdentifierType) func(string) (string, error) {
	return func(text string) (string, error) {
		id, err := identity.Identifier{Type: kind, Value: text}.Canonical()
		return id.Value, err
	}
}

// anyName is the canonical form of a name of whichever type it looks like.
func anyName(text string) (string, error) { return canonical(kindOf(text))(text) }

func kindOf(text string) identity.IdentifierType {
	if _, err := netip.ParseAddr(text); err == nil {
		return identity.IP
	}
	switch {
	case strings.Contains(text, "://"):
		return identity.URI
	case strings.Contains(text, "@"):
		return identity.Email
	}
	return identity.DNS
}

// values answers the fields of one certificate; what costs reads is read when a
// filter asks, and its error is kept.
type values struct {
	search *search
	ctx    context.Context //nolint:containedctx // lives for one Match, whose signature has none
	c      storage.Certificate
	err    error
}

func (v *values) field(name string) any {
	c := v.c
	switch name {
	case "id":
		if c.State == storage.Issued {
			return identity.KeyID(c.Fingerprint).String()
		}
		return ""
	case "serial":
		return c.Serial.String()
	case "issuer":
		return v.search.inventory.IssuerName(c.Issuer)
	case "profile":
		return c.Intent.Profile
	case "owner":
		return c.Intent.Owner
	case "grant":
		return c.Intent.Grant
	case "requester":
		return c.Requester
	case "policy_version":
		return identity.KeyID(c.Intent.Policy).String()
	case "spki_sha256":
		return c.SPKI.String()
	case "state":
		return StateOf(c, v.search.now)
	}
	return v.measure(name)
}

// measure answers the times and numbers.
func (v *values) measure(name string) any {
	switch c := v.c; name {
	case "not_before":
		return c.NotBefore
	case "not_after":
		return c.NotAfter
	case "create_time":
		return c.Time
	case "ledger_index":
		return c.Index
	case "crl_shard":
		return uint64(c.CRLShard)
	}
	return v.more(name)
}

func (v *values) more(name string) any {
	switch name {
	case "name":
		return v.names("")
	case "dns_names":
		return v.names(identity.DNS)
	case "ip_addresses":
		return v.names(identity.IP)
	case "uris":
		return v.names(identity.URI)
	case "emails":
		return v.names(identity.Email)
	case "superseded":
		superseded, err := v.search.successors.of(v.ctx, v.c)
		v.keep(err)
		return superseded
	}
	if key, ok := strings.CutPrefix(name, "labels."); ok {
		labels, err := v.search.inventory.Labels(v.ctx, v.c)
		v.keep(err)
		return labels[key]
	}
	return nil
}

func (v *values) keep(err error) {
	if v.err == nil {
		v.err = err
	}
}

func (v *values) names(kind identity.IdentifierType) []string {
	var out []string
	for _, name := range v.c.Names {
		if kind == "" || name.Type == kind {
			out = append(out, name.Value)
		}
	}
	return out
}
