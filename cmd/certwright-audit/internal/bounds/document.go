// Package bounds knows as much of the language of policies as an auditor needs: the
// bounds that a profile and a grant set on a certificate, and that can be told from
// the certificate and its entry alone. It is no part of the core: it reads YAML, by
// the reader that the server uses, and the core meets it through an interface.
//
// It reads what it needs and passes over the rest, so that a newer language does not
// stop an older auditor. Conditions, claims and credentials' own grants cannot be
// checked from outside; "certwright ledger audit" replays what can be.
package bounds

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/certwright/certwright/cmd/certwright-audit/internal/book"
)

// maxDocument is the most octets of a policy that the ledger holds.
const maxDocument = 48 << 10

// document is what is read of a policy.
type document struct {
	Version  int       `yaml:"version"`
	Profiles []profile `yaml:"profiles"`
	Deny     names     `yaml:"deny"`
	Grants   []grant   `yaml:"grants"`
}

// profile bounds what a certificate may look like.
type profile struct {
	Name        string   `yaml:"name"`
	Keys        []string `yaml:"keys"`
	Validity    validity `yaml:"validity"`
	KeyUsage    []string `yaml:"key_usage"`
	ExtKeyUsage []string `yaml:"ext_key_usage"`
	Wildcards   bool     `yaml:"wildcards"`
	MaxNames    int      `yaml:"max_names"`
}

type validity struct {
	Max      duration `yaml:"max"`
	Backdate duration `yaml:"backdate"`
}

// grant bounds who may have which names.
type grant struct {
	Name     string   `yaml:"name"`
	Profiles []string `yaml:"profiles"`
	Allow    names    `yaml:"allow"`
	Deny     names    `yaml:"deny"`
}

// names are patterns by type.
type names struct {
	DNS   []string `yaml:"dns"`
	IP    []string `yaml:"ip"`
	URI   []string `yaml:"uri"`
	Email []string `yaml:"email"`
}

// duration is "720h", or "30d" of 24 hours.
type duration time.Duration

var days = regexp.MustCompile(`^([0-9]{1,5})d$`)

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	if m := days.FindStringSubmatch(node.Value); m != nil {
		n, err := strconv.Atoi(m[1])
		*d = duration(time.Duration(n) * 24 * time.Hour)
		return err
	}
	v, err := time.ParseDuration(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %.32q is not a duration", node.Line, node.Value)
	}
	*d = duration(v)
	return nil
}

// rules are a document, ready to check with.
type rules struct {
	profiles map[string]profile
	grants   map[string]compiled
	deny     patterns
}

// compiled is a grant with its patterns.
type compiled struct {
	grant
	allow, deny patterns
}

// Read implements book.ReadRules.
func Read(data []byte) (book.Rules, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("it has more than %d octets", maxDocument)
	}
	var doc document
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("it is not the YAML of a policy: %w", err)
	}
	if doc.Version != 1 {
		return nil, fmt.Errorf("it is of version %d, and this program knows 1", doc.Version)
	}
	if len(doc.Profiles) == 0 {
		return nil, errors.New("it has no profiles")
	}
	r := &rules{profiles: map[string]profile{}, grants: map[string]compiled{}}
	for _, p := range doc.Profiles {
		if p.MaxNames == 0 {
			p.MaxNames = 100
		}
		if p.Validity.Max <= 0 {
			return nil, fmt.Errorf("the profile %.64q has no validity.max", p.Name)
		}
		r.profiles[p.Name] = p
	}
	var err error
	if r.deny, err = compile(doc.Deny); err != nil {
		return nil, fmt.Errorf("deny: %w", err)
	}
	for _, g := range doc.Grants {
		c := compiled{grant: g}
		if c.allow, err = compile(g.Allow); err != nil {
			return nil, fmt.Errorf("grant %.64q: allow: %w", g.Name, err)
		}
		if c.deny, err = compile(g.Deny); err != nil {
			return nil, fmt.Errorf("grant %.64q: deny: %w", g.Name, err)
		}
		r.grants[g.Name] = c
	}
	return r, nil
}
