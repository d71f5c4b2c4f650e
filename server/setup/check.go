package setup

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/policy"
	"github.com/certwright/certwright/problem"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
)

// minPassphrase is the shortest passphrase of a new CA, in bytes.
const minPassphrase = 12

// check refuses what would make a CA that is less safe than it looks, or that
// could not start. What a flag can mend is of kind Malformed, what is there
// already FailedPrecondition.
func (c *Ceremony) check() error {
	_, err := datadir.Read(c.Config.Data)
	switch {
	case c.Config.Dev:
		return problem.New(problem.Malformed, "init makes a CA for production: leave --dev out, or start \"certwright serve --dev\"")
	case err == nil && !c.interrupted():
		return problem.New(problem.FailedPrecondition, "there is a CA already in %s: start it with \"certwright serve --data %[1]s\", or name another folder with --data", c.Config.Data)
	case err != nil && !errors.Is(err, datadir.ErrNone):
		return err
	}
	if err := c.checkFlags(); err != nil {
		return err
	}
	if err := c.checkPassphrase(); err != nil {
		return err
	}
	if err := c.nameServer(); err != nil {
		return err
	}
	if c.interrupted() {
		return nil
	}
	if lock := c.Config.Path(c.Config.Ledger.Lock); there(lock) {
		return problem.New(problem.FailedPrecondition, "%s is there: it says how far the ledger of another CA has come, one that was in %s perhaps, and whose data folder can still be restored; name another --data, or another file with CERTWRIGHT_LEDGER_LOCK; if that CA is gone for good, such as one of a trial, remove the file",
			lock, c.Config.Data)
	}
	if key := c.rootKey(); there(key) {
		return problem.New(problem.FailedPrecondition, "%s is there: it is never overwritten; name another --root-dir", key)
	}
	return nil
}

// checkFlags refuses what stands in the ceremony's own fields.
func (c *Ceremony) checkFlags() error {
	bad := func(format string, args ...any) error { return problem.New(problem.Malformed, format, args...) }
	if c.Config.Passphrase() == nil {
		return bad("the keys need a passphrase: name its file with --passphrase-file, or a systemd credential with --credential")
	}
	for flag, name := range map[string]string{"name": c.CommonName, "organization": c.Organization} {
		if strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
			return bad("--%s %.64q has control characters, or is not UTF-8: a subject is a line of text", flag, name)
		}
	}
	if c.RootDir == "" {
		return bad("name a folder for the root's key with --root-dir: it is to be taken offline")
	}
	if c.Config.Inside(c.RootDir) {
		return bad("--root-dir %s lies in the data folder: the server must run without the root's key; name a folder elsewhere", c.RootDir)
	}
	if c.IssuingValidity > c.RootValidity {
		return bad("the issuing CA would outlive the root: give it a shorter validity")
	}
	algorithms := []string{keys.ECDSAP256, keys.ECDSAP384, keys.Ed25519, keys.RSA2048, keys.RSA3072, keys.RSA4096}
	for flag, algorithm := range map[string]string{"root-key": c.RootAlgorithm, "issuing-key": c.IssuingAlgorithm} {
		if !slices.Contains(algorithms, algorithm) {
			return bad("--%s %.32q is not an algorithm among %s", flag, algorithm, strings.Join(algorithms, ", "))
		}
	}
	return nil
}

// checkPassphrase reads the passphrase once, before anything is made.
func (c *Ceremony) checkPassphrase() error {
	secret, err := c.Config.Passphrase()()
	if err != nil {
		return err
	}
	if len(secret) < minPassphrase {
		return problem.New(problem.Malformed, "the passphrase has %d bytes: a CA's keys want %d or more, such as five words drawn by lot", len(secret), minPassphrase)
	}
	return nil
}

// nameServer settles the server's names and holds them against the name
// constraints: a server that its own CA may not name never starts.
func (c *Ceremony) nameServer() error {
	constrained, err := c.constraints()
	if err != nil {
		return err
	}
	if len(c.HostNames) == 0 {
		return refusedNames(constrained, c.Config.ServerNames)
	}
	var names []string
	named := false // by a DNS name
	for _, name := range c.HostNames {
		ids, err := config.Identifiers([]string{name})
		if err != nil || refusedNames(constrained, []string{name}) != nil || slices.Contains(names, ids[0].Value) {
			continue
		}
		names = append(names, ids[0].Value)
		named = named || ids[0].Type == identity.DNS
	}
	if !named {
		return problem.New(problem.Malformed, "the name constraints permit none of this host's names (%s): name the server with --server-name, such as --server-name ca%s",
			strings.Join(c.HostNames, ", "), example(c.Permit.DNS))
	}
	c.Config.ServerNames = names
	return nil
}

// example is the first permitted domain, with its dot.
func example(permitted []string) string {
	if len(permitted) == 0 {
		return ".internal"
	}
	return "." + strings.TrimPrefix(permitted[0], ".")
}

// constraints is a certificate that has the name constraints and no more.
func (c *Ceremony) constraints() (*x509.Certificate, error) {
	t := &x509.Certificate{
		NotAfter:            c.Now.Add(c.IssuingValidity),
		PermittedDNSDomains: c.Permit.DNS, ExcludedDNSDomains: c.Exclude.DNS,
	}
	for _, each := range []struct {
		flag string
		from []string
		to   *[]*net.IPNet
	}{{"permit-ip", c.Permit.IP, &t.PermittedIPRanges}, {"exclude-ip", c.Exclude.IP, &t.ExcludedIPRanges}} {
		for _, text := range each.from {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, problem.New(problem.Malformed, "--%s %.64q is not a range such as 10.0.0.0/8", each.flag, text)
			}
			p = p.Masked()
			*each.to = append(*each.to, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
		}
	}
	for flag, domains := range map[string][]string{"permit-dns": c.Permit.DNS, "exclude-dns": c.Exclude.DNS} {
		for _, domain := range domains {
			id, err := identity.Identifier{Type: identity.DNS, Value: strings.TrimPrefix(domain, ".")}.Canonical()
			if err != nil || id.Wildcard() {
				return nil, problem.New(problem.Malformed, "--%s %.253q is not a domain such as corp.internal", flag, domain)
			}
		}
	}
	return t, nil
}

// refusedNames is an error if a CA with this certificate may not sign one of the
// names.
func refusedNames(ca *x509.Certificate, names []string) error {
	ids, err := config.Identifiers(names)
	if err != nil {
		return problem.New(problem.Malformed, "server_names: %v", err)
	}
	broken, err := policy.Issuer{Name: "issuing", NotAfter: ca.NotAfter, Certificate: ca}.Refuses(ids)
	if err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	if len(broken) == 0 {
		return nil
	}
	v := broken[0]
	return problem.New(problem.Malformed, "the name constraints do not let the CA sign the server's own name %s (%s): the server would never start; name it otherwise with --server-name or server_names",
		v.Value, v.Allowed)
}

// CheckServerNames holds server_names against the name constraints of the issuing
// certificate in the data folder, if there is one.
func CheckServerNames(c *config.Config) error {
	cert, err := readCertificate(filepath.Join(c.Data, datadir.IssuingCRT))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("issuing certificate: %w", err)
	}
	return refusedNames(cert, c.ServerNames)
}
