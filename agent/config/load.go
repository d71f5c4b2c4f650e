package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/policy/strict"
	"github.com/certwright/certwright/problem"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Load reads and checks the file. The error joins all faults, one line each, with
// file, line and key.
func Load(file string) (*Config, error) {
	if err := Trusted(file); err != nil { // it names programs that are run
		return nil, fmt.Errorf("agent file: %w", err)
	}
	data, err := plainfile.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("agent file: %w", err)
	}
	return Parse(file, data)
}

var stateLine = regexp.MustCompile(`(?m)^state:[ \t]+["']?([^"'#\r\n]*[^"'#\s])`)

// StateOf is the state folder that a file with faults names, as far as can be seen: who
// asks how a running agent stands is not to be kept from it by them.
func StateOf(file string) (string, error) {
	data, err := plainfile.Read(file, maxFile)
	if err != nil {
		return "", err
	}
	var c Config
	c.SetDefaults()
	if named := stateLine.FindSubmatch(data); named != nil {
		c.State = string(named[1])
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	return absolute(dir, c.State), err
}

// Parse is Load of a file's content. Paths in it are relative to the file's folder.
func Parse(file string, data []byte) (*Config, error) {
	var c Config
	c.SetDefaults()
	read := strict.Read(file, data, maxFile, &c)
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("agent file: %w", err)
	}
	c.check(read.Fault, dir)
	if err := read.Err(); err != nil {
		return nil, lines(err)
	}
	c.resolve(dir)
	return &c, nil
}

// Check is nil if the configuration, which comes from no file, can be worked with.
// It makes relative paths absolute.
func (c *Config) Check() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	read := strict.Read("flags", nil, maxFile, &struct{}{})
	c.check(read.Fault, dir)
	if err := read.Err(); err != nil {
		return lines(err)
	}
	c.resolve(dir)
	return nil
}

// lines makes one error of each violation, so that each stands on its own line.
func lines(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) || len(p.Violations) == 0 {
		return err
	}
	each := make([]error, 0, len(p.Violations))
	for _, v := range p.Violations {
		text := v.Rule + ": " + v.Detail
		for _, more := range []string{v.Help, v.Allowed} {
			if more != "" {
				text += "; " + more
				break
			}
		}
		each = append(each, errors.New(text))
	}
	return errors.Join(each...)
}

// resolve makes paths absolute and hands on what certificates leave to the top.
func (c *Config) resolve(dir string) {
	abs := func(path *string) {
		if *path != "" && *path != System && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	auth := func(a *Auth) {
		abs(&a.TokenFile)
		abs(&a.CertFile)
		abs(&a.KeyFile)
	}
	abs(&c.State)
	abs(&c.CAFile)
	auth(&c.Auth)
	for _, each := range []*string{&c.ACME.CAFile, &c.ACME.TrustFile} {
		if *each == "" {
			*each = c.CAFile
		}
		abs(each)
	}
	abs(&c.ACME.EABKeyFile)
	abs(&c.ACME.Webroot)
	for i := range c.Certificates {
		each := &c.Certificates[i]
		if each.Folder == "" {
			each.Folder = filepath.Join(c.State, inState, each.Name)
		}
		abs(&each.Folder)
		abs(&each.Reload.PIDFile)
		auth(&each.Auth)
		if each.Auth.Ways() == 0 {
			each.Auth = c.Auth
		}
		if each.PublicMode == 0 {
			each.PublicMode = each.Mode
		}
	}
}

// Ways is how many ways of proving who the agent is are set.
func (a *Auth) Ways() int {
	n := 0
	for _, set := range []bool{a.TokenFile != "", len(a.TokenCommand) > 0, a.CertFile != "" || a.KeyFile != ""} {
		if set {
			n++
		}
	}
	return n
}

// Find is the certificate of this name; nil if there is none.
func (c *Config) Find(name string) *Certificate {
	for i := range c.Certificates {
		if c.Certificates[i].Name == name {
			return &c.Certificates[i]
		}
	}
	return nil
}

// Lacking is what to say of a name that Find does not find.
func (c *Config) Lacking(name string) error {
	var has []string
	for i := range min(len(c.Certificates), 10) {
		has = append(has, c.Certificates[i].Name)
	}
	if more := len(c.Certificates) - len(has); more > 0 {
		has = append(has, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("the file has no certificate %.64q; it has: %s", name, strings.Join(has, ", "))
}

// maxRoots is the largest file of roots that is read, in bytes.
const maxRoots = 4 << 20

// System stands in the place of a file for the roots of the system.
const System = "system"

// Roots reads a file of root certificates; nil for those of the system.
func Roots(file string) (*x509.CertPool, error) {
	if file == System {
		return nil, nil
	}
	if err := Trusted(file); err != nil {
		return nil, err
	}
	text, err := plainfile.Read(file, maxRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
