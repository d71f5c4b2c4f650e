package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"google.golang.org/grpc"

	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// Names are what a certificate shall be valid for.
type Names struct{ DNS, IP, URI, Email []string }

// ParseNames sorts names by their form: an IP address, a URI, an email address,
// else a DNS name.
func ParseNames(names []string) Names {
	var n Names
	for _, name := range names {
		switch _, err := netip.ParseAddr(name); {
		case err == nil:
			n.IP = append(n.IP, name)
		case strings.Contains(name, "://"):
			n.URI = append(n.URI, name)
		case strings.Contains(name, "@"):
			n.Email = append(n.Email, name)
		default:
			n.DNS = append(n.DNS, name)
		}
	}
	return n
}

// CSR makes a certificate signing request (RFC 2986) in PEM, with the names as its
// only content.
func CSR(key crypto.Signer, names Names) ([]byte, error) {
	template := &x509.CertificateRequest{DNSNames: names.DNS, EmailAddresses: names.Email}
	for _, text := range names.IP {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%.64q is not an IP address", text)
		}
		template.IPAddresses = append(template.IPAddresses, addr.Unmap().AsSlice())
	}
	for _, text := range names.URI {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%.64q is not a URI", text)
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("CSR: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// Sign has a certificate signed for the key and the names. wish is the request
// without its CSR; the private key is used here, to sign the CSR, and goes
// nowhere.
func Sign(ctx context.Context, conn grpc.ClientConnInterface, key crypto.Signer, names Names, wish *certwrightv1.SignCertificateRequest) (*certwrightv1.Certificate, error) {
	csr, err := CSR(key, names)
	if err != nil {
		return nil, err
	}
	wish.Csr = string(csr)
	return certwrightv1.NewCertificateServiceClient(conn).SignCertificate(ctx, wish)
}
