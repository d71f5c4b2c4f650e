package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ServerTLS is for a server whose clients need no certificate. Each handshake has the
// newest certificate.
func (k *Keeper) ServerTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.GetCertificate}
}

// MutualTLS is for a server whose clients must show a certificate of the CA that
// match accepts; nil: any.
func (k *Keeper) MutualTLS(match Match) *tls.Config {
	config := k.ServerTLS()
	// VerifyConnection verifies, by the roots as they are then, resumed sessions too.
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		leaf, err := k.verify(state, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil || match == nil {
			return err
		}
		return match(leaf)
	}
	return config
}

// ClientTLS is for a client: it shows the newest certificate to servers that ask for
// one. The server must show a certificate of the CA that match accepts; nil: one for
// the DNS name that is dialled.
func (k *Keeper) ClientTLS(match Match) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetClientCertificate: k.GetClientCertificate,
		// VerifyConnection verifies instead, by the roots as they are then, resumed sessions too.
		InsecureSkipVerify: true, //nolint:gosec // see the line above
		VerifyConnection: func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
			if match == nil {
				if options.DNSName = state.ServerName; options.DNSName == "" {
					return errors.New("the server is dialled by an address, not by a name: set ServerName, or give a match such as WithHost")
				}
			}
			leaf, err := k.verify(state, options)
			if err != nil || match == nil {
				return err
			}
			return match(leaf)
		},
	}
}

// GetCertificate is for tls.Config: the newest certificate.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.held.Load().certificate, nil
}

// GetClientCertificate is for tls.Config: the newest certificate.
func (k *Keeper) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return k.held.Load().certificate, nil
}

// Roots are the CA's roots as they are now. Do not change them.
func (k *Keeper) Roots() *x509.CertPool { return k.held.Load().roots }

// verify verifies the peer's chain up to the CA's roots.
func (k *Keeper) verify(state tls.ConnectionState, options x509.VerifyOptions) (*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("the peer shows no certificate")
	}
	options.Roots, options.Intermediates, options.CurrentTime = k.Roots(), x509.NewCertPool(), time.Now()
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(options); err != nil {
		return nil, fmt.Errorf("the peer's certificate: %w", err)
	}
	return leaf, nil
}
