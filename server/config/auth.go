package config

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/certwright/certwright/auth/oidc"
	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/policy"
)

// Believed is the issuer as the authenticator takes it, without its TLS.
func (i OIDCIssuer) Believed(c *Config) oidc.Issuer {
	out := oidc.Issuer{
		URL: i.URL, Audiences: i.Audiences, Algorithms: i.Algorithms, JWKSURL: i.JWKSURL,
		Login:  oidc.Login{ClientID: i.LoginClientID, Scopes: i.LoginScopes},
		Leeway: time.Duration(i.Leeway), MaxLifetime: time.Duration(i.MaxLifetime),
	}
	if i.JWKSFile != "" {
		out.JWKSFile = c.Path(i.JWKSFile)
	}
	return out
}

// Ports are those that keys may be fetched from: 443, and those in the URLs.
func (o OIDC) Ports() []int {
	ports := []int{443}
	for _, issuer := range o.Issuers {
		for _, text := range []string{issuer.URL, issuer.JWKSURL} {
			u, err := url.Parse(text)
			if err != nil {
				continue
			}
			if port, err := strconv.Atoi(u.Port()); err == nil {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// Names are the patterns of the CA's certificates.
func (d DeviceCA) Names() identity.Names {
	return identity.Names{DNS: d.DNS, IP: d.IP, URI: d.URI, Email: d.Email}
}

// oidc checks the section oidc.
func (v *validator) oidc(c *Config) {
	v.networks("oidc.networks", c.OIDC.Networks)
	for i, issuer := range c.OIDC.Issuers {
		err := issuer.Believed(c).Check()
		v.check(err == nil, "oidc.issuers", "%.128q: %v", issuer.URL, err)
		v.within("oidc.issuers", issuer.Leeway, time.Second, oidc.MaxLeeway)
		v.within("oidc.issuers", issuer.MaxLifetime, time.Minute, oidc.MaxMaxLifetime)
		v.check(issuer.JWKSFile == "" || issuer.CAFile == "", "oidc.issuers", "%.128q: ca_file is for fetching, and with jwks_file nothing is fetched", issuer.URL)
		v.check(!slices.ContainsFunc(c.OIDC.Issuers[:i], func(o OIDCIssuer) bool { return o.URL == issuer.URL }), "oidc.issuers", "%.128q stands twice", issuer.URL)
	}
}

// mtls checks the section mtls.
func (v *validator) mtls(m *MTLS) {
	v.within("mtls.renewal_grace", m.RenewalGrace, 0, 30*24*time.Hour)
	for i, d := range m.DeviceCAs {
		v.check(d.Name != "" && d.RootsFile != "", "mtls.device_cas", "CA %s needs a name and roots_file", strconv.Itoa(i+1))
		v.check(!d.Names().Empty(), "mtls.device_cas", "%.64q: at least one pattern of dns, ip, uri or email is needed", d.Name)
		_, err := policy.Covering(d.Names())
		v.check(err == nil, "mtls.device_cas", "%.64q: %v", d.Name, err)
		v.check(!slices.ContainsFunc(m.DeviceCAs[:i], func(o DeviceCA) bool { return o.Name == d.Name }), "mtls.device_cas", "%.64q stands twice", d.Name)
	}
}

func (v *validator) networks(key string, n Networks) {
	_, err := Prefixes(n.Allow)
	v.check(err == nil, key+".allow", "%v", err)
	_, err = Prefixes(n.Deny)
	v.check(err == nil, key+".deny", "%v", err)
}
