package policy

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy/strict"
)

//go:embed default.yaml
var defaultDocument []byte

// Default is the document that is shipped, commented as a manual.
func Default() []byte { return slices.Clone(defaultDocument) }

// Parse reads a document strictly: unknown and doubled keys, wrong types and
// names that lead nowhere are errors. The error is a *problem.Problem of kind
// Malformed with one violation per fault, in the order of lines; the Rule of
// each is "file:line: key path".
func Parse(file string, data []byte) (*Document, error) {
	c := newCompiler(file, data)
	if err := c.read.Err(); err != nil {
		return nil, err
	}
	return &c.doc, nil
}

// The values that profiles know.
var (
	keyUsages    = []string{"digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"}
	extKeyUsages = []string{"server_auth", "client_auth", "email_protection", "code_signing", "time_stamping"}
	lintSets     = []string{"rfc5280", "certwright", "baseline"}
)

// The bounds and defaults of profiles.
const (
	maxBackdate     = Duration(time.Hour)
	defaultBackdate = Duration(time.Minute)
	maxNames        = 100
)

// SetDefaults sets what a profile is if the document does not say.
func (p *Profile) SetDefaults() {
	p.Kind, p.MaxNames = identity.X509, maxNames
	p.Validity.Backdate = defaultBackdate
}

// compiler reads a document and compiles it, noting every fault.
type compiler struct {
	read       *strict.Reader
	doc        Document
	grants     []*grant
	deny       *patterns
	conditions []*condition
	issuers    []string // names
	profiles   []string
}

func newCompiler(file string, data []byte) *compiler {
	c := &compiler{}
	c.read = strict.Read(file, data, MaxSize, &c.doc)
	c.head()
	for i := range c.doc.Profiles {
		c.profile(fmt.Sprintf("profiles[%d]", i), &c.doc.Profiles[i])
	}
	c.denied()
	for i := range c.doc.Grants {
		c.grant(fmt.Sprintf("grants[%d]", i), c.doc.Grants[i])
	}
	c.roles()
	c.compileConditions()
	return c
}

// fault notes a fault of the value at the path.
func (c *compiler) fault(path, value, allowed, detail string) {
	c.read.Fault(path, strict.Fault{Value: value, Allowed: allowed, Detail: detail})
}

// nameForm is what the name of an issuer, profile, grant or condition looks like.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

// name checks the form and that no other has it.
func (c *compiler) name(path, name string, taken *[]string) {
	switch {
	case !nameForm.MatchString(name):
		c.fault(path+".name", name, nameForm.String(), "a name is needed, of lower-case letters, digits and . _ -")
	case slices.Contains(*taken, name):
		c.fault(path+".name", name, "", fmt.Sprintf("the name %q stands here again", name))
	}
	*taken = append(*taken, name)
}

// oneOf checks that the value is a known one.
func (c *compiler) oneOf(path, what, value string, known []string) {
	if slices.Contains(known, value) {
		return
	}
	f := strict.Fault{Value: value, Allowed: strings.Join(known, ", "), Detail: fmt.Sprintf("there is no %s %q", what, value)}
	if near := strict.Nearest(value, known); near != "" {
		f.Help = fmt.Sprintf("did you mean %q?", near)
	}
	c.read.Fault(path, f)
}

func (c *compiler) allOf(path, what string, values, known []string) {
	for i, v := range values {
		c.oneOf(fmt.Sprintf("%s[%d]", path, i), what, v, known)
	}
}

// head checks version and issuers, and that there is a profile.
func (c *compiler) head() {
	if c.doc.Version != 1 {
		c.fault("version", fmt.Sprint(c.doc.Version), "1", "this version of the language is not known here")
	}
	if len(c.doc.Issuers) == 0 {
		c.fault("issuers", "", "", "there is no issuer")
	}
	if len(c.doc.Profiles) == 0 {
		c.fault("profiles", "", "", "there is no profile")
	}
	for i, spec := range c.doc.Issuers {
		path := fmt.Sprintf("issuers[%d]", i)
		c.name(path, spec.Name, &c.issuers)
		if spec.Key == "" {
			c.fault(path+".key", "", "file:PATH", "the key's URI is missing")
		}
		if spec.Certificate == "" {
			c.fault(path+".certificate", "", "", "the path of the CA certificate is missing")
		}
	}
}

// checkIssuers holds the profiles' issuers against those that there are.
func (c *compiler) checkIssuers(there map[string]*issuer) {
	for i, p := range c.doc.Profiles {
		if _, ok := there[p.Issuer]; !ok && slices.Contains(c.issuers, p.Issuer) {
			c.fault(fmt.Sprintf("profiles[%d].issuer", i), p.Issuer, "", fmt.Sprintf("the server has no issuer %q", p.Issuer))
		}
	}
}

func (c *compiler) profile(path string, p *Profile) {
	c.name(path, p.Name, &c.profiles)
	c.oneOf(path+".kind", "kind", string(p.Kind), []string{string(identity.X509)})
	c.oneOf(path+".issuer", "issuer", p.Issuer, c.issuers)
	c.allOf(path+".keys", "key algorithm", p.Keys, keyNames)
	c.allOf(path+".key_usage", "key usage", p.KeyUsage, keyUsages)
	c.allOf(path+".ext_key_usage", "extended key usage", p.ExtKeyUsage, extKeyUsages)
	c.allOf(path+".lints", "set of lints", p.Lints, lintSets)
	if len(p.Keys) == 0 {
		c.fault(path+".keys", "", strings.Join(keyNames, ", "), "it allows no key")
	}
	if len(p.ExtKeyUsage) == 0 {
		c.fault(path+".ext_key_usage", "", strings.Join(extKeyUsages, ", "), "it has no purpose")
	}
	if len(p.KeyUsage) == 0 {
		p.KeyUsage = []string{"digital_signature"}
	}
	for i, name := range p.Keys {
		if sample, err := SamplePublicKey(name); err == nil {
			if _, key := describeKey(sample); len(usable(p.KeyUsage, key.Algorithm)) == 0 {
				c.fault(fmt.Sprintf("%s.keys[%d]", path, i), name, "", "key_usage has nothing that a key of "+name+" can be used for")
			}
		}
	}
	if len(p.Lints) == 0 {
		p.Lints = []string{"rfc5280", "certwright"}
	}
	if p.MaxNames < 1 || p.MaxNames > maxNames {
		c.fault(path+".max_names", fmt.Sprint(p.MaxNames), fmt.Sprintf("1 to %d", maxNames), "it is out of bounds")
	}
	for i, label := range p.RequireLabels {
		if !labelForm.MatchString(label) {
			c.fault(fmt.Sprintf("%s.require_labels[%d]", path, i), label, labelForm.String(), "it has not the form of a label")
		}
	}
	c.validity(path+".validity", p.Validity)
}

func (c *compiler) validity(path string, v Validity) {
	second := Duration(time.Second)
	for _, d := range []struct {
		key   string
		value Duration
		least Duration
	}{{".default", v.Default, second}, {".max", v.Max, second}, {".backdate", v.Backdate, 0}} {
		if d.value < d.least || d.value%second != 0 {
			c.fault(path+d.key, d.value.String(), "whole seconds", "it is missing, or no whole number of seconds")
		}
	}
	switch {
	case v.Default > v.Max:
		c.fault(path+".default", v.Default.String(), "at most max: "+v.Max.String(), "the default is longer than the maximum")
	case v.Backdate > maxBackdate:
		c.fault(path+".backdate", v.Backdate.String(), "at most "+maxBackdate.String(), "it begins too long before now")
	case v.Backdate >= v.Default && v.Default > 0:
		c.fault(path+".backdate", v.Backdate.String(), "less than default: "+v.Default.String(), "a certificate would have ended when it is issued")
	}
}
