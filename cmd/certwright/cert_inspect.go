package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cfssl/helpers"
	"github.com/spf13/cobra"

	"github.com/certwright/certwright/keys"
)

// inspected is what a certificate says of itself: the JSON of cert inspect.
type inspected struct {
	Subject            string    `json:"subject"`
	Issuer             string    `json:"issuer"`
	Serial             string    `json:"serial"`
	DNSNames           []string  `json:"dnsNames"`
	IPAddresses        []string  `json:"ipAddresses"`
	URIs               []string  `json:"uris"`
	Emails             []string  `json:"emails"`
	NotBefore          time.Time `json:"notBefore"`
	NotAfter           time.Time `json:"notAfter"`
	CA                 bool      `json:"ca"`
	PathLen            *int      `json:"pathLen,omitempty"`
	KeyAlgorithm       string    `json:"keyAlgorithm"`
	SignatureAlgorithm string    `json:"signatureAlgorithm"`
	KeyUsages          []string  `json:"keyUsages"`
	ExtKeyUsages       []string  `json:"extKeyUsages"`
	SubjectKeyID       string    `json:"subjectKeyId"`
	AuthorityKeyID     string    `json:"authorityKeyId"`
	IssuerURLs         []string  `json:"issuerUrls"`
	OCSPURLs           []string  `json:"ocspUrls"`
	CRLURLs            []string  `json:"crlUrls"`
	SHA256             string    `json:"sha256"`
}

func certInspectCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "inspect FILE|URL [flags]", short: "Show what a certificate says, without asking the server",
		long: `
Shows the certificates of a file (PEM, DER or PKCS#7; - is standard input), or
those that a TLS server presents at HOST:PORT or https://HOST[:PORT]. Nothing is
verified, and no Certwright server is asked.`,
		example: `
certwright cert inspect svc.internal.crt
certwright cert inspect localhost:8443
certwright cert inspect https://localhost:8443 -o json`,
		next: "certwright cert verify FILE --ca root.crt",
		args: exactly("a FILE or a URL"),
		run: func(cmd *cobra.Command, args []string) error {
			certificates, err := a.gather(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printInspected(certificates)
		},
	}.command()
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = nil
	return cmd
}

// gather reads certificates from a file or from a TLS server.
func (a *app) gather(ctx context.Context, where string) ([]*x509.Certificate, error) {
	if where == "-" || exists(where) {
		return a.readCertificates(where)
	}
	address := where
	if u, err := url.Parse(where); err == nil && u.Scheme == "https" {
		address = u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), "443")
		}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, failf(exitNotFound, "%s: no such file, and it is no HOST:PORT either", where)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true, //nolint:gosec // looks at what is there, sends nothing
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, failf(exitUnavailable, "no TLS server answers at %s: %w", address, err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	return conn.(*tls.Conn).ConnectionState().PeerCertificates, nil
}

func (a *app) printInspected(certificates []*x509.Certificate) error {
	r := rows{portrait: true, columns: columnsOf("Subject", "Issuer", "Serial", "Names", "Not before", "Not after", "CA", "Key", "Signature",
		"Key usages", "Extended key usages", "+Subject key ID", "+Authority key ID", "+Issuer URLs", "+OCSP URLs", "+CRL URLs", "SHA-256")}
	all := make([]inspected, 0, len(certificates))
	for _, c := range certificates {
		i := inspect(c)
		all = append(all, i)
		names := strings.Join(slices.Concat(i.DNSNames, i.IPAddresses, i.URIs, i.Emails), ", ")
		ca := "no"
		if i.CA {
			ca = "yes"
			if i.PathLen != nil {
				ca = fmt.Sprintf("yes, path length %d", *i.PathLen)
			}
		}
		r.add(i.SHA256, i.Subject, i.Issuer, i.Serial, names, i.NotBefore.Format(time.RFC3339), i.NotAfter.Format(time.RFC3339), ca,
			i.KeyAlgorithm, i.SignatureAlgorithm, strings.Join(i.KeyUsages, ", "), strings.Join(i.ExtKeyUsages, ", "), i.SubjectKeyID,
			i.AuthorityKeyID, strings.Join(i.IssuerURLs, ", "), strings.Join(i.OCSPURLs, ", "), strings.Join(i.CRLURLs, ", "), i.SHA256)
	}
	return a.print(map[string]any{"certificates": all}, r)
}

func inspect(c *x509.Certificate) inspected {
	sum := sha256.Sum256(c.Raw)
	i := inspected{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: fmt.Sprintf("%032x", c.SerialNumber),
		DNSNames: c.DNSNames, Emails: c.EmailAddresses, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), CA: c.IsCA,
		KeyAlgorithm: keys.Algorithm(c.PublicKey), SignatureAlgorithm: helpers.SignatureString(c.SignatureAlgorithm),
		KeyUsages: keyUsages(c.KeyUsage), SubjectKeyID: hex.EncodeToString(c.SubjectKeyId), AuthorityKeyID: hex.EncodeToString(c.AuthorityKeyId),
		IssuerURLs: c.IssuingCertificateURL, OCSPURLs: c.OCSPServer, CRLURLs: c.CRLDistributionPoints, SHA256: hex.EncodeToString(sum[:]),
	}
	if i.KeyAlgorithm == "" {
		i.KeyAlgorithm = strings.ToLower(c.PublicKeyAlgorithm.String())
	}
	if c.SignatureAlgorithm == x509.PureEd25519 {
		i.SignatureAlgorithm = "Ed25519"
	}
	if c.IsCA && (c.MaxPathLen > 0 || c.MaxPathLenZero) {
		i.PathLen = &c.MaxPathLen
	}
	for _, ip := range c.IPAddresses {
		i.IPAddresses = append(i.IPAddresses, ip.String())
	}
	for _, u := range c.URIs {
		i.URIs = append(i.URIs, u.String())
	}
	for _, usage := range c.ExtKeyUsage {
		i.ExtKeyUsages = append(i.ExtKeyUsages, usage.String())
	}
	for _, oid := range c.UnknownExtKeyUsage {
		i.ExtKeyUsages = append(i.ExtKeyUsages, oid.String())
	}
	for _, list := range []*[]string{&i.DNSNames, &i.IPAddresses, &i.URIs, &i.Emails, &i.KeyUsages, &i.ExtKeyUsages, &i.IssuerURLs, &i.OCSPURLs, &i.CRLURLs} {
		if *list == nil {
			*list = []string{} // JSON has an empty list, not null
		}
	}
	return i
}

// keyUsages are the names of RFC 5280 §4.2.1.3.
func keyUsages(usage x509.KeyUsage) []string {
	var names []string
	for bit, name := range []string{"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"} {
		if usage&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return names
}
