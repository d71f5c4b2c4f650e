package mtls

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/auth"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
)

// DeviceCA is another CA whose certificates prove devices. Its revocation lists
// are not asked.
type DeviceCA struct {
	Name  string // as grants have it
	Roots []*x509.Certificate
	// Names are patterns, as in grants: every name of a certificate must be covered,
	// and it must have one.
	Names identity.Names
}

type deviceCA struct {
	DeviceCA
	basis  [32]byte
	pool   *x509.CertPool
	covers func(identity.Identifier) bool
}

var caName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

func newDeviceCA(d DeviceCA, own []*x509.Certificate) (*deviceCA, error) {
	switch {
	case !caName.MatchString(d.Name):
		return nil, fmt.Errorf("its name is not of lower-case letters, digits and . _ -")
	case len(d.Roots) == 0:
		return nil, errors.New("it has no root certificate")
	case d.Names.Empty():
		return nil, errors.New("it says of no name that its certificates may have it")
	}
	out := &deviceCA{DeviceCA: d, pool: x509.NewCertPool(), basis: d.sum()}
	for _, root := range d.Roots {
		if !root.IsCA {
			return nil, fmt.Errorf("the certificate of %.64q is no CA's", root.Subject.CommonName)
		}
		for _, mine := range own {
			if bytes.Equal(mine.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) {
				return nil, errors.New("this CA itself is no CA of devices: what it has issued is looked up in its ledger")
			}
		}
		out.pool.AddCert(root)
	}
	var err error
	out.covers, err = policy.Covering(d.Names)
	return out, err
}

// sum is by what the CA's certificates are believed: its name, its roots and what
// they may be called, in whatever order it stands in the configuration.
func (d DeviceCA) sum() [32]byte {
	parts := []string{"device CA", d.Name}
	add := func(kind string, items []string) {
		sum := auth.Basis(slices.Sorted(slices.Values(items))...)
		parts = append(parts, kind, string(sum[:]))
	}
	var roots []string
	for _, root := range d.Roots {
		roots = append(roots, string(root.Raw))
	}
	add("root", roots)
	add("dns", d.Names.DNS)
	add("ip", d.Names.IP)
	add("uri", d.Names.URI)
	add("email", d.Names.Email)
	return auth.Basis(parts...)
}

// maxChain is how many certificates a client may send.
const maxChain = 6

// device is the holder of a certificate of another CA. What was verified once is
// kept until one certificate of its chain ends.
func (a *Authenticator) device(chain []*x509.Certificate, fingerprint [32]byte) (identity.Principal, error) {
	now := a.now()
	if d, ok := a.proven.Get(fingerprint); ok && !now.Before(d.from) && !now.After(d.until) {
		return d.principal, nil
	}
	if len(chain) > maxChain {
		return identity.Principal{}, refused("CERTIFICATE_CHAIN", "the client sends too many certificates", fmt.Sprintf("send at most %d", maxChain))
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for _, d := range a.devices {
		verified, err := chain[0].Verify(x509.VerifyOptions{
			Roots: d.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			continue
		}
		p, err := d.principal(chain[0], fingerprint)
		if err != nil {
			return identity.Principal{}, err
		}
		kept := newProven(p, verified[0])
		a.proven.Put(fingerprint, kept)
		return kept.principal, nil
	}
	return identity.Principal{}, unknown()
}

// principal is the device, if its names are those that the CA's may have.
func (d *deviceCA) principal(leaf *x509.Certificate, fingerprint [32]byte) (identity.Principal, error) {
	ids, err := namesOf(leaf)
	if err != nil || len(ids) == 0 {
		return identity.Principal{}, refused("CERTIFICATE_NAMES", "the client certificate has no name, or one that cannot be read",
			"give the device a certificate with a subjectAltName of the form that the CA "+d.Name+" is configured for")
	}
	for _, id := range ids {
		if !d.covers(id) {
			return identity.Principal{}, refused("CERTIFICATE_NAMES", "the client certificate has a name that certificates of the CA "+d.Name+" may not have here",
				"have mtls.device_cas allow it, or use another certificate")
		}
	}
	claims := named(ids)
	claims["ca"], claims["serial"] = d.Name, hex.EncodeToString(leaf.SerialNumber.Bytes())
	for name, value := range map[string]string{"common_name": leaf.Subject.CommonName, "serial_number": leaf.Subject.SerialNumber} {
		if value != "" {
			claims[name] = value
		}
	}
	if len(leaf.DNSNames) > 0 {
		claims["host"], _, _ = strings.Cut(strings.ToLower(leaf.DNSNames[0]), ".")
	}
	return identity.Principal{
		Method: identity.Device, ID: d.Name + "/" + hex.EncodeToString(fingerprint[:]), Roles: []identity.Role{identity.RoleRequester},
		Claims: claims, Evidence: fingerprint, Basis: d.basis,
	}, nil
}

// namesOf are the names of a certificate, canonical.
func namesOf(c *x509.Certificate) ([]identity.Identifier, error) {
	var ids []identity.Identifier
	add := func(kind identity.IdentifierType, value string) {
		ids = append(ids, identity.Identifier{Type: kind, Value: value})
	}
	for _, name := range c.DNSNames {
		add(identity.DNS, name)
	}
	for _, ip := range c.IPAddresses {
		add(identity.IP, ip.String())
	}
	for _, u := range c.URIs {
		add(identity.URI, u.String())
	}
	for _, m := range c.EmailAddresses {
		add(identity.Email, m)
	}
	return identity.CanonicalSet(ids)
}

// maxProven is how many devices are kept.
const maxProven = 4096

// proven is a device whose chain was verified, and when all of it is valid.
type proven struct {
	principal   identity.Principal
	from, until time.Time
}

func newProven(principal identity.Principal, chain []*x509.Certificate) proven {
	d := proven{principal: principal, from: chain[0].NotBefore, until: chain[0].NotAfter}
	for _, c := range chain {
		if c.NotAfter.Before(d.until) {
			d.until = c.NotAfter
		}
		if c.NotBefore.After(d.from) {
			d.from = c.NotBefore
		}
	}
	d.principal.Until = d.until
	return d
}
